# Everything that a person or CI runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKSPACE ?= .
# Tests wait more than they compute; the real CLI computes.
JOBS ?= 4
E2E_JOBS ?= 3
export WORKSPACE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install run test check bench reference picture clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 12

$(VENV)/run.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/run.stamp

install: $(VENV)/run.stamp ## make .venv with pairside and what it needs to run

run: $(VENV)/run.stamp ## serve WORKSPACE (the current folder) and review what agents propose
	@folder="$$WORKSPACE"; case "$$folder" in "~/"*) folder="$$HOME/$${folder#"~/"}";; esac; \
	exec $(BIN)/pairside --workspace "$$folder"

check: $(VENV)/dev.stamp ## format, lint, types, layers, reference
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/generate.py --check

test: $(VENV)/dev.stamp ## every test, the real Claude Code CLI and the WebSocket conformance suite among them
	$(BIN)/pytest --numprocesses $(JOBS) --ignore tests/e2e
	$(BIN)/python tests/e2e/install_cli.py
	$(BIN)/python tests/e2e/netns.py --optional -- $(BIN)/python -m pytest --numprocesses $(E2E_JOBS) tests/e2e

bench: $(VENV)/dev.stamp ## figures, as ratios measured in one run
	$(BIN)/python -m bench

reference: $(VENV)/dev.stamp ## write docs/reference.md anew
	$(BIN)/python docs/generate.py

picture: $(VENV)/dev.stamp ## write the pictures in docs anew, from sessions with the real Claude Code CLI
	$(BIN)/python tests/e2e/install_cli.py
	$(BIN)/python tests/e2e/netns.py -- $(BIN)/python -m docs.picture

clean: ## remove what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
