# `make repro` rebuilds the leaderboard, `make test` runs the tests; both set themselves up.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Stages and tests are many short processes: each would compile the library again.
unexport PYTHONDONTWRITEBYTECODE

# Each folder in solutions/ is a pipeline of its own: `make NAME` runs it.
SOLUTIONS := $(notdir $(wildcard solutions/*))

.PHONY: help setup repro test check ablation clean solutions $(SOLUTIONS)

help:
	@echo "make repro     rebuild the leaderboard (10 to 16 minutes on 2 cores)"
	@echo "make test      run the tests (minutes, offline)"
	@echo "make setup     the first step of all others: .venv with what the project needs"
	@echo "make solutions run the sibling solutions; or one of them: $(SOLUTIONS)"
	@echo "make check     format, lint, type-check"
	@echo "make ablation  what each trick is worth, over 3 seeds (see docs/results.md)"

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV): some 190 packages from the package index, 2 GB (6 GB where torch brings CUDA), a few minutes"
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(READY)

repro: $(READY)
	$(BIN)/dvc repro
	@$(BIN)/clipworks leaderboard

solutions: $(SOLUTIONS)

$(SOLUTIONS): $(READY)
	cd solutions/$@ && dvc repro

# A process for each core, with one thread: more would spend their time waiting for each other.
test: export OMP_NUM_THREADS := 1
test: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

check: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy
	@for each in $(SOLUTIONS); do (cd solutions/$$each && mypy --config-file ../../pyproject.toml -p stages); done
	$(BIN)/clipworks leaderboard --check README.md
	$(BIN)/clipworks reference --write docs/params.md

ablation: $(READY)
	$(BIN)/python -m bench.ablation

# Spares journal/: replies of chat models may have cost money.
clean:
	rm -rf $(VENV) scratch
