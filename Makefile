# `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPILE := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet
UPGRADE ?= --upgrade
LOCK = $(if $(wildcard $(VENV)/.synced-dev),requirements-dev.lock,requirements.lock)
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) \* 3)
.DEFAULT_GOAL := help
.PHONY: help install demo wheel test test-wheel test-bench test-long test-adapters axe mutations recordings pages pictures check lock bench bench-gates bench-rollouts bench-response bench-data bench-students bench-judges bench-commands bench-families bench-family-rollouts bench-search bench-client bench-paths siege serve clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# Two locks: what runs, and that with the tools of tests and checks. An environment that has the tools keeps them.
$(VENV)/.synced: requirements.lock pyproject.toml
	@$(MAKE) --no-print-directory install
	@touch $@

$(VENV)/.synced-dev: requirements-dev.lock pyproject.toml
	@$(MAKE) --no-print-directory install LOCK=requirements-dev.lock
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -q >/dev/null 2>&1 || true # pytest rewrites each assertion once, here and not in each process of each run
	@touch $(VENV)/.synced $@

# The installer itself is checked against the lock's hashes before it checks the rest.
install: ## what runs into .venv, and nothing else: the commands are then in .venv/bin
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing $(LOCK) into $(VENV) ..."
	@awk '/^uv==/ {on = 1; print; next} on && /^ / {print; next} {on = 0}' $(LOCK) > $(VENV)/installer.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(VENV)/installer.lock
	@$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python $(LOCK)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q optimizer api # where Python may write no bytecode, each process would compile everything anew: two seconds
	@test $(MAKELEVEL) -gt 0 || echo "Installed: $(BIN)/detent. Next: make demo, or begin a project: $(BIN)/detent init DIR"

demo: $(VENV)/.synced ## the whole loop once, on real text, with the embedded model (under ten minutes on two cores)
	@$(BIN)/detent demo $(ARGS)

wheel: $(VENV)/.synced ## a wheel of the server and one of the client, in dist/ (docs/how-to/install-a-wheel.md)
	@$(BIN)/python -m hatchling build -t wheel -d dist
	@cd client && ../$(BIN)/python -m hatchling build -t wheel -d ../dist

# A file is the unit that a worker takes: what a file's tests share (a server, an MLflow store) is made once. WORKERS=0 runs in one process.
# Bytecode is kept wherever the environment says: pytest spends a quarter of a minute of each process on rewriting assertions.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -p tests.forked -p tests.workers --workers $(WORKERS)

test: $(VENV)/.synced-dev ## the suite, three processes per core, for tests that wait
	@$(PYTEST) $(ARGS)

test-bench: $(VENV)/.synced-dev ## the benchmarks' own tests, and each process of a service killed twice
	@$(PYTEST) $(or $(ARGS),tests/bench)

test-wheel: $(VENV)/.synced-dev ## both wheels and the steps of deploy/Containerfile, each from an empty environment (minutes, package index)
	@$(BIN)/python -m pytest --timeout=3600 $(or $(ARGS),tests/wheel)

test-long: $(VENV)/.synced-dev ## every Hypothesis test with twenty times its examples, and the tests marked long (twenty kills)
	@$(PYTEST) -m "long or hypothesis" --hypothesis-profile=long --timeout=3600 $(or $(ARGS),tests)

AXE ?= $(VENV)/axe/package/axe.min.js
$(VENV)/axe/package/axe.min.js:
	@mkdir -p $(VENV)/axe && cd $(VENV)/axe && npm pack --silent axe-core@4 >/dev/null && tar xzf axe-core-*.tgz

axe: $(VENV)/.synced-dev $(AXE) ## axe-core on every page under /dashboard at three widths, light and dark (npm, chromium)
	@DETENT_AXE=$(abspath $(AXE)) $(PYTEST) tests/browser -k "axe or at_every_width_by_day_and_night"

# Extras of the client, by the environment that they share: what cannot stand beside another is a word of its own.
# The tests of some need more than the extra, since it fits any provider.
ADAPTERS ?= openai,openai-agents openfeature langchain litellm,litellm-proxy

test-adapters: $(VENV)/.synced-dev ## the client's adapters with the packages that they are for, newest versions, each group in an environment of its own (minutes, fetches them); ADAPTERS="openai" for some
	@for extras in $(ADAPTERS); do \
	  python=.venv-adapters/$$extras/bin/python; echo "== $$extras"; \
	  test -x $$python || $(PYTHON) -m venv .venv-adapters/$$extras || exit 1; \
	  more=; case $$extras in langchain) more=langchain-openai;; esac; \
	  $$python -m pip install --quiet --disable-pip-version-check --upgrade pytest pytest-timeout $$more --editable "client[$$extras]" || exit 1; \
	  (cd client && DETENT_ADAPTERS=$$extras ../$$python -m pytest tests/adapters $(ARGS)) || exit 1; \
	done
	@for generation in first second; do \
	  folder=.venv-adapters/telemetry-$$generation; echo "== OpenTelemetry, $$generation generation"; rm -rf $$folder; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $$folder -r tests/adapters/telemetry-$$generation.txt || exit 1; \
	  PYTHONPATH=$$folder $(BIN)/python -m pytest tests/end_to_end/processes/test_telemetry_sdk.py -k $$generation $(ARGS) || exit 1; \
	done
	@echo "== applications beside a running service"; $(BIN)/python -m pytest tests/adapters $(ARGS)

mutations: $(VENV)/.synced-dev ## faults in copies of the product, each of which the tests named beside it must see (half an hour); ARGS="lease holdout"
	@$(BIN)/python tests/mutations.py $(ARGS)

recordings: $(VENV)/.synced-dev ## write down anew what the product answers and computes, where that was changed on purpose; ARGS="answers"
	@$(BIN)/python -m tests.recordings.make $(ARGS)

pages: $(VENV)/.synced-dev ## write the reference pages that the code makes: after a change to a command, route, setting, error, scorer or shipped family
	@$(BIN)/python -m docs.generate

pictures: $(VENV)/.synced-dev $(AXE) ## take the tutorial's pictures anew, of the state that `detent demo --keep` leaves, and look at every page there with axe-core, by Chromium (npm); ARGS="http://127.0.0.1:8321" where it answers elsewhere
	@DETENT_AXE=$(abspath $(AXE)) $(BIN)/python -m docs.pictures $(ARGS)

check: $(VENV)/.synced-dev ## format, lint, types, import contract
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin # where os has less; each platform would undo the other's cache
	@$(BIN)/lint-imports
	@cd client && ../$(BIN)/mypy && ../$(BIN)/lint-imports

lock: $(VENV)/.synced-dev ## refresh both locks (no address ends up in them); UPGRADE= keeps every version that still fits
	@$(BIN)/uv pip compile pyproject.toml --group dev -o requirements-dev.lock $(COMPILE) $(UPGRADE)
	@cp requirements-dev.lock requirements.lock # so that both name the same versions
	@$(BIN)/uv pip compile pyproject.toml --group install -o requirements.lock $(COMPILE)

bench: $(VENV)/.synced-dev ## kill -9 of every process, gates on real logs (half an hour); results in bench/results
	@for name in crash gate_trial; do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

bench-gates: $(VENV)/.synced-dev ## the gates on recorded A/B tests, beside other rules (a few minutes)
	@$(BIN)/python bench/gate_trial.py

bench-rollouts: $(VENV)/.synced-dev ## simulated rollouts beside other rules (about an hour)
	@$(BIN)/python bench/rollout_statistics.py

bench-response: $(VENV)/.synced-dev ## how long a bad candidate is served, on simulated time (a quarter of an hour)
	@$(BIN)/python bench/guardrail_response.py

bench-search: $(VENV)/.synced-dev ## rules on recorded tables, searches on live answers of the embedded model (hours; a stop loses nothing; data of DETENT_SHARED)
	@for name in prompt_tables listed_instructions search_live trivial_baselines; do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

siege: $(VENV)/.synced-dev ## the worst text at each entrance, then load while clients, kills and locks attack (a quarter of an hour, quiet machine); ARGS="--only load --minutes 1"
	@$(BIN)/python bench/siege.py $(ARGS)

bench-data: $(VENV)/.synced-dev ## cascades, learned confidence and learned score of content on the data of DETENT_SHARED (half an hour)
	@for name in cascades confidence content_commands; do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

bench-students: $(VENV)/.synced-dev ## how far a student gets on labelled rows, and whether its threshold earns its level (half an hour; data of DETENT_SHARED)
	@$(BIN)/python bench/students.py $(ARGS)

bench-judges: $(VENV)/.synced-dev ## recorded judges beside people's ratings: calibration, committees, intervals (a quarter of an hour; data of DETENT_SHARED)
	@$(BIN)/python bench/judges.py

bench-commands: $(VENV)/.synced-dev ## what `detent study run` finds on recorded cascades, and its test beside the old one (hours; a stop loses nothing; data of DETENT_SHARED)
	@for name in noninferiority commands; do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

bench-families: $(VENV)/.synced-dev ## what studies of the shipped families gain on held-out rows (hours; a stop loses nothing; data of DETENT_SHARED); ARGS="--families summarization --rows 50"
	@$(BIN)/python bench/families.py $(ARGS)

bench-family-rollouts: $(VENV)/.synced-dev ## what becomes of those winners in rollouts that move by themselves, confirmed on sealed rows before (half an hour, after bench-families); ARGS="--families summarization"
	@$(BIN)/python bench/family_rollouts.py $(ARGS)

bench-client: $(VENV)/.synced-dev ## what the client costs in process, beside Langfuse's and OpenFeature's (a few minutes); ARGS="--peers PYTHON", an interpreter that has those
	@$(BIN)/python bench/client.py $(ARGS)

bench-paths: $(VENV)/.synced-dev ## how fast prompts are fetched and feedback is kept, beside bare routes and MLflow (half an hour, quiet machine, wrk, 14 GB under TMPDIR)
	@$(BIN)/python bench/serving.py
	@$(BIN)/python bench/ingestion.py
	@$(BIN)/python bench/ingestion.py --growth 10000000

bench-pages: $(VENV)/.synced-dev ## how long pages of a home that has grown take, and what open ones cost (half an hour, quiet machine, chromium); ARGS="--home FOLDER" keeps the home
	@$(BIN)/python bench/dashboard.py $(ARGS)
	@$(BIN)/python bench/open_pages.py $(ARGS)

serve: $(VENV)/.synced ## API, gateway, worker and MLflow UI, supervised
	@$(BIN)/detent serve

clean: ## remove the environment and caches; your data under var/ and mlflow/ stays
	rm -rf $(VENV) .venv-adapters .pytest_cache .mypy_cache .ruff_cache
