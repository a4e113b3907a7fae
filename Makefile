# Every target does its own set-up and nothing twice. Needs make, Python 3.11 or newer and, for the test servers,
# apt's tools; no root, but for `make e2e`. `make check` is the fast loop, `make test` is everything.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests wait for elections and time-outs more than they compute, so there may be more of them than processors.
JOBS ?= 4

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: simulate chaos help setup servers demo check lint test fuzz model e2e bench man screens completions

help:
	@echo "make demo     a simulated fleet reboots in turn, live, in about 30 seconds"
	@echo "make check    the fast loop: lint, types, layers, unit tests"
	@echo "make test     everything, with real etcd and Consul servers, and make e2e"
	@echo "make e2e      containers that really reboot, under real systemd; needs root"
	@echo "make fuzz     everything that others write or say, with EXAMPLES=2000 of each kind"
	@echo "make model    the protocol as models, searched to the end by spin: docs/evidence/model.md, minutes"
	@echo "make bench    docs/performance.md, measured here: 15 minutes; 3 with QUICK=1"
	@echo "make simulate 10,000 simulated fleets and all planted faults; writes docs/evidence/simulation.md"
	@echo "make chaos    clusters of etcd and Consul and 24 agents, hurt for MINUTES=10 each; docs/evidence/chaos.md; needs root"
	@echo "make setup    the virtual environment in $(VENV)"
	@echo "make man      deploy/man and deploy/completions, written anew from the commands and the reference"
	@echo "make screens  docs/screens, taken from a small real fleet; needs root"
	@echo "make servers  etcd and Consul for the tests, unpacked below .cache"

setup: $(STAMP)

$(STAMP): pyproject.toml
	@if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		found=; \
		for python in python3 python3.13 python3.12 python3.11; do \
			if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "locksmith needs Python 3.11 or newer, and none was found: install one (Debian 12: apt install python3 python3-venv)" >&2; \
			exit 1; \
		fi; \
		if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
			version=$$($$found -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
			echo "$$found cannot make virtual environments here: install its venv module (Debian: apt install python$$version-venv)" >&2; \
			exit 1; \
		fi; \
		echo "making $(VENV) with $$($$found --version)"; \
		$$found -m venv --clear $(VENV); \
	fi
	@echo "installing locksmith and its development tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

servers: setup
	@$(BIN)/python -m tests.servers.fetch

# Both are kept in git, and a test says when they are old.
man: setup completions
	@$(BIN)/python -m tests.tools.manual deploy/man

# Fourteen agents in namespaces of their own: needs root. Look at what it makes before it is kept.
screens: setup
	@$(BIN)/python -m tests.tools.screens docs/screens

completions: setup
	@mkdir -p deploy/completions
	@$(BIN)/lockctl completion bash > deploy/completions/lockctl.bash
	@$(BIN)/lockctl completion zsh > deploy/completions/_lockctl
	@$(BIN)/lockctl completion fish > deploy/completions/lockctl.fish

demo: setup
	@$(BIN)/lockctl demo

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(BIN)/pytest -q -n 3 -m "not slow and not servers" tests/unit

# A server that cannot be had is said loudly here and skipped loudly in the tests that need it.
test: lint
	@$(BIN)/python -m tests.servers.fetch || echo "going on: tests of the missing servers will be skipped" >&2
	@$(ROOT)
	@failed=0; echo '$(E2E)'; $(E2E) || failed=$$?; \
	echo "$(BIN)/pytest"; $(BIN)/pytest -q -n $(JOBS) --dist load --maxschedchunk 1 --durations 15; exit $$failed

# Two at a time: three containers each. Where the machine has no root or no containers, each is skipped with the reason.
ROOT = $(BIN)/python -m tests.e2e.layers >/dev/null || echo "going on: the tests with containers will be skipped" >&2
E2E = $(BIN)/pytest -q -n 2 --dist load --maxschedchunk 1 -m e2e --durations 5 tests/e2e

e2e: setup
	@$(ROOT)
	$(E2E)

# The report with its drawings: docs/performance.md. QUICK=1 takes 3 minutes instead of 15 and writes below .cache/bench.
bench: servers
	@$(BIN)/python -c 'import matplotlib' 2>/dev/null || $(BIN)/python -m pip install --quiet --editable '.[bench]'
	@$(BIN)/python -m tests.benchmarks.bench $(if $(QUICK),--quick)

# What it finds is kept by hypothesis in .hypothesis, and belongs as an explicit example beside the test that found it.
EXAMPLES ?= 2000
fuzz: setup
	LOCKSMITH_FUZZ=$(EXAMPLES) $(BIN)/pytest -q -n $(JOBS) --timeout 3600 tests/fuzz

# Needs gcc; spin is fetched like the servers. Each search has at most ten minutes.
model: setup
	@nice -n 19 $(BIN)/python -m tests.model.run

# About 15 minutes on two cores that are free; FLEETS=500 for a first look.
FLEETS ?= 10000
simulate: setup
	$(BIN)/python -m tests.simulation.report --fleets $(FLEETS)

# Everything is in namespaces of its own, which end with it. STORE=etcd or consul for one of them; SEED draws the same faults.
MINUTES ?= 10
chaos: servers
	@$(BIN)/python -m tests.chaos.run --minutes $(MINUTES) $(if $(STORE),--store $(STORE)) $(if $(SEED),--seed $(SEED))
