"""One file a metric: formula, source, units, range, direction, version."""
