# Two commands from a bare machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install chart sbom release docs-site demo test check coverage lint types layers simulate chaos outage alerts mutants day fuzz fuzz-scans docs promises pictures bench eta lock clean
.DEFAULT_GOAL := check

help:  ## this list; without a target: check
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/\1 \2/p' $(MAKEFILE_LIST) | while read -r name what; do printf '%-10s %s\n' "$$name" "$$what"; done

$(STAMP): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

install: $(STAMP)  ## into .venv, with everything the tests need

demo: $(STAMP)  ## the whole system on this machine, nothing to install or start
	$(BIN)/scm-consumer demo

# More workers than processors: much of what they do is waiting.
WORKERS ?= 3

test: $(STAMP)  ## every test, on a real Apache Kafka: side by side, then alone those that measure time
	@$(BIN)/python -m tests.support.needs
	@failed=0; \
	$(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder -m "not alone" || failed=1; \
	$(BIN)/python -m pytest -m alone || failed=1; \
	exit $$failed

SEEDS ?= 2000
simulate: $(STAMP)  ## SEEDS=2000 runs of the deterministic simulation; SEED=123 replays one with its trace
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

check: $(STAMP) lint types layers  ## the inner loop: lint, types, layers, and the tests of the core
	$(BIN)/python -m pytest -q -n 2 tests/unit

coverage: $(STAMP)  ## lines and branches of core and loop that the tests of the core take: a floor
	$(BIN)/python -m pytest -q -n 2 -m "not alone" --cov --cov-report=term tests/unit

lint: $(STAMP)  ## form and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)  ## mypy, strict
	$(BIN)/mypy

layers: $(STAMP)  ## who may import whom
	$(BIN)/lint-imports

mutants: $(STAMP)  ## deliberate breaks of the program, one by one, and which test catches each
	$(BIN)/python -m tests.mutants.run --record

docs: $(STAMP)  ## the pages that are written from code
	$(BIN)/python -m consumer.config.page > docs/configuration.md
	$(BIN)/python -m consumer.ops.metrics_page > docs/metrics.md
	$(BIN)/python -m tests.deploy.dashboard > deploy/grafana/dashboard.json
	$(BIN)/python -m tests.deploy.chart_schema

promises: $(STAMP)  ## docs/promises.md: each promise, its code, its tests and the mutants that break it
	$(BIN)/python -m tests.promises.page > docs/promises.md

pictures: $(STAMP)  ## the ops page's pictures in the docs, from real runs of some minutes
	$(BIN)/python -m tests.pictures

chaos: $(STAMP)  ## kills, cuts and faults on real parts, then a judge: make chaos SEED=7 MINUTES=15
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

outage: $(STAMP)  ## the API away for five minutes with a million events behind it: memory, membership, speed
	$(BIN)/python -m benchmarks.outage

alerts: $(STAMP)  ## each alert by the fault it names, on real parts, durations divided; about 25 minutes
	$(BIN)/python -m tests.alerts

day: $(STAMP)  ## a factory's day of 20,000 items in every format and mode, on the real broker
	$(BIN)/python -m tests.factory

INPUTS ?= 1000000
fuzz: $(STAMP)  ## INPUTS=1000000 records of all formats, whole and broken: rows, or a reason, soon
	$(BIN)/python -m tests.fuzz --inputs $(INPUTS)

fuzz-scans: $(STAMP)  ## INPUTS=1000000 scans as they come, damaged or not: the right code, or refused
	$(BIN)/python -m tests.fuzz.scans --scans $(INPUTS)

bench: $(STAMP)  ## throughput beside the floor, on the real broker
	$(BIN)/python -m benchmarks.run

eta: $(STAMP)  ## fourteen backlogs drained on the real broker: was the told end true
	$(BIN)/python -m benchmarks.eta

TOOLS := .cache/tools

# In .cache/tools, with Go and pip: what the chart and a release take, and an installation does not.
$(TOOLS)/.installed: requirements-tools.txt Makefile
	GOBIN=$(CURDIR)/$(TOOLS)/bin go install helm.sh/helm/v3/cmd/helm@v3.22.0
	GOBIN=$(CURDIR)/$(TOOLS)/bin go install github.com/zegl/kube-score/cmd/kube-score@v1.20.0
	$(PYTHON) -m venv $(TOOLS)/venv
	$(TOOLS)/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-tools.txt
	@touch $@

chart: $(STAMP) $(TOOLS)/.installed  ## deploy/kubernetes from the chart, and all tests of the chart, with helm and the API's schemas
	$(BIN)/python -m tests.deploy.plain_manifests
	$(BIN)/python -m pytest -q tests/deploy/test_chart.py

sbom: $(STAMP) $(TOOLS)/.installed  ## deploy/sbom.cdx.json from deploy/requirements.txt
	$(BIN)/python -m tests.release.sbom $(TOOLS)/venv/bin/cyclonedx-py

release: $(STAMP)  ## what is published, into dist: built twice, tried, with SBOM and hashes (docs/release.md)
	$(BIN)/python -m tests.release

DOCS := .cache/docs

$(DOCS)/.installed: docs/requirements.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r docs/requirements.txt
	@touch $@

docs-site: $(DOCS)/.installed  ## the docs as a site, in dist/site; a link or a heading that is missing ends it
	$(DOCS)/bin/mkdocs build --strict --quiet

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

lock:  ## pin everything anew, with hashes and without addresses (takes uv)
	$(LOCK) --extra dev --extra otel --output-file requirements.txt pyproject.toml requirements-build.in
	$(LOCK) --constraint requirements.txt --output-file deploy/requirements.txt pyproject.toml
	$(LOCK) --constraint requirements.txt --output-file deploy/requirements-build.txt requirements-build.in
	$(LOCK) --output-file requirements-tools.txt requirements-tools.in
	$(LOCK) --output-file docs/requirements.txt docs/requirements.in

clean:  ## forget the venv and what was fetched
	rm -rf $(VENV) .cache
