# `make run` and `make test` do all set-up. PYTHON is the interpreter of the virtual environment to make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEWEST := .venv-newest
AUDIT := build/audit

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help run test test-slow test-newest constraints audit notebooks leaderboard web serve test-web clean

help:
	@echo "make run          all notebooks, small, on drawn faces; writes under build/"
	@echo "make test         style, and all tests that guard behaviour"
	@echo "make test-slow    the tests that take long: other backends, killed trainings, large networks"
	@echo "make test-newest  the tests with the newest version of every package, in an environment of its own"
	@echo "make constraints  write the versions of that environment to constraints.txt, once its tests pass"
	@echo "make audit        look for known security flaws in the packages of constraints.txt and of the web page"
	@echo "make notebooks    execute the notebooks in place from the saved runs, before a commit"
	@echo "make leaderboard  compute ensembles, model cards, leaderboards and README's tables anew"
	@echo "make web          build the web page in web/dist, with the default model or MODEL=name; needs Node.js 20.19"
	@echo "make serve        serve it on http://localhost:8000"
	@echo "make test-web     build it, and test it in a real browser, /usr/bin/chromium or CHROMIUM=path"
	@echo "make clean        remove the environments and build/"

$(VENV)/installed: requirements.txt pyproject.toml constraints.txt
	@echo "Setting up $(VENV): TensorFlow and the rest are installed, which takes some minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	touch $@

run: $(VENV)/installed
	$(BIN)/python -m emotions run --quick

test: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/python -m pytest

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

test-newest:
	rm -rf $(NEWEST)
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade pip
	$(NEWEST)/bin/python -m pip install --quiet -e '.[test]'
	$(NEWEST)/bin/python -m pytest

# Without wheels elsewhere: onnxruntime's for an older macOS, TensorFlow's for Python 3.14. There any version will do.
constraints:
	test -x $(NEWEST)/bin/python
	echo '# Versions that were tested together; make installs these. Written by make constraints.' > constraints.txt
	$(NEWEST)/bin/python -m pip freeze --exclude-editable | grep -v '^#' | sed \
		-e '/^onnxruntime=/s/$$/; sys_platform == "linux"/' -e '/^tensorflow=/s/$$/; python_version < "3.14"/' >> constraints.txt

audit:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --upgrade pip pip-audit
	$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt
	npm --prefix web audit

notebooks: $(VENV)/installed
	$(BIN)/python -m emotions run --in-place

leaderboard: $(VENV)/installed
	$(BIN)/python -m emotions leaderboard

web/node_modules: web/package-lock.json
	npm --prefix web ci --no-audit --no-fund
	touch $@

web: $(VENV)/installed web/node_modules
	$(BIN)/python web/prepare.py $(MODEL)
	npm --prefix web run build

serve:
	$(BIN)/python -m http.server --directory web/dist 8000

test-web: web
	PYTHON=$(abspath $(BIN)/python) npm --prefix web test

clean:
	rm -rf $(VENV) $(NEWEST) build web/node_modules web/public web/dist
