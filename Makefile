# Two commands: `make bench` runs the main job, `make test` runs all tests. Both set up .venv from nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: bench test check targets clean

bench: $(VENV)/.core
	$(BIN)/harness run --preset standard

test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

# The same checks as continuous integration, without setting up the tests' environment twice.
check:
	.ci/run

# Speed and memory goals, each a ratio measured side by side in one run. Takes several minutes and 20 GB of disk.
targets: $(VENV)/.test
	$(BIN)/python -m suites.tracking.targets

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,tracking,safetensors]'
	touch $@ $(VENV)/.core

clean:
	rm -rf $(VENV) build *.egg-info
