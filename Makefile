# make demo   teach, ask, forget on a real model (ARGS=--json for data)
# make pretrain-demo  trains a 15M model on public-domain novels from nothing, in 20 minutes on two cores
# make check  format, lint, types, floors, fast tests: under a minute
# make slow-tests   measures which tests are too slow for `make check` (tests/slow_tests.txt)
# make test   all tests, the real model included
# make test-studio   the studio in a real browser (Debian: apt-get install chromium)
# make screenshots   pictures of all tabs, light and dark, into docs/studio
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
ARGS ?=

.PHONY: help demo pretrain-demo check slow-tests test test-studio screenshots format docs clean
help:
	@sed -n 's/^# //p' Makefile

demo: $(VENV)/.run
	@$(BIN)/everlearn demo $(ARGS)

pretrain-demo: $(VENV)/.dev
	@$(BIN)/everlearn train pretrain --config benchmarks/pretrain_demo.yaml --out runs/pretrain-demo $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest -q -n auto -m "not slow and not model and not gemma" $(ARGS)

slow-tests: $(VENV)/.dev
	$(BIN)/pytest -q -n auto -m "not model and not gemma" --note-slow $(ARGS)

test: $(VENV)/.dev
	$(BIN)/pytest -n auto $(ARGS)

test-studio: $(VENV)/.dev
	EVERLEARN_TEST_STUDIO=1 $(BIN)/pytest -m studio $(ARGS)

screenshots: $(VENV)/.dev
	$(BIN)/python docs/studio_screenshots.py $(ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.dev
	$(BIN)/python docs/generate_cli.py

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# torch by itself and first: a range would let pip choose a build with gigabytes of CUDA on a machine without a GPU.
$(VENV)/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "everlearn needs Python >= 3.11, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (some minutes the first time) ..." >&2
	@$(PIP) --upgrade "pip>=25.1"
	@$(PIP) $(TORCH)
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@$(PIP) --editable '.[dev]'
	@touch $@
