# Every target is also a plain command: see README.md, "Without make".
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
ONE_THREAD := OMP_NUM_THREADS=1
TWO_AT_ONCE := $(ONE_THREAD) $(BIN)/python -m pytest --numprocesses 2 --dist worksteal
ONE_CORE := $(shell command -v taskset >/dev/null 2>&1 && echo taskset -c 0)
PLAINER := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2

.PHONY: demo test quick coverage test-elsewhere check notebooks notebooks-full render wheel format hooks constraints clean help

help:
	@echo "make demo       set up, then train, attack, harden and report on Fashion-MNIST (about two minutes on two cores of an Intel Xeon)"
	@echo "make test       all tests"
	@echo "make quick      the tests that are not slow"
	@echo "make coverage   all tests, and which lines they run; takes almost twice as long"
	@echo "make test-elsewhere  a part of the tests as on a plainer processor, and on one core"
	@echo "make check      lint, format and types"
	@echo "make notebooks  execute the notebooks' quick budget and compare with the rendered ones"
	@echo "make notebooks-full  execute the notebooks' long versions, one after the other, and write nothing"
	@echo "make render     execute the notebooks and write the rendered ones"
	@echo "make wheel      the package as one file, dist/robustlab-*.whl, to upload to Colab say"
	@echo "make format     mend what lint and format can mend"
	@echo "make hooks      check every commit before it is made"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make demo PYTHON=...')"
	$(PYTHON) -m venv $(VENV) || { echo "No venv here: apt-get install python3-venv, then again." >&2; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[all]'
	touch $(READY)

demo: $(READY)
	$(BIN)/robustlab demo

test: $(READY)
	$(TWO_AT_ONCE)

quick: $(READY)
	$(TWO_AT_ONCE) -q -m "not slow"

coverage: $(READY)
	$(TWO_AT_ONCE) --cov --cov-report term:skip-covered

# Rounding differs between processors, and some have one core: what passes here must pass there.
test-elsewhere: $(READY)
	$(PLAINER) $(ONE_THREAD) $(BIN)/python -m pytest -q --numprocesses 2 --dist worksteal -m "not slow" tests/core tests/attacks
	$(PLAINER) $(ONE_THREAD) $(ONE_CORE) $(BIN)/python -m pytest -q -m "not slow" tests/training/test_training_stream.py

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

notebooks: $(READY)
	$(BIN)/python notebooks/build.py --check

notebooks-full: $(READY)
	$(BIN)/python notebooks/build.py --budget full

render: $(READY)
	$(BIN)/python notebooks/build.py

wheel: $(READY)
	$(BIN)/python -m pip wheel --disable-pip-version-check --quiet --no-deps --wheel-dir dist .
	@ls dist/robustlab-*.whl

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

hooks: $(READY)
	$(BIN)/pre-commit install

constraints: $(READY)
	{ head -1 constraints.txt; $(BIN)/python -m pip freeze --all --exclude pip --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .coverage htmlcov
