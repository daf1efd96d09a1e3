# The commands of this project; continuous integration runs `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test test-all lint format bench docs clean

# Train for about a minute on text that every CPython carries, and write with the model.
demo: $(VENV)/base
	$(BIN)/rhapsode demo

# All checks: style, types, tests (about two minutes on two cores, after the first install).
test: lint
	$(BIN)/python -m pytest -n auto

# The slow tests too.
test-all: lint $(VENV)/peers
	$(BIN)/python -m pytest -n auto -m ""

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Speed and quality measurements, each checking parity first; some read ../shared/data/tinyshakespeare.txt. Half an hour on
# a quiet machine. The quality table, `python -m benchmarks.quality`, takes hours and is not among them.
bench: $(VENV)/dev
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# The parts of the documentation that are made from the code.
docs: $(VENV)/dev
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# What some slow tests compare with.
$(VENV)/peers: pyproject.toml constraints.txt | $(VENV)/dev
	$(PIP) install -q -c constraints.txt -e ".[torch,data,dev,peers]"
	touch $@

# What a user needs.
$(VENV)/base: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e .
	touch $@

# What a developer needs.
$(VENV)/dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e ".[torch,data,dev]"
	touch $@ $(VENV)/base
