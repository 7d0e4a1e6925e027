# `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help demo test check lock bench serve clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.synced: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(sed -n 's/^uv==\([0-9.]*\).*/uv==\1/p' requirements.lock)"
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/.synced ## the whole loop once, on real text, with the embedded model (under ten minutes)
	@$(BIN)/detent demo

test: $(VENV)/.synced ## the whole suite
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.synced ## format, lint, types, import contract
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lock: $(VENV)/.synced ## refresh requirements.lock (no address ends up in it)
	@$(BIN)/uv pip compile pyproject.toml --group dev -o requirements.lock --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet

bench: $(VENV)/.synced ## side-by-side measurements; results in bench/results
	@for script in $(filter-out bench/common.py,$(wildcard bench/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

serve: $(VENV)/.synced ## API, gateway, worker and MLflow UI, supervised
	@$(BIN)/detent serve

clean: ## remove the environment and caches; your data under var/ and mlflow/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
