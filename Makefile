# Everything sets itself up: `make demo` and `make test` need Python >= 3.11 with venv and pip, and a network to install from.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= runs/demo

.PHONY: demo claims test test-slow test-faults gpu lint bench docs clean

demo: $(VENV)/.installed
	$(BIN)/python tools/run_demo.py --out $(DEMO) $(if $(MESHES),--meshes $(MESHES)) $(if $(WEIGHTS),--init-from $(WEIGHTS))

claims: $(VENV)/.tested
	$(BIN)/python tools/reproduce_claims.py --out runs/claims

test: $(VENV)/.tested
	$(BIN)/python -m pytest -n auto

test-slow: $(VENV)/.tested
	$(BIN)/python -m pytest -m slow

test-faults: $(VENV)/.tested
	$(BIN)/python -m pytest -m faults

# On a machine with a CUDA device: tests of it, and its figures in runs/gpu.md. GPU_PYTHON=python3 takes an environment that
# has torch, numba and pytest already, and installs nothing.
gpu: $(if $(GPU_PYTHON),,$(VENV)/.tested)
	PYTHONPATH=. $(or $(GPU_PYTHON),$(BIN)/python) -m pytest -m gpu tests/gpu
	PYTHONPATH=. $(or $(GPU_PYTHON),$(BIN)/python) tests/benchmarks/bench_gpu.py --out runs/gpu.md

lint: $(VENV)/.linted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

docs: $(VENV)/.tested
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

bench: $(VENV)/.tested
	for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# Each of these holds what the one before it holds and more; an interrupted install is begun again.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("pcfdsl needs Python 3.11 or newer; run make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.linted: $(VENV)/.tested
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs build dist
