"""A portrait and speech to a talking-head video."""
