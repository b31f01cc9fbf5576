# `make help` lists what there is to make. Everything is set up by itself, from envs/*.lock.
.DEFAULT_GOAL := help
.PHONY: help env dev-env reproduce report test figures tables claims train status check format lock clean

# The first Python that runs and is one of 3.11 to 3.13; override with `make PYTHON=...`.
PYTHON ?= $(shell sh envs/find_python.sh)
CONFIG ?=
# The lock to install: run, or cuda where an NVIDIA driver is found (tpu, cluster, cluster-cuda, cloud:
# say so; the last three have a folder of their own).
ENV ?= $(if $(shell command -v nvidia-smi 2>/dev/null),cuda,run)
OVERLAY := $(if $(CONFIG),--configfile $(CONFIG))
BIN := .venv$(addprefix -,$(filter cluster cluster-cuda cloud,$(ENV)))/bin
DEV := .venv-dev/bin
CORES ?= all

help: ## Show this list
	@grep -E '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

env: ## Build .venv from the lock (again only when the lock changes)
	@$(PYTHON) envs/make_env.py $(ENV)

dev-env:
	@$(PYTHON) envs/make_env.py dev

reproduce: env ## Run the whole workflow; CONFIG=config/quick.yaml for another configuration
	@$(BIN)/infwidth reproduce --cores $(CORES) $(OVERLAY)

figures tables claims train: env ## Only that part of the workflow
	@$(BIN)/infwidth reproduce $@ --cores $(CORES) $(OVERLAY)

report: env ## Run what is missing, then write results/report.html: all figures, tables, claims in one file
	@$(BIN)/infwidth reproduce --report --cores $(CORES) $(OVERLAY)

status: env ## List every run and how far it is
	@$(BIN)/infwidth status $(OVERLAY)

test: dev-env ## Run the tests
	@$(DEV)/python -m pytest -n auto --dist loadgroup

check: dev-env ## Format, lint and types, as CI checks them
	@$(DEV)/ruff format --check .
	@$(DEV)/ruff check .
	@$(DEV)/snakefmt --check Snakefile workflow
	@$(DEV)/mypy
	@$(DEV)/snakemake --lint

format: dev-env ## Format the code
	@$(DEV)/ruff format .
	@$(DEV)/ruff check --fix .
	@$(DEV)/snakefmt Snakefile workflow

lock: ## Write envs/*.lock anew from envs/*.in (needs uv)
	@sh envs/lock.sh

clean: ## Remove the environment and all results
	rm -rf .venv .venv-dev .snakemake
	git clean -fdXq results paper_figures
