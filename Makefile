# `make run` and `make test` do all set-up. PYTHON is the interpreter of the virtual environment to make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATASET ?= synthetic
PROFILE ?= quick
NOTEBOOKS ?= $(sort $(wildcard notebooks/*.ipynb))

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help run test test-slow lint notebooks leaderboard clean

help:
	@echo "make run          all notebooks on drawn faces, in some half an hour; writes under build/"
	@echo "make run DATASET=fer2013 PROFILE=full   the same on real data, at full size"
	@echo "make test         style and tests, in minutes"
	@echo "make test-slow    the tests that take long: other backends, killed trainings, large networks"
	@echo "make notebooks    execute the notebooks in place from the saved runs, before a commit"
	@echo "make leaderboard  compute model cards, results/*/leaderboard.* and README's tables anew"
	@echo "make clean        remove the environment and build/"

$(VENV)/installed: requirements.txt pyproject.toml
	@echo "Setting up $(VENV): TensorFlow and the rest are installed, which takes some minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@

run: $(VENV)/installed
	$(BIN)/python -m emotions notebooks --data $(DATASET) --profile $(PROFILE) $(NOTEBOOKS)

test: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/python -m pytest

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

notebooks: $(VENV)/installed
	$(BIN)/python -m emotions notebooks --in-place $(NOTEBOOKS)

leaderboard: $(VENV)/installed
	$(BIN)/python -m emotions cards
	$(BIN)/python -m emotions leaderboard

clean:
	rm -rf $(VENV) build
