# Every target sets up what it needs in a virtual environment; Python 3.10+ and make are enough.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# OpenCL runtimes that `make test` runs on: anything that CLGRAD_DEVICE accepts.
DEVICES ?= pocl intel
# Tests that follow each other share kernels: each process takes half of them in a row, then of what is left.
PYTEST_ARGS ?= -n 2 --dist worksteal

# Kernels compile once for all test processes and runs.
export CLGRAD_CACHE_DIR ?= $(CURDIR)/.cache/kernels

DEVICE_TESTS := $(subst :,\:,$(DEVICES:%=test-%))

.PHONY: help demo test $(DEVICE_TESTS) test-once lint format docs bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-examples ## Train a convolutional net on handwritten digits
	$(BIN)/python examples/digits.py

test: $(DEVICE_TESTS) test-once ## Run the tests on each of DEVICES, and once those that no device matters to

$(DEVICE_TESTS): test-%: $(VENV)/.installed-test
	CLGRAD_DEVICE=$* $(BIN)/python -m pytest -m "not once" $(PYTEST_ARGS)

# The runtimes that pip installs, even where the system has its own.
test-pocl test-intel test-once: export OPENCL_VENDOR_PATH := $(VENV)/no-system-drivers

test-once: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m once $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev ## Check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.installed-docs ## Make the site, guide and reference, in docs/site/_build
	$(BIN)/python -m sphinx -W --keep-going -q -j auto -b html docs/site docs/site/_build

bench: $(VENV)/.installed-bench ## Measure this machine's OpenCL devices, briefly (benchmarks/README.md)
	$(BIN)/python -m benchmarks --quick $(BENCH_ARGS)

clean: ## Remove environments, caches and build outputs
	rm -rf .venv* .cache docs/site/_build docs/site/api docs/site/guide docs/site/ops .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist

# One stamp for each extra; a changed pyproject.toml installs it anew.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[cpu,$*]'
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
