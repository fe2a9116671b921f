"""How work is run: DVC stage commands, Prefect flows, MLflow tracking, the command line."""

from flows.interpreter import check

check()
