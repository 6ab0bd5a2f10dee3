# The chores. `make run` and `make test` need nothing before them but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := auto_cmd.py supervisor model_config flask_server serving scripts
# Each test process takes whole files, since the tests of a file share the programs that they start.
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile
# Else each of the many programs that are started here would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE
SLOW := tensorflow or zoo or conformance or browser or deployment or slow

.PHONY: help install run test test-fast docs lint format bench clean

help:
	@echo "make run        start every model of models.toml behind the router (ARGS=… goes to auto_cmd.py)"
	@echo "make test       lint, types and every test"
	@echo "make test-fast  the tests that need no TensorFlow (under a minute)"
	@echo "make docs       the tests that hold the pages to the code and run what they show"
	@echo "make lint       ruff, mypy, import-linter and bandit"
	@echo "make format     let ruff format and mend what it can"
	@echo "make bench      measure, write benchmarks/results/"
	@echo "make manifests  Kubernetes manifests of models.toml (ARGS=… goes to scripts/render_kubernetes.py)"
	@echo "make audit      ask the advisory service about the images' locked packages (make locks sbom: renew them)"

install: $(VENV)/.installed

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "This needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.installed: requirements.txt requirements-router.txt requirements-model-server.txt | $(VENV)/bin/python
	@echo "Installing what running needs into $(VENV) (TensorFlow is large: a minute or two)"
	@# Modules are compiled as they are imported: of TensorFlow's, a part.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt || { echo "pip could not install requirements.txt; without the internet, point PIP_INDEX_URL or PIP_FIND_LINKS at a mirror of the packages" >&2; exit 1; }
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@# The pip of an older Python takes half a minute longer to find out that these fit together.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-dev.txt
	@touch $@

$(VENV)/.installed-bench: requirements-bench.txt $(VENV)/.installed-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

run: install
	@$(BIN)/python auto_cmd.py $(ARGS)

test: lint test-fast
	$(PYTEST) -m "$(SLOW)"

test-fast: $(VENV)/.installed-dev
	$(PYTEST) -m "not ($(SLOW))"

docs: $(VENV)/.installed-dev
	$(PYTEST) tests/flask_server/test_docs.py tests/end_to_end

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive $(CODE)

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

include deploy/chores.mk
