# Tana: every command of daily work. `make` alone lists them.

# The system's own interpreter where it can make environments and compile, else the one that comes first: distributions
# build theirs with profile-guided optimization, version managers mostly do not, and it is a quarter faster.
FIND_SYSTEM_PYTHON := import ensurepip, os, sys, sysconfig; \
	sys.version_info >= (3, 11) and os.path.exists(sysconfig.get_path("include") + "/Python.h") and print(sys.executable)
PYTHON ?= $(or $(shell /usr/bin/python3 -c '$(FIND_SYSTEM_PYTHON)' 2>/dev/null),python3)
# docker, processes or simulation; auto is docker where an engine answers, else processes.
BACKEND ?= auto
# tailnet or bridge, for containers.
NETWORK ?= tailnet
SCENARIO ?= scenarios/converge.toml
TESTBED_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
SEEDS ?= 300
FUZZ_ARGS ?=
SOAK_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
SOURCES := $(wildcard tana testbed tests tools benchmarks)

# Asked for by name, another interpreter than the environment's own means a new environment.
ifneq ($(filter command environment,$(origin PYTHON)),)
ifneq ($(shell $(PYTHON) -V 2>&1),$(shell $(BIN)/python -V 2>&1))
$(STAMP): FORCE
endif
endif

.DEFAULT_GOAL := help
.PHONY: help setup test test-docker testbed soak-kill lint format fuzz bench bench-up bench-sync bench-net bench-sim mutants lock compose up down base-image tailnet-images clean distclean FORCE
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

help: ## Show this list
	@echo "Usage: make TARGET [SETTING=value]"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Settings: PYTHON=python3.12  BACKEND=docker|processes|simulation  NETWORK=tailnet|bridge"
	@echo "          SCENARIO=scenarios/NAME.toml  SEEDS=300"
	@echo "          TESTBED_ARGS, PYTEST_ARGS, BENCH_ARGS, SOAK_ARGS, FUZZ_ARGS are passed on as they are"

setup: $(STAMP) ## Make the environment in .venv from requirements.lock

$(STAMP): requirements.lock pyproject.toml tools/make_venv.py
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed: sudo apt-get install python3 python3-venv" >&2; exit 1; }
	$(PYTHON) tools/make_venv.py $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -qq $(SOURCES) || true # a faster first start, nothing depends on it
	@touch $@

test: $(STAMP) ## Run every test that needs no Docker, spread over the cores
	$(BIN)/pytest -n auto --dist worksteal $(PYTEST_ARGS)

test-docker: $(STAMP) ## Run the tests of the backend docker: they need an engine, and fail without one
	$(BIN)/pytest tests/docker $(PYTEST_ARGS)

testbed: $(STAMP) ## Bring up a cluster, run SCENARIO on BACKEND and prove that it converged
	@exec $(BIN)/testbed run $(SCENARIO) --backend $(BACKEND) $(if $(filter auto docker,$(BACKEND)),--network $(NETWORK)) $(TESTBED_ARGS)

fuzz: $(STAMP) ## Run SEEDS seeds of faults in virtual time on all cores, up to the first violation
	@exec $(BIN)/testbed fuzz --seeds $(SEEDS) $(FUZZ_ARGS)

lint: $(STAMP) ## Check style, formatting, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy $(wildcard tools benchmarks)
	$(BIN)/pytest tests/test_import_rules.py

format: $(STAMP) ## Format the code and repair what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

soak-kill: $(STAMP) ## Kill validator processes 200 times at random moments under load (SOAK_ARGS="--kills 50 --seed 2")
	$(BIN)/python -m tests.soak.kill $(SOAK_ARGS)

bench: $(STAMP) ## Measure committed transactions per second, latency and the time of an empty height
	$(BIN)/python -m benchmarks.load $(BENCH_ARGS)

bench-up: $(STAMP) ## Measure start to first block, idle memory and the simulated default scenario
	$(BIN)/python -m benchmarks.up $(BENCH_ARGS)

bench-sim: $(STAMP) ## Measure simulated heights a second and seeds a minute, with faults and invariants on, and memory
	$(BIN)/python -m benchmarks.sim $(BENCH_ARGS)

bench-net: $(STAMP) ## Measure start to first block and submit to final in containers, bridge and tailnet side by side
	$(BIN)/python -m benchmarks.net $(BENCH_ARGS)

bench-sync: $(STAMP) ## Measure how fast a node 10,000 blocks behind catches up, against how fast the chain grows
	$(BIN)/python -m benchmarks.sync $(BENCH_ARGS)

mutants: $(STAMP) ## Plant every bug of tests/mutants in turn: the fuzzer must catch each
	$(BIN)/testbed mutants $(TESTBED_ARGS)

lock: ## Resolve requirements.lock anew from pyproject.toml (needs uv)
	@command -v uv >/dev/null || { echo "error: uv is not installed: pipx install uv" >&2; exit 1; }
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header \
		--quiet --output-file requirements.lock
	uv pip compile pyproject.toml --group image --universal --python-version 3.11 --generate-hashes --no-header \
		--quiet --constraint requirements.lock --output-file requirements-image.lock

compose: $(STAMP) ## Write the Compose files of three validators anew from their template
	$(BIN)/python -m testbed.compose

COMPOSE = docker compose -f docker-compose.yml $(if $(filter bridge,$(NETWORK)),-f docker-compose.bridge.yml,$(if $(TS_AUTHKEY),-f docker-compose.own-tailnet.yml))

up: ## Bring up a mesh and three validators in containers, NETWORK=tailnet|bridge, or TS_AUTHKEY=… for your own tailnet
	@$(COMPOSE) up --build --detach || { \
		echo "error: the cluster did not come up; docs/docker.md says what such a line means, make down takes down what is there" >&2; \
		exit 1; }
	@echo
	@echo "The cluster is coming up; its first block is a matter of seconds."
	@echo "  curl http://localhost:$${VALIDATOR_1_STATUS_PORT:-9001}/health            how validator-1 is"
	@echo "  docker compose logs --follow sovereign validator-1   what goes on"
	@echo "  make down                                            take it down and forget its data"

down: ## Take down the containers of `make up`, and what runs of the testbed left, and forget their data
	$(COMPOSE) down --volumes --remove-orphans
	@test ! -x $(BIN)/testbed || $(BIN)/testbed down

base-image: ## Without an image registry: make tana-base from Debian packages (then: BASE_IMAGE=tana-base:latest)
	.ci/base-image

tailnet-images: ## Without an image registry: build Tailscale and headscale from source, as .ci/closed.env names them
	.ci/tailnet-images

clean: ## Remove caches, compiled files, and what runs left in Docker, images too (run folders and .venv stay)
	@test ! -x $(BIN)/testbed || $(BIN)/testbed down --images
	rm -rf .build .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove .venv too
	rm -rf $(VENV)
