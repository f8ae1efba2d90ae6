# The verbs of development. `make demo` and `make test` do all the set-up they need on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH := .venv-bench
ONE := OMP_NUM_THREADS=1

.PHONY: demo test test-cluster test-faults fuzz lint fix docs bench dist lowest audit clean

demo: $(INSTALLED)  ## environment, then the main job on the embedded data set
	$(BIN)/augury demo --out augury-demo

test: $(INSTALLED) lint  ## environment, then lint and tests
	$(ONE) $(BIN)/python -m pytest --numprocesses auto --dist loadfile -m "not cluster"

test-cluster: $(INSTALLED)  ## on clusters of two workers, started for the purpose, one of which is killed
	$(ONE) $(BIN)/python -m pytest -m cluster

test-faults: $(INSTALLED)  ## long commands killed at twenty moments each
	AUGURY_FAULTS=20 $(ONE) $(BIN)/python -m pytest tests/test_faults.py

fuzz: $(INSTALLED)  ## ten thousand damaged files for each reader
	AUGURY_FUZZ=10000 $(ONE) $(BIN)/python -m pytest tests/fuzz

lint: $(INSTALLED)  ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(INSTALLED)  ## mend what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)  ## the documentation, in site/, its generated pages anew; a warning is an error
	for page in cli reproduced notebook gallery; do $(ONE) $(BIN)/python docs/scripts/$$page.py || exit 1; done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(INSTALLED) $(BENCH)/.installed  ## every stored measurement again; AUGURY_DATA and AUGURY_MODELS for the paper's
	for name in choosing head_fit scoring large_head learned_step mirroring; do $(ONE) $(BIN)/python benchmarks/$$name.py || exit 1; done
	$(ONE) $(BIN)/python benchmarks/out_of_core.py build/out-of-core
	test -z "$$AUGURY_DATA" || $(ONE) $(BIN)/python benchmarks/subsampling_loop.py
	test -z "$$AUGURY_DATA" || test -z "$$AUGURY_MODELS" || $(ONE) $(BIN)/python benchmarks/subsampling_sweep.py build/sweep
	for name in peers copies_speed; do $(ONE) $(BENCH)/bin/python benchmarks/$$name.py || exit 1; done
	$(BIN)/python benchmarks/performance.py

dist: $(INSTALLED)  ## the wheel, tried in a fresh environment
	PYTHON=$(BIN)/python scripts/dist.sh

lowest:  ## the tests with the lowest versions that pyproject.toml allows; 7 GB with that torch's CUDA libraries
	scripts/lowest.sh

audit: $(INSTALLED)  ## known weaknesses of the pinned packages; asks the network
	$(BIN)/python -m pip install pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps

clean:
	rm -rf $(VENV) $(BENCH) augury-demo build dist site

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Augury needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $@

$(BENCH)/.installed: benchmarks/peers-requirements.txt pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --constraint constraints.txt --editable . --requirement benchmarks/peers-requirements.txt
	$(BENCH)/bin/python -m pip install --no-deps pydvl==0.10.0
	touch $@
