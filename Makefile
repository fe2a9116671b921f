# Two commands: `make demo` (to a report about a model trained in front of you) and `make test`. `make train-sample` trains it longer,
# `make test-fast` is for the edit loop.
PYTHON ?= python3.11
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# before any numerical library is loaded: sums are in one order, here as in every stage
export OMP_NUM_THREADS := 1

# What `make train-sample` changes in the demo's settings: the same people, trained about five times as long.
LONGER := train.steps=1600 train.shape_steps=1500 train.motion_steps=1000 train.lr_lessons=0.002 train.checkpoint_every=200

.PHONY: demo train-sample test test-fast lint setup clean

# One marker a lock: a changed lock installs again. torch first, with what its build for this platform needs; then the lock as the
# whole set, nothing resolved anew.
setup: $(VENV)/installed
$(VENV)/installed: requirements.lock pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock torch==2.13.0
	$(BIN)/python -m pip install --quiet --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/s3dnerf preset sample
	$(BIN)/dvc repro
	$(BIN)/s3dnerf report

train-sample: setup
	$(BIN)/s3dnerf preset sample --change $(LONGER)
	$(BIN)/dvc repro
	$(BIN)/s3dnerf report

test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

# The edit loop: what takes long is left out (marker `slow`).
test-fast: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope -m "not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf data .packs .checkpoints .locks .timings .prefect mlflow.db mlartifacts
