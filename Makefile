# Everything that a person or CI runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKSPACE ?= .
MINUTES ?= 60
# Tests wait more than they compute; the real CLI computes.
JOBS ?= 5
E2E_JOBS ?= 3
MODEL_JOBS ?= 2
STEPS ?= 20000
EXAMPLES ?= 1000
export WORKSPACE PEER REV
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install run test check model fuzz bench bench-compare bench-record soak reference picture clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 16

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

model: $(VENV)/dev.stamp ## STEPS random steps of clients, observers and the person, compared with a model
	PAIRSIDE_MODEL_STEPS=$(STEPS) PAIRSIDE_MODEL_PARTS=$(MODEL_JOBS) \
	$(BIN)/pytest --numprocesses $(MODEL_JOBS) tests/model

fuzz: $(VENV)/dev.stamp ## EXAMPLES hostile inputs for each test of each surface
	PAIRSIDE_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/pytest --numprocesses $(JOBS) tests/fuzz

bench: $(VENV)/dev.stamp ## figures, as ratios measured in one run; beside another IDE server with PEER='COMMAND'
	$(BIN)/python -m bench --json build/bench.json $${PEER:+--peer "$$PEER"}

bench-compare: $(VENV)/dev.stamp ## figures beside those of another revision, REV
	$(BIN)/python -m bench --json build/bench.json --revision "$${REV:?say REV=REVISION}"

bench-record: $(VENV)/dev.stamp ## the same as bench, kept in bench/history
	$(BIN)/python -m bench --record $${PEER:+--peer "$$PEER"}

soak: $(VENV)/dev.stamp ## an hour (MINUTES=n) of agents that work and die at random; says whether anything grows
	$(BIN)/python -m bench.soak --minutes $(MINUTES) --json build/soak.json

reference: $(VENV)/dev.stamp ## write docs/reference.md anew
	$(BIN)/python docs/generate.py

picture: $(VENV)/dev.stamp ## write the pictures in docs anew, from sessions with the real Claude Code CLI
	$(BIN)/python tests/e2e/install_cli.py
	$(BIN)/python tests/e2e/netns.py -- $(BIN)/python -m docs.picture

clean: ## remove what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
