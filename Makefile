# cohortd: `make help` lists the targets. Needs Python 3.11 or newer and make; everything else goes into .venv.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench soak fuzz lock dashboards clean

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RUNTIME := .venv/.cohortd-runtime
DEV := .venv/.cohortd-dev
FUZZ := .venv/.cohortd-fuzz
SEEDS ?= 10000

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1|/' | awk -F'|' '{printf "make %-10s %s\n", $$1, $$2}'

demo: $(RUNTIME)  ## six months of a simulated cohort; options: make demo ARGS="--json --days 30"
	@$(BIN)/cohortd demo $(ARGS)

test: $(DEV)  ## every test; options: make test ARGS="-k ledger"
	@$(BIN)/pytest -n auto --dist loadfile $(ARGS)

lint: $(DEV)  ## style, types, import directions, dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry .

bench: $(DEV)  ## how much a cycle costs, as ratios to a bare loop
	@$(BIN)/python -m bench $(ARGS)

soak: $(DEV)  ## many simulated programs with faults: make soak SEEDS=10000
	@$(BIN)/python -m tests.sim.soak.run --seeds $(SEEDS) $(ARGS)

fuzz: $(FUZZ)  ## fuzz the cloud adapter, guided by coverage (CPython 3.11 to 3.13 on Linux)
	@$(BIN)/python -m tests.clouds.fuzz $(ARGS)

lock: $(DEV)  ## write the four lock files again (needs uv)
	$(UV) pyproject.toml -o requirements.lock
	$(UV) pyproject.toml --group dev --all-extras -o requirements-dev.lock
	$(UV) --group build -c requirements-dev.lock -o requirements-build.lock
	$(UV) --group fuzz -c requirements-dev.lock -o requirements-fuzz.lock

UV := uv pip compile --quiet --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-header

dashboards: $(DEV)  ## write deploy/grafana/dashboards from exporters/dashboards
	@$(BIN)/python -m exporters.dashboards

clean:  ## remove the environment and every cache
	rm -rf .venv .build dist .*_cache .hypothesis

# The stamps make the second call instant. Editable, so that the checkout is what runs; built without
# isolation, because pip would fetch an isolated build's requirements without hashes.
$(RUNTIME): requirements.lock requirements-build.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "cohortd needs Python 3.11 or newer: install one, or name it with make PYTHON=/path/to/python3" >&2; exit 2; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { echo "$(PYTHON) has no venv module: on Debian, apt-get install python3-venv" >&2; exit 2; }
	@echo "installing the locked dependencies into .venv"
	@$(PIP) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): $(RUNTIME) requirements-dev.lock
	@echo "installing the locked development tools into .venv"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

$(FUZZ): $(DEV) requirements-fuzz.lock
	@$(PIP) --require-hashes -r requirements-fuzz.lock
	@touch $@
