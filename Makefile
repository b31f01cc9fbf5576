# `make help` lists what there is to make. Everything is set up by itself, from envs/*.lock.
.DEFAULT_GOAL := help
.PHONY: help overlay env dev-env figures-env figures reproduce compare publish bundle status
.PHONY: report test test-slow test-all check format docs tools-env metadata lock clean distclean

# The first Python that runs and is one of 3.11 to 3.13; override with `make PYTHON=...`.
PYTHON ?= $(shell sh envs/find_python.sh)
CONFIG ?=
TARGET ?=
# The lock to install: run, or cuda where an NVIDIA driver is found (tpu, cluster, cluster-cuda, cloud:
# say so; the last three have a folder of their own).
ENV ?= $(if $(shell command -v nvidia-smi 2>/dev/null),cuda,run)
# As it was given, whatever is in it: the shell takes it from the environment.
export OVERLAY := $(value CONFIG)
OVERLAID := $${OVERLAY:+--configfile "$$OVERLAY"}
BIN := .venv$(addprefix -,$(filter cluster cluster-cuda cloud,$(ENV)))/bin
DEV := .venv-dev/bin
LIGHT := .venv-figures/bin
TOOLS := .venv-tools/bin
CORES ?= all

# What the environments hold is what runs.
unexport PYTHONPATH PYTHONHOME
export PYTHONNOUSERSITE = 1

help: ## Show this list
	@grep -E '^[a-z -]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 22

env: ## Build .venv from the lock (again only when the lock changes)
	@"$(PYTHON)" envs/make_env.py $(ENV)

dev-env:
	@"$(PYTHON)" envs/make_env.py dev

figures-env:
	@"$(PYTHON)" envs/make_env.py figures

figures: figures-env ## Redraw every figure, table and claim from the published measurements
	@$(LIGHT)/infwidth redraw

# Before minutes of set-up.
overlay:
	@test -z "$$OVERLAY" || test -f "$$OVERLAY" || { echo "CONFIG=$$OVERLAY: no such file; give one, such as config/quick.yaml" >&2; exit 2; }

reproduce: overlay env ## Run the whole workflow; CONFIG=config/quick.yaml, TARGET=train for a part
	@$(BIN)/infwidth reproduce $(TARGET) --cores "$(CORES)" $(OVERLAID)

compare: figures-env ## Say what of your own results agrees with the published ones
	@$(LIGHT)/infwidth compare

publish: env ## Run the whole workflow and copy what it made to results/published
	@$(BIN)/infwidth reproduce publish --cores "$(CORES)"

bundle: figures-env ## Pack the commit, with what is published, into dist/, the same bytes each time
	@$(LIGHT)/infwidth bundle

report: overlay env ## Run what is missing, then write results/report.html: all figures, tables, claims in one file
	@$(BIN)/infwidth reproduce --report --cores "$(CORES)" $(OVERLAID)

status: env ## List the runs of the paper's experiment and how far each is
	@$(BIN)/infwidth status $(OVERLAID)

test: dev-env ## Run the tests, all but those that start whole workflows or many processes
	@$(DEV)/python -m pytest -n auto --dist worksteal -m "not slow"

test-slow: dev-env
	@$(DEV)/python -m pytest -n auto --dist worksteal -m slow --durations=10

test-all: test test-slow ## Run all tests, as CI does

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

tools-env:
	@"$(PYTHON)" envs/make_env.py tools

metadata: tools-env ## Write the citation files, croissant.json, the SBOM and the RO-Crate anew
	@$(TOOLS)/python -m metadata write

docs: ## Build the documentation in site/, which opens from disk; warnings are errors
	@"$(PYTHON)" envs/make_env.py docs
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet

lock: ## Write envs/*.lock anew from envs/*.in (needs uv)
	@sh envs/lock.sh

clean: ## Remove all results and what was packed; refused while a workflow runs here
	@"$(PYTHON)" envs/clean.py

distclean: clean ## Remove the environments, too
	rm -rf .venv .venv-*
