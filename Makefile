# `make help` lists what there is. Needs python3 (3.11 or newer), make and git; everything else goes into $(VENV).
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# what the package itself needs, without what tests and pages do
CORE   := $(VENV)/.core
PIP    := $(BIN)/pip --disable-pip-version-check
DEMO   := --study digits
# tests at a time, a thread each
TESTS  ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test slow chaos lab env export readme docs wheel dockercheck constraints clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | sort | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: $(CORE) ## train, quantize and report on scikit-learn's digits: a few minutes
	@$(BIN)/gpfq_sweep $(DEMO)
	@test -s runs/digits/report.html

test: $(READY) ## everything that CI checks: derived files, site, notebooks, project
	@$(BIN)/python tools/derive.py --check
	@$(BIN)/python tools/docs.py site
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TESTS) --dist worksteal

slow: $(READY) ## the notebooks, with the cells marked `#| slow`
	@$(BIN)/python -m pytest --slow tests/test_notebooks.py

chaos: $(READY) ## kill sweeps at random, two hundred times, here and on Dask, and count what is lost: most of an hour
	@$(BIN)/python tools/chaos.py

lab: $(READY) ## JupyterLab on the notebooks
	@$(BIN)/jupyter lab --notebook-dir=nbs

env: $(READY) ## the environment alone, in .venv

export: $(READY) ## bring gpfq_nb/, README.md and clean notebooks up to date with the notebooks
	@$(BIN)/python tools/derive.py

readme: $(READY) ## README.md and its figures from nbs/index.ipynb
	@$(BIN)/python tools/docs.py readme

docs: $(READY) ## the site, in _site/
	@$(BIN)/python tools/docs.py site && echo "The site: _site/index.html"

wheel: $(READY) ## sdist and wheel, in dist/
	@$(BIN)/python -m build -q --no-isolation && ls dist/*

dockercheck: ## the Dockerfile's steps without Docker, in a scratch environment
	@$(PYTHON) tools/check_dockerfile.py

# Once per change of what the environment is made from. torch comes by its pin alone: other versions bring gigabytes of CUDA.
# Modules are compiled when they are first imported, most never are; and a study starts many processes, so that what is
# compiled has to be kept, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

$(CORE): settings.ini setup.py pyproject.toml constraints.txt
	@echo "Making the environment in $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -qq -c constraints.txt setuptools
	@$(PIP) install -qq --no-compile -c constraints.txt --no-build-isolation -e .
	@touch $@

$(READY): $(CORE)
	@echo "Adding what tests and pages need (once, two minutes)"
	@$(PIP) install -qq --no-compile -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

constraints: ## constraints.txt anew: the newest of everything but torch and torchvision
	@$(PYTHON) tools/constraints.py

clean: ## remove what can be made again (the environment and runs/ stay)
	@rm -rf _site _proc build dist *.egg-info .pytest_cache gpfq_nb/__pycache__ tests/__pycache__ tools/__pycache__
	@find nbs -name .ipynb_checkpoints -prune -exec rm -rf {} +
