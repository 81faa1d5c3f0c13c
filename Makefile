.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The interpreter that .venv is made with: 3.11 or newer.
PYTHON ?= python3
# What demo talks to.
URL ?= http://127.0.0.1:8002
# Passed on to the tool behind a target: make test ARGS="-k batch"
ARGS ?=

bin := .venv/bin
pip := $(bin)/python -m pip --quiet --disable-pip-version-check --no-input
lock := $(bin)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

.PHONY: help run test demo bench report lint format hooks lock up down clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

run: .venv/.runtime ## serve, on the embedded database unless DATABASE_URL names another
	@exec $(bin)/cardbase serve $(ARGS)

test: .venv/.development ## all tests (ARGS="-k batch" for some)
	@scripts/system-tools test
	@$(bin)/pytest --numprocesses auto --dist loadfile $(ARGS)

demo: .venv/.runtime ## the tour of a running server, step by step (URL=…)
	@$(bin)/python -m tests.support.flow --url "$(URL)" $(ARGS)

bench: .venv/.development ## measure speed and memory
	@scripts/system-tools bench
	@$(bin)/python -m bench $(ARGS)

report: .venv/.development ## draw the service dashboard of a load run into bench/output/report.png
	@scripts/system-tools report
	@$(bin)/python ops/report.py $(ARGS)

lint: .venv/.development ## formatting, lint, types, imports, SQL, spelling; changes nothing
	$(bin)/ruff format --check
	$(bin)/ruff check
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/sqlfluff lint db
	$(bin)/codespell

format: .venv/.development ## format the Python code and mend what ruff can mend
	$(bin)/ruff check --fix-only
	$(bin)/ruff format

hooks: .venv/.development ## run the checks before each commit
	@$(bin)/pre-commit install

lock: .venv/.development ## write the lock files from pyproject.toml (ARGS=--upgrade for newer versions)
	@$(lock) $(ARGS) --extra test --extra bench --extra lint --group build --group lock \
		--output-file requirements-dev.lock pyproject.toml
	@$(lock) $(ARGS) --extra embedded --group build --constraint requirements-dev.lock \
		--output-file requirements.lock pyproject.toml

up: ## build and start the containers, and wait until they answer
	@ops/make-secrets
	docker compose up --detach --build --wait

down: ## stop the containers; their volumes stay
	docker compose down

clean: ## remove .venv and the caches; the data in .cardbase stays
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find bench gateway tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@scripts/virtualenv "$(PYTHON)"

.venv/.runtime: requirements.lock pyproject.toml | .venv/bin/python
	@echo "Installing what the gateway needs into .venv"
	@$(pip) install --require-hashes --requirement requirements.lock
	@$(pip) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.development: requirements-dev.lock .venv/.runtime
	@echo "Installing what tests, lint and bench need into .venv"
	@$(pip) install --require-hashes --requirement requirements-dev.lock
	@touch $@
