# `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help demo test check lock bench bench-model bench-gates bench-rollouts bench-response bench-live bench-tick bench-studies bench-policies bench-data bench-search bench-speed serve clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.synced: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(sed -n 's/^uv==\([0-9.]*\).*/uv==\1/p' requirements.lock)"
	@$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q optimizer api # where Python may write no bytecode, each process would compile everything anew: two seconds
	@touch $@

demo: $(VENV)/.synced ## the whole loop once, on real text, with the embedded model (about twelve minutes on two cores)
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

bench: $(VENV)/.synced ## search against DSPy's own, kill -9 of every process, gates on real logs (about an hour); results in bench/results
	@for name in search_floor crash gate_trial; do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

bench-model: $(VENV)/.synced ## how the embedded model is best run (wants an idle machine)
	@$(BIN)/python bench/embedded_model.py

bench-gates: $(VENV)/.synced ## the gates on recorded A/B tests, beside other rules (a few minutes)
	@$(BIN)/python bench/gate_trial.py

bench-rollouts: $(VENV)/.synced ## simulated rollouts beside other rules (about an hour)
	@$(BIN)/python bench/rollout_statistics.py

bench-response: $(VENV)/.synced ## how long a bad candidate is served, on simulated time (a quarter of an hour)
	@$(BIN)/python bench/guardrail_response.py

bench-live: $(VENV)/.synced ## how long a bad candidate is served by real processes, in real time (half an hour)
	@$(BIN)/python bench/rollouts_live.py

bench-tick: $(VENV)/.synced ## a tick beside ten thousand and beside ten million stored events (a quarter of an hour, some gigabytes under TMPDIR)
	@$(BIN)/python bench/tick.py

bench-studies: $(VENV)/.synced ## what a study costs beside its model's calls, and fifty kills of one (a quarter of an hour)
	@for name in study_overhead concurrency mirror resume; do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

bench-policies: $(VENV)/.synced ## CPU of executing a policy, beside one call of the model (two minutes)
	@$(BIN)/python bench/policy_execution.py

bench-search: $(VENV)/.synced ## searches on recorded and on live answers of the embedded model (hours; a stop loses nothing; data of DETENT_SHARED)
	@for name in record_answers search_recorded search_live; do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

bench-data: $(VENV)/.synced ## cascades, learned confidence and learned score on the data of DETENT_SHARED (the last two take about half an hour)
	@for name in cascades confidence content_quality content_rules; do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

bench-speed: $(VENV)/.synced ## how fast conditions, replay of content and the gateway's streams are
	@for name in conditions content_replay gateway_streams; do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

serve: $(VENV)/.synced ## API, gateway, worker and MLflow UI, supervised
	@$(BIN)/detent serve

clean: ## remove the environment and caches; your data under var/ and mlflow/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
