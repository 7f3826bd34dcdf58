# `make train` and `make test` work in a fresh clone: each makes the virtual environment it needs.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
# Where torch comes from: for the CPU, without the gigabytes of CUDA that PyPI's brings on Linux.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# Networks of this size are fastest on one thread, and the tests use the other cores for more tests.
export OMP_NUM_THREADS := 1

.PHONY: help setup train test lint types pytest docs format benchmark compare peers clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

train: .venv/ready ## train Rainbow on CartPole-v1; ARGS="--algo dqn" and the like are passed on
	$(BIN)/python -m sb3_course.train $(ARGS)

# Types and then pages beside the tests: each keeps one core busy, and tests that wait for something leave part of one.
test: lint ## everything that has to pass
	@$(MAKE) --no-print-directory -j 2 pytest types docs

setup: .venv/ready-dev ## make .venv with all that developers need

lint: .venv/ready-dev ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready-dev ## static types
	$(BIN)/mypy

pytest: .venv/ready-dev ## the tests; ARGS="-k name" and the like are passed on
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

docs: .venv/ready-dev ## these pages as HTML in docs/_build, from nothing; a warning is an error
	rm -rf docs/_build
	$(BIN)/python -m sphinx -W -n --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

format: .venv/ready-dev ## repair what `make lint` can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: .venv/ready-dev ## speed against Stable-Baselines3
	$(BIN)/python benchmarks/engine.py $(ARGS)

compare: .venv/ready-dev .venv-peers/ready ## speed against other libraries, a table in a quarter of an hour
	$(BIN)/python benchmarks/peers/compare.py $(ARGS)

peers: .venv-peers/ready ## the environment of the other libraries that `make compare` measures

.venv-peers/ready: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --disable-pip-version-check -r benchmarks/peers/requirements.txt
	touch $@

clean: ## remove what building, testing and setup leave behind
	rm -rf .venv .venv-peers build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'error: Python 3.11 or newer is needed; name one with `make PYTHON=python3.12 ...`' >&2; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# The stamps are older than pyproject.toml or constraints.txt when an installation is due.
# By itself, because pip would ask a second index for every package; PyPI's serves where this one cannot be reached.
.venv/torch: constraints.txt | .venv/bin/python
	$(PIP) --no-deps --retries 1 --index-url $(TORCH_INDEX) torch || echo "torch is taken from pip's usual index"
	touch $@

.venv/ready: pyproject.toml constraints.txt .venv/torch
	$(PIP) -e .
	touch $@

.venv/ready-dev: pyproject.toml constraints.txt .venv/torch
	$(PIP) -e '.[dev]'
	touch .venv/ready $@
