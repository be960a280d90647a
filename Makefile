# Two commands: `make bench` runs the main job, `make test` tests the core. Both set up .venv from nothing.
# BENCH holds further options of the run, such as BENCH='--rounds 3'; PYTEST those of the tests, such as PYTEST='-k zarr'.
# CAPTURE= leaves out torch and openfold3: the tests of captures of real model code then say that they skip.
# PYTHON names the interpreter of .venv, such as PYTHON=python3.11; without it the newest supported one that runs is taken.
# Captures of real models have an environment of their own, .venv-capture, with the Python that torch is tested with.
PYTHON ?= $(shell .ci/python)
BENCH ?=
PYTEST ?=
CAPTURE ?= yes
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
TORCH_PYTHON := 3.11

# An environment keeps the interpreter that it was made with.
GOALS := $(filter-out clean,$(or $(MAKECMDGOALS),bench))
ifneq ($(and $(filter command environment,$(origin PYTHON)),$(wildcard $(BIN)/python),$(GOALS)),)
ifneq ($(shell $(BIN)/python -V),$(shell $(PYTHON) -V))
$(error $(VENV) has $(shell $(BIN)/python -V), and PYTHON=$(PYTHON) is another: remove it first with `make clean`)
endif
endif

.PHONY: docs house bench setup reference test test-core test-extras test-capture capture-demo capture-cost check targets attack clean

bench: $(VENV)/.core
	$(BIN)/harness run --preset standard $(BENCH)

# .venv with the core and the readers it is measured with, without a benchmark.
setup: $(VENV)/.core
	@echo 'Ready: $(BIN)/harness --help'

# The published comparison on this machine, with as many workers as it has cores: hours where there are many. Then shorter runs with
# one thread for each contender, and with no decoded chunks kept; one report compares them, and those in BESIDE. docs/cluster.md
NAME ?= $(shell hostname)
BESIDE ?=
WORKERS := $(shell getconf _NPROCESSORS_ONLN | awk '{ s = 1; for (n = 2; n <= $$1; n *= 2) s = s "," n; print s }')
RECORDED := $(if $(wildcard $(HARNESS_DATA)/af2_1ubq/1ubq_af2_model_1_ptm.f32.npz),--trace af2-1ubq)
SHORTER := $(RECORDED) --trace synthetic:layers=2 --sizes 512 --suites size,full_read,layer_read,random_access
reference: $(VENV)/.core
	$(BIN)/harness run --preset reference --workers $(WORKERS) --out results/$(NAME) $(BENCH)
	$(BIN)/harness run --preset reference $(SHORTER) --threads 1 --out results/$(NAME)-one-thread $(BENCH)
	$(BIN)/harness run --preset reference $(SHORTER) --decoded-cache 0 --out results/$(NAME)-no-decoded-cache $(BENCH)
	$(BIN)/harness report results/$(NAME) results/$(NAME)-one-thread results/$(NAME)-no-decoded-cache $(BESIDE) \
	  --out results/$(NAME)-side-by-side

TESTED := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal
test: $(VENV)/.test
	$(TESTED) --ignore tests/extensions $(PYTEST)

# For every save: the core without what is marked as slow.
test-core: $(VENV)/.test
	$(TESTED) --ignore tests/extensions -m 'not slow' $(PYTEST)

# Extensions, with what each of them needs; with OPENFOLD_SOURCE=DIR also captures from a checkout of OpenFold 2.
test-extras: $(VENV)/.extras
	$(TESTED) tests/extensions $(PYTEST)
	$(if $(CAPTURE),.ci/python $(TORCH_PYTHON) >/dev/null || { echo 'Tests with torch are skipped.'; exit 0; }; $(MAKE) test-capture)

# What needs torch; and formats once more, for this is the oldest Python, with the oldest libraries.
test-capture: $(VENV)-capture/.capture
	$(subst $(BIN),$(VENV)-capture/bin,$(TESTED)) $(addprefix tests/extensions/,capture torch_files vision) \
	  tests/foreign/test_torch_files.py tests/formats/test_conformance.py $(PYTEST)

# Eight blocks of the Evoformer on ubiquitin, into four formats from one run, each verified.
INPUTS := $(if $(wildcard $(HARNESS_DATA)/1ubq_inputs/1UBQ.fasta),$(HARNESS_DATA)/1ubq_inputs)
DEMO := results/capture-demo
capture-demo: $(VENV)-capture/.capture
	rm -rf $(DEMO) && mkdir -p $(DEMO)
	@echo '$(if $(INPUTS),Ubiquitin with the alignment in $(INPUTS).,Ubiquitin as a single sequence: HARNESS_DATA names no folder with 1ubq_inputs.)'
	$(VENV)-capture/bin/harness capture --model openfold3-evoformer --blocks 8 --recycles 1 --msa-depth 32 \
	  --triangle-residue mean,18 $(if $(INPUTS),--fasta $(INPUTS)/1UBQ.fasta --alignments $(INPUTS),--fasta examples/ubiquitin.fasta) \
	  --to npz:$(DEMO)/ubiquitin.npz --to hdf5:$(DEMO)/ubiquitin.h5 --to zarr:$(DEMO)/ubiquitin.zarr \
	  --to zarr-slim:$(DEMO)/ubiquitin.slim.zarr

# What a capture costs in time and memory, beside the bare model. Takes several minutes.
capture-cost: $(VENV)-capture/.capture
	$(VENV)-capture/bin/python -m benchmarks.capture_cost

# The same checks as continuous integration, without setting up the tests' environment twice.
check:
	.ci/run

# Speed and memory goals, each a ratio measured side by side in one run. Takes several minutes and 20 GB of disk.
targets: $(VENV)/.extras
	$(BIN)/python -m benchmarks.targets

# Kills, flipped bits, hostile files, a full disk, each with its count. Takes half an hour.
attack: $(VENV)/.extras
	$(BIN)/python -m benchmarks.attacks

$(VENV)/bin/python:
	@python="$(PYTHON)" && test "$$python" || { echo 'Name one that does: make PYTHON=...' >&2; exit 1; } && \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.13 ...")' && \
	  echo "$(VENV) is made with $$python" && "$$python" -m venv $(VENV)

$(VENV)-capture/bin/python:
	@python="$$(.ci/python $(TORCH_PYTHON))" && echo "$(VENV)-capture is made with $$python" && "$$python" -m venv $(VENV)-capture

$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[readers]'
	touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,pages]'
	touch $@ $(VENV)/.core

$(VENV)/.extras: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,extras,pages]'
	touch $@ $(VENV)/.core $(VENV)/.test

# torch comes first and in one version; openfold3 without what it declares and a capture does not import.
$(VENV)-capture/.capture: pyproject.toml | $(VENV)-capture/bin/python
	$(VENV)-capture/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(VENV)-capture/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test,capture,antiberty,vision]'
	$(VENV)-capture/bin/python -m pip install --quiet --disable-pip-version-check --no-deps openfold3==0.5.0 antiberty==0.1.3
	touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@ $(VENV)/.core

# The documentation as pages that need no network; a link within it that leads nowhere fails.
SITE ?= build/docs
docs: $(VENV)/.docs
	$(BIN)/python .ci/site.py $(SITE)

# What holds the two tiers, in full: the core's tests without any extension, and the tree without each one; then the count.
house: $(VENV)/.extras
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	$(BIN)/lint-imports
	$(BIN)/python .ci/without --all-tests
	$(BIN)/python .ci/without --each
	$(BIN)/python -m benchmarks.house

clean:
	rm -rf $(VENV) $(VENV)-capture build *.egg-info
