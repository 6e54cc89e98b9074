# Set-up in two commands: `make run` does the main job, `make test` proves the tool.
# Both need only Python >= 3.11, make and a package index; everything they install goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= auto

.PHONY: run test lint workflows picture bench calibrate evidence seeds demo clean

run: $(VENV)/.installed
	-$(BIN)/tornwrite targets install fork_session   # without it the other four stories run
	$(BIN)/tornwrite run five_stories

demo: $(VENV)/.installed
	$(BIN)/tornwrite demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check harness tests targets benchmarks
	$(BIN)/ruff format --check harness tests targets benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# docs/demo.svg anew, from what the command prints.
picture: $(VENV)/.installed
	$(BIN)/python docs/picture.py

# The workflows against GitHub's own schemas, and against what is unsafe in them.
workflows: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet check-jsonschema zizmor
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml docs/ci/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml
	$(BIN)/zizmor --offline .github docs/ci/*.yml

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.states
	$(BIN)/python -m benchmarks.recording
	$(BIN)/python -m benchmarks.cuts
	$(BIN)/python -m benchmarks.power
	$(BIN)/python -m benchmarks.plugin_start
	$(BIN)/python -m benchmarks.forkserver
	$(BIN)/python -m benchmarks.schedules
	$(BIN)/python -m benchmarks.first_corruption
	$(BIN)/python -m benchmarks.record_once

# What the five bug reports claim, and what is measured of it; the application itself where it can be had.
seeds: $(VENV)/.installed
	$(BIN)/tornwrite targets install fork_session
	-for v in 1.0.43 2.1.19 2.1.85 2.1.89 2.1.91; do $(BIN)/tornwrite targets install claude_code@$$v; done
	$(BIN)/python -m harness.seeds reports/SEEDS.md

# Persistence profiles against real ext4, xfs and btrfs: root on Linux.
calibrate: $(VENV)/.installed-dev
	$(BIN)/python -m tests.calibration

# The long statistics: 300 timed kills per published version, every injected trial, every multi-threaded run.
evidence: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) -q --evidence
	$(BIN)/tornwrite targets install fork_session
	$(BIN)/tornwrite run fork_session --trials 300 --budget 30m

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tornwrite needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
