# `make help` lists the targets. Everything is made inside this folder: .venv, build, install, log.
# The interpreter that .venv was made with, until another one is named: make setup PYTHON=python3.12
ifndef PYTHON
PYTHON := $(shell test -x .venv/bin/python && echo .venv/bin/python || echo python3)
endif
EPISODES ?= 50
SEED ?= $(if $(filter-out 0,$(FINAL)),1000001,500000)
TORCH ?= cpu
export EPISODES SEED FINAL TORCH TORCH_INDEX

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup setup-train setup-optimise setup-edge build run test test-long evaluate bench coverage mutants policy lint clean
.NOTPARALLEL:

BOOTSTRAP = command -v "$(PYTHON)" > /dev/null || { echo 'setup: no $(PYTHON) in PATH; install Python 3.11 to 3.14 or name one: make setup PYTHON=/usr/bin/python3.11' >&2; exit 1; }; "$(PYTHON)" requirements/bootstrap.py
ENV = . .venv/bin/vla-env &&
# A ROS distribution comes with numpy 1, whose types have no default arguments.
MYPY_FLAGS = $(if $(ROS_DISTRO),--disable-error-code type-arg --disable-error-code var-annotated)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  %-14s %s\n' "$$name" "$$text"; done

setup: ## make .venv with ROS 2 and everything the demo and the tests need
	@$(BOOTSTRAP) setup

setup-train: ## add torch (TORCH=cpu|cuda, TORCH_INDEX=URL with CPU builds) and what training needs
	@$(BOOTSTRAP) train

setup-optimise: ## add OpenVINO, in which an optimised policy may run (0.1 GB to download)
	@$(BOOTSTRAP) optimise

setup-edge: ## add ExecuTorch, into which `vla-learn optimise --target edge` exports (0.4 GB on disk; adds torch)
	@$(BOOTSTRAP) edge

build: setup ## build src/ into install/ with colcon
	@$(BOOTSTRAP) build

run: build ## start the simulated robot (ARGS="name:=value ..." for launch arguments)
	@$(ENV) exec vla_up robot.launch.xml $(ARGS)

test: build lint ## lint, type check and the tests (at most 15 minutes on 2 cores)
	@$(ENV) exec python -m pytest -n 2 --dist loadgroup

test-long: build ## the tests marked slow as well
	@$(ENV) exec python -m pytest -m 'not gpu'

evaluate: build ## closed-loop episodes (EPISODES=50 SEED=500000, FINAL=1 for a release)
	@$(ENV) exec python -m vla_learning.evaluation

bench: build ## measure this machine, write build/bench.json (ONLY="NAME NAME=N ...", LONG=1: hours)
	@$(ENV) exec vla bench $(if $(ONLY),--only $(ONLY)) $(if $(filter-out 0,$(LONG)),--long)

coverage: build ## branch coverage of the gate; fails below 95 %
	@$(ENV) exec python -m pytest -q src/vla_core/test --cov=vla_core.gate --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=95

mutants: build ## change the gate's code in small ways and see which change no test notices (MUTANTS="PATTERN ..."; hours)
	@$(BOOTSTRAP) mutants
	@mkdir -p .mutants && cp -r pyproject.toml conftest.py src/vla_core/vla_core src/vla_core/test .mutants
	@$(ENV) cd .mutants && exec nice -n 10 mutmut run --max-children $$(nproc) $(MUTANTS)

policy: setup-train build ## train the demo policy and write its checkpoint
	@$(ENV) exec vla-learn demo

lint: setup ## ruff and mypy
	@.venv/bin/python -m ruff check
	@.venv/bin/python -m ruff format --check
	@.venv/bin/python -m mypy $(MYPY_FLAGS)

clean: ## remove what build and the tests made, keep .venv
	rm -rf build install log .mutants .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .venv/build.stamp
