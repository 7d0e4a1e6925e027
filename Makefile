# `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help demo test check lock bench bench-model bench-gates serve clean

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

bench: $(VENV)/.synced ## search against DSPy's own, and kill -9 of every process (about an hour); results in bench/results
	@for name in search_floor crash; do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

bench-model: $(VENV)/.synced ## how the embedded model is best run (wants an idle machine)
	@$(BIN)/python bench/embedded_model.py

bench-gates: $(VENV)/.synced ## simulated rollouts beside other rules (an hour or more)
	@$(BIN)/python bench/rollout_statistics.py

serve: $(VENV)/.synced ## API, gateway, worker and MLflow UI, supervised
	@$(BIN)/detent serve

clean: ## remove the environment and caches; your data under var/ and mlflow/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
