# Two commands from a bare machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test simulate check lint types layers mutants docs bench lock clean
.DEFAULT_GOAL := check

$(STAMP): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

install: $(STAMP)  ## into .venv, with everything the tests need

demo: $(STAMP)  ## the whole system on this machine, nothing to install or start
	$(BIN)/scm-consumer demo

test: $(STAMP)  ## every test, the ones on a real Apache Kafka included
	$(BIN)/python -m pytest

SEEDS ?= 2000
simulate: $(STAMP)  ## SEEDS=2000 runs of the deterministic simulation; SEED=123 replays one with its trace
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

check: $(STAMP) lint types layers  ## the inner loop
	$(BIN)/python -m pytest -q tests/core

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports

mutants: $(STAMP)  ## deliberate breaks of the program, one by one, and which test catches each
	$(BIN)/python -m tests.mutants.run --record

docs: $(STAMP)  ## the pages that are written from code
	$(BIN)/python -m consumer.config.page > docs/configuration.md
	$(BIN)/python -m consumer.ops.metrics_page > docs/metrics.md

bench: $(STAMP)  ## throughput beside the floor, on the real broker
	$(BIN)/python -m benchmarks.run

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

lock:  ## pin everything anew, with hashes and without addresses (takes uv)
	$(LOCK) --extra dev --output-file requirements.txt pyproject.toml requirements-build.in
	$(LOCK) --constraint requirements.txt --output-file deploy/requirements.txt pyproject.toml
	$(LOCK) --constraint requirements.txt --output-file deploy/requirements-build.txt requirements-build.in

clean:
	rm -rf $(VENV) .cache
