.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The interpreter for .venv: 3.11 or newer.
PYTHON ?= python3
# The server that demo calls.
URL ?= http://127.0.0.1:8002
# Passed to the tool behind a target: make test ARGS="-k batch"
ARGS ?=

bin := .venv/bin
pip := $(bin)/python -m pip --quiet --disable-pip-version-check --no-input
lock := $(bin)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

.PHONY: help run test demo bench report lint format hooks lock up down clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

run: .venv/.runtime ## serve the API, on the embedded database unless DATABASE_URL is set
	@exec $(bin)/cardbase serve $(ARGS)

test: .venv/.development ## run all tests (ARGS="-k batch" for some)
	@scripts/system-tools test
	@$(bin)/pytest --numprocesses auto --dist loadfile $(ARGS)

demo: .venv/.runtime ## tour a running server, step by step (URL=…)
	@$(bin)/python -m tests.support.flow --url "$(URL)" $(ARGS)

bench: .venv/.development ## measure speed and memory
	@scripts/system-tools bench
	@$(bin)/python -m bench $(ARGS)

report: .venv/.development ## draw the service dashboard of a load run into bench/output/report.png
	@scripts/system-tools report
	@$(bin)/python ops/report.py $(ARGS)

lint: .venv/.development ## check formatting, lint, types, imports, SQL and spelling; changes nothing
	$(bin)/ruff format --check
	$(bin)/ruff check
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/sqlfluff lint db
	$(bin)/codespell

format: .venv/.development ## format the Python code and fix what ruff can fix
	$(bin)/ruff check --fix-only
	$(bin)/ruff format

hooks: .venv/.development ## run the checks before each commit
	@$(bin)/pre-commit install

lock: .venv/.development ## write the lock files from pyproject.toml (ARGS=--upgrade for newer versions)
	@$(lock) $(ARGS) --extra test --extra bench --extra lint --group build --group lock \
		--output-file requirements-dev.lock pyproject.toml
	@$(lock) $(ARGS) --extra embedded --group build --constraint requirements-dev.lock \
		--output-file requirements.lock pyproject.toml

up: ## build and start the containers, and wait until they are healthy
	@ops/make-secrets
	docker compose up --detach --build --wait

down: ## stop the containers, keep their volumes
	docker compose down

clean: ## remove .venv and the caches, keep the data in .cardbase
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find bench gateway tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@scripts/virtualenv "$(PYTHON)"

.venv/.runtime: requirements.lock pyproject.toml | .venv/bin/python
	@echo "Installing the gateway's dependencies into .venv"
	@$(pip) install --require-hashes --requirement requirements.lock
	@$(pip) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.development: requirements-dev.lock .venv/.runtime
	@echo "Installing the dependencies of tests, lint and bench into .venv"
	@$(pip) install --require-hashes --requirement requirements-dev.lock
	@touch $@
