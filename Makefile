# Setup, JupyterLab and tests; `make help` lists the targets.
#   make lab TORCH=cpu      on Linux without an NVIDIA GPU: no CUDA packages (saves gigabytes)
#   make lab PYTHON=/path/to/python3.12

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
TORCH_PIN := $(shell sed -n 's/^torch==//p' constraints.txt)
# Two workers with one thread each. Each runs whole files, since the cells of a notebook must run in order.
# Progress bars that appear only on a slow machine are off.
PYTEST := OMP_NUM_THREADS=1 BERTLEARN_PATIENCE=inf $(BIN)/python -m pytest -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup lab test slow fast lint doctor bench notebooks drawings pictures slides book hub snapshots results lock clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile | awk -F': ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## create .venv, install the locked packages, fetch data and weights
	@$(BIN)/bertlearn data
	@echo "Ready. \`make lab\` opens the course; \`source $(BIN)/activate\` puts the command bertlearn on the path."

lab: setup ## set up if needed, then open JupyterLab on the welcome page
	$(BIN)/bertlearn lab

test: setup $(VENV)/.ready-dev lint ## set up if needed, then run every test, notebooks included
	@$(BIN)/bertlearn data --chapter 10
	$(PYTEST)

slow: setup $(VENV)/.ready-dev .venv-teach/.ready ## run the longest tests: benchmarks in small, other graders, the extra chapter
	BERTLEARN_TEACH=.venv-teach/bin/python $(PYTEST) -m slow

fast: $(VENV)/.ready-dev ## run the package's tests without the notebooks
	$(PYTEST) tests --ignore tests/test_notebooks.py

lint: $(VENV)/.ready-dev ## check formatting, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tools/sync_env.py --check
	$(BIN)/python tools/make_teaching.py syllabus --check

doctor: $(VENV)/.ready ## check this machine and estimate the time of each chapter
	@$(BIN)/bertlearn doctor

bench: setup $(VENV)/.ready-dev ## compare speed and memory with other libraries (hours), and update benchmarks/README.md
	$(BIN)/python -m benchmarks

notebooks: $(VENV)/.ready-dev ## run all chapters and store their outputs
	$(BIN)/python tools/notebooks.py run --measure notebooks/*.ipynb

# With REPOSITORY=https://github.com/OWNER/NAME (or BERTLEARN_REPOSITORY in the environment), buttons open the
# notebooks on Binder and Colab; with HUB=https://HOST as well, on that JupyterHub.
book: $(VENV)/.ready-dev ## write the course as web pages to build/book/ (REPOSITORY=https://… adds buttons to open it)
	BERTLEARN_REPOSITORY="$(or $(REPOSITORY),$(BERTLEARN_REPOSITORY))" BERTLEARN_HUB="$(or $(HUB),$(BERTLEARN_HUB))" \
		$(BIN)/python tools/make_book.py

drawings: $(VENV)/.ready ## draw notebooks/images/*.svg
	$(BIN)/python tools/make_drawings.py

pictures: setup $(VENV)/.ready-dev ## record the README's moving pictures in a browser
	$(BIN)/python tools/make_pictures.py

slides: $(VENV)/.ready-dev ## write slides, handouts and exam papers to build/teaching/, and the syllabus
	$(BIN)/python tools/make_teaching.py syllabus
	$(BIN)/python tools/make_teaching.py pages

snapshots: setup ## pretrain the snapshots of chapter 4 (slow; can be interrupted and resumed)
	$(BIN)/python tools/make_snapshots.py vocabulary
	$(BIN)/python tools/make_snapshots.py train snapshots-run
	$(BIN)/python tools/make_snapshots.py bands

results: setup ## compute the stored results of chapters 5 and 6 (slow; can be interrupted and resumed)
	$(BIN)/python tools/make_results.py

hub: setup .venv-teach/.ready ## start a JupyterHub for a class; teaching/running.md names its settings
	.venv-teach/bin/python teaching/hub/start_hub.py

lock: $(VENV)/.ready-dev ## lock the newest version of every package in constraints.txt
	$(PIP) uv
	$(BIN)/python tools/sync_env.py --lock --upgrade

clean: ## remove .venv (cached data and weights stay)
	rm -rf $(VENV) bertlearn.egg-info

$(VENV)/.ready: pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] || { echo "No Python 3.11 or newer found. Install one, or give its path: make setup PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "$(PYTHON) is not Python 3.11 or newer. Give the path of another: make setup PYTHON=/path/to/python3"; exit 1; }
	@echo "Setting up in $(VENV) with $$($(PYTHON) --version). This takes a few minutes the first time."
	$(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),cpu)
	$(PIP) uv
	$(BIN)/uv pip install --python $(BIN)/python --torch-backend cpu torch==$(TORCH_PIN) || { \
		echo "PyTorch's package server could not be reached; try again later, or without TORCH=cpu."; exit 1; }
endif
	$(PIP) torch==$(TORCH_PIN)
	$(PIP) -e .
	@touch $@

# What runs a hub and other graders, in an environment of its own: its extensions would change JupyterLab.
.venv-teach/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-teach
ifeq ($(TORCH),cpu)
	.venv-teach/bin/python -m pip install -c constraints.txt uv
	.venv-teach/bin/uv pip install --python .venv-teach/bin/python --torch-backend cpu torch==$(TORCH_PIN)
endif
	.venv-teach/bin/python -m pip install -c constraints.txt torch==$(TORCH_PIN)
	.venv-teach/bin/python -m pip install -c constraints.txt -e '.[teach,test]'
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(PIP) -e '.[dev,bench]'
	@touch $@
