# The task list: `make` prints it. Everything is set up on first use, and again only where a lock file changed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/share/headwater/stamps
# local.txt is app.txt and what the local stack needs beside it; the image is made of app.txt alone.
LOCKS := requirements/local.txt requirements/dev.txt
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
CODE := schemas streams sinks deploy tests

.PHONY: help setup peer demo up prometheus test faults fuzz check format bench bench-check bench-keep bench-page soak docs script dashboards pictures lock clean

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "make %-11s %s\n", $$1, $$2 }'

setup: $(STAMPS)/core $(STAMPS)/kafka $(STAMPS)/debian $(STAMPS)/peer ## install everything that is locked, into .venv
	@:

peer: $(STAMPS)/peer ## install the library that the attribution models are compared with, apart from everything else
	@:

demo: $(STAMPS)/core $(STAMPS)/kafka ## run the local stack and a simulated shop, compare with the truth (ARGS="--events 20000")
	@$(BIN)/headwater demo $(ARGS)

up: $(STAMPS)/core $(STAMPS)/kafka ## run the local stack until Ctrl-C
	@$(BIN)/headwater up $(ARGS)

prometheus: $(STAMPS)/project ## run Prometheus, with all rules, over the local stack that runs (`make up`, `make demo`)
	@$(BIN)/python -m deploy.prometheus.local

test: setup ## run all tests (ARGS="-k channels" for some)
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

faults: setup ## kill, stop, cut and delete under load, and count what is lost or doubled (FAULTS=200 SEED=1)
	@$(BIN)/python -m tests.faults --faults $(or $(FAULTS),40) --seed $(or $(SEED),1) $(ARGS)

fuzz: setup ## try hostile input on every parser and endpoint (INPUTS=1000000 SEED=1)
	@$(BIN)/python -m tests.hostile --inputs $(or $(INPUTS),100000) --seed $(or $(SEED),1) $(ARGS)

check: setup ## lint, formatting, types, layers
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## format the code and mend what can be
	@$(BIN)/ruff check --fix $(CODE) || true
	@$(BIN)/ruff format $(CODE)

bench: setup ## measure every part: one table, with spread and goals (ARGS="worker --runs 1" for some)
	@$(BIN)/headwater bench all $(ARGS)

bench-check: setup ## fail where a part needs a fifth more CPU against its floor than is kept with the code
	@$(BIN)/headwater bench all worker collector sink restore --check tests/benchmarks/kept.json $(ARGS)

bench-keep: setup ## measure and keep those ratios with the code
	@$(BIN)/headwater bench all worker collector sink restore --keep tests/benchmarks/kept.json $(ARGS)

soak: setup ## let 40 simulated days pass, and see that memory and disk stay as they are (ARGS="--events 5000")
	@$(BIN)/python -m tests.soak $(ARGS)

bench-page: setup ## measure every part anew for docs/benchmarks.md
	@$(BIN)/headwater bench all --page docs/benchmarks.json $(ARGS)

docs: setup ## generate what is generated in docs/ and schemas/json: settings, logs, AsyncAPI, OpenAPI, JSON Schemas
	@$(BIN)/python -m schemas.documents

pictures: setup ## take the README's pictures of the live page anew, into docs/pictures
	@$(BIN)/python -m tests.browser.pictures $(ARGS)

script: $(STAMPS)/project ## build the browser script: hw.min.js of hw.js, by esbuild
	@$(BIN)/python -m streams.collector.script.build

dashboards: setup ## generate Grafana's dashboards and docs/metrics.md
	@$(BIN)/python -m deploy.grafana.generate
	@$(BIN)/python -m streams.cli.metrics_page

lock: $(STAMPS)/uv ## resolve the dependencies of pyproject.toml anew (ARGS="--upgrade")
	$(COMPILE) $(ARGS) pyproject.toml -o requirements/app.txt
	$(COMPILE) $(ARGS) pyproject.toml --extra local -c requirements/app.txt -o requirements/local.txt
	$(COMPILE) $(ARGS) --group dev -c requirements/local.txt -o requirements/dev.txt
	$(COMPILE) $(ARGS) --group build -c requirements/dev.txt -o requirements/build.txt
	$(COMPILE) $(ARGS) --group bootstrap -o requirements/bootstrap.txt
	cd tests/reference/peer && ../../../$(COMPILE) $(ARGS) packages.in --overrides without.in -o lock.txt

clean: ## remove environment and caches (the local stack's data stays)
	rm -rf $(VENV) $(VENV)-peers .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache htmlcov .coverage

$(STAMPS)/uv: requirements/bootstrap.txt
	@python=$$(for name in python3.11 python3 python; do \
	    if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then command -v "$$name"; break; fi; \
	done); \
	if [ -z "$$python" ]; then echo "headwater needs Python 3.11 or newer: install python3.11" >&2; exit 1; fi; \
	if [ ! -x $(BIN)/python ]; then echo "setup: $(VENV) with $$("$$python" -V)"; \
	    "$$python" -m venv $(VENV) || { echo "headwater needs Python's venv module: install python3-venv" >&2; exit 1; }; fi
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/packages: $(STAMPS)/uv $(LOCKS)
	@echo "setup: locked packages"
	@$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes $(LOCKS)
	@touch $@

$(STAMPS)/project: $(STAMPS)/packages pyproject.toml
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(STAMPS)/core: $(STAMPS)/project deploy/extension.py $(wildcard schemas/*.pyx schemas/*.pxd streams/core/*.pyx sinks/clickhouse/*.pyx sinks/clickhouse/*.pxi)
	@$(BIN)/python -m deploy.extension
	@touch $@

$(STAMPS)/kafka: $(STAMPS)/project deploy/local/java.py deploy/local/jars.sha256
	@echo "setup: Kafka"
	@$(BIN)/python -m deploy.local.kafka --fetch
	@$(BIN)/python -m deploy.local.kafka --train
	@touch $@

$(STAMPS)/peer: tests/reference/peer/lock.txt $(STAMPS)/uv
	@echo "setup: a library to compare attribution models with"
	@$(BIN)/uv venv -q --clear --no-config --python $(BIN)/python $(VENV)/share/headwater/peer
	@$(BIN)/uv pip sync -q --python $(VENV)/share/headwater/peer/bin/python --require-hashes $<
	@touch $@

$(STAMPS)/debian: requirements/debian.txt $(STAMPS)/uv
	@missing=$$(sed 's/#.*//' requirements/debian.txt | xargs -n1 2>/dev/null | while read -r package; do \
	    dpkg -s "$$package" >/dev/null 2>&1 || echo "$$package"; done | xargs); \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo "setup: $$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	else echo "setup: please install $$missing (their tests are skipped without)" >&2; fi
	@touch $@
