# The task list: `make` prints it. Everything is set up on first use, and again only where a lock file changed.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/share/headwater/stamps
LOCKS := requirements/app.txt requirements/dev.txt
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
CODE := schemas streams sinks deploy tests

.PHONY: help setup demo up test check format bench lock clean

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "make %-8s %s\n", $$1, $$2 }'

setup: $(STAMPS)/project $(STAMPS)/kafka $(STAMPS)/debian ## install everything that is locked, into .venv
	@:

demo: $(STAMPS)/project $(STAMPS)/kafka ## run the local stack and a simulated shop, compare with the truth (ARGS="--events 20000")
	@$(BIN)/headwater demo $(ARGS)

up: $(STAMPS)/project $(STAMPS)/kafka ## run the local stack until Ctrl-C
	@$(BIN)/headwater up $(ARGS)

test: setup ## run all tests (ARGS="-k channels" for some)
	@$(BIN)/pytest -n 2 --dist loadgroup $(ARGS)

check: setup ## lint, formatting, types, layers
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## format the code and mend what can be
	@$(BIN)/ruff check --fix $(CODE) || true
	@$(BIN)/ruff format $(CODE)

bench: setup ## measure a worker: events a second, CPU an event
	@$(BIN)/headwater bench worker $(ARGS)

lock: $(STAMPS)/uv ## resolve the dependencies of pyproject.toml anew (ARGS="--upgrade")
	$(COMPILE) $(ARGS) pyproject.toml -o requirements/app.txt
	$(COMPILE) $(ARGS) --group dev -c requirements/app.txt -o requirements/dev.txt
	$(COMPILE) $(ARGS) --group bootstrap -o requirements/bootstrap.txt

clean: ## remove environment and caches (the local stack's data stays)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache htmlcov .coverage

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

$(STAMPS)/kafka: $(STAMPS)/project deploy/local/java.py deploy/local/jars.sha256
	@echo "setup: Kafka"
	@$(BIN)/python -m deploy.local.kafka --fetch
	@$(BIN)/python -m deploy.local.kafka --train
	@touch $@

$(STAMPS)/debian: requirements/debian.txt $(STAMPS)/uv
	@missing=$$(sed 's/#.*//' requirements/debian.txt | xargs -n1 2>/dev/null | while read -r package; do \
	    dpkg -s "$$package" >/dev/null 2>&1 || echo "$$package"; done | xargs); \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo "setup: $$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	else echo "setup: please install $$missing (their tests are skipped without)" >&2; fi
	@touch $@
