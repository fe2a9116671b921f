"""Where log lines go when a command of ours runs: plain messages on stdout."""

from __future__ import annotations

from s3dnerf.core.logs import log_to_stdout


def configure_logging() -> None:
    """Print the log lines of ``flows``, ``stages`` and ``s3dnerf`` on stdout, each as its message alone, flushed."""
    log_to_stdout("flows", "stages", "s3dnerf", "__main__")
