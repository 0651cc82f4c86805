# One command per need. Everything runs in .venv, which every target makes when it is missing.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=
# As root, or with passwordless sudo, missing Debian packages are installed; else the command is said.
DEBIAN := sh deploy/local/debian-packages.sh

.DEFAULT_GOAL := help
.PHONY: help install run cluster test test-live test-cluster test-vllm lint format bench clean

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the project and its tools into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[local,dev]'
	@touch $(STAMP)

install: $(STAMP) ## Make the virtual environment .venv with everything in it

run: $(STAMP) ## The whole system on this machine: fleet, traffic, daemon, live page (ARGS="--scenario step")
	@-$(DEBIAN) prometheus
	@$(BIN)/governor local $(ARGS)

cluster: $(STAMP) ## A real control plane with GPU nodes and istiod to play with (builds it once: 20 minutes)
	@$(DEBIAN) --required openssl
	@$(BIN)/python -m tests.cluster.plane $(ARGS)

test: $(STAMP) ## Unit, property, golden, contract and virtual-time tests (ARGS="-k word")
	@$(DEBIAN) --required prometheus chromium
	@$(BIN)/pytest -n 2 $(ARGS)

test-live: $(STAMP) ## The local stack in real time: scenarios, faults, crashes (≤ 20 minutes)
	@$(DEBIAN) --required prometheus
	@$(BIN)/pytest -m live tests/live $(ARGS)

test-cluster: $(STAMP) ## A real control plane and mesh (builds them once: 20 minutes)
	@$(DEBIAN) --required openssl prometheus
	@$(BIN)/python -m tests.cluster.plane.binaries
	@$(BIN)/pytest -m cluster tests/cluster $(ARGS)

test-vllm: $(STAMP) ## Real vLLM on the CPU with a tiny model (opt-in: downloads several GB)
	@$(DEBIAN) --required prometheus
	@$(BIN)/python -m engine.real.install
	@$(BIN)/pytest -m vllm tests/vllm $(ARGS)

lint: $(STAMP) ## ruff, mypy strict, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(STAMP) ## Rewrite the code in the house style
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(STAMP) ## Cost of a tick with 1,000 fleets x 10 pods on a real Prometheus
	@$(DEBIAN) --required prometheus
	@$(BIN)/python -m tests.bench.tick $(ARGS)

clean: ## Remove everything that was made
	rm -rf $(VENV) $(VENV)-vllm .governor build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
