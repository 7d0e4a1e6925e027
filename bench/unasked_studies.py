"""How long users wait for an answer while a study runs: one that started by itself, which stands back for them,
and one that a person started.

    python bench/unasked_studies.py [--seconds 120]

``detent serve`` with the embedded model and one family. A user asks about every three seconds (Poisson), first with no
study, then beside one that a trigger started, then beside one that a person started; each time a new home and the same
messages. A study's own calls are counted, so that a figure without a study at work is seen. Loopback and a temporary
folder only. Wants an idle machine; eight minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import httpx
from common import ROOT, Cell, write_result

sys.path.insert(0, str(ROOT))

from simulations.ended import quantile_cell

from optimizer.core.search.study import Study, Trigger
from optimizer.host.config import load_settings
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.runtime import wiring
from tests.clock import until
from tests.contexts import study_context
from tests.running_server import make_home, started
from tests.stores import migrate_store
from tests.study_world import TOPIC_FAMILY, TOPICS, topic_examples

EVERY_S = 3.0
START_S = 180.0  # at most, of a study
WARM = 3  # requests before the first that counts: the model is loaded
FAMILY = {**TOPIC_FAMILY, "model": {"default": "embedded", "max_tokens": 8}}
ARMS = {
    "no study": None,
    "a study that started by itself": Trigger(kind="schedule", reason="measured"),
    "a study that a person started": None,
}


def queue_study(home: Path, trigger: Trigger | None) -> str:
    """One that has more to ask than there is time for; the worker takes it up when it starts."""
    settings = load_settings(home=home)
    store, clock = wiring.open_store(settings), wiring.open_clock(settings)
    families = wiring.load_families(settings)
    wiring.sync_families(settings, families, store, clock)
    examples = [e for split, n in (("train", 60), ("dev", 60), ("holdout", 60)) for e in topic_examples(n, split)]
    store.write(lambda tx: store.examples.add(tx, examples))
    study = create_study(
        study_context(store, clock, families.families["topics"], wiring.open_models(settings), actor="bench"),
        StudyRequest(
            family="topics",
            budget=BudgetBody(calls=5000, minutes=60),
            definition={"n_train": 60, "n_dev": 60, "n_holdout": 60, "n_candidates": 40},
            strategy="bootstrap",
        ),
        trigger=trigger,
    )
    store.close()
    assert isinstance(study, Study)
    return study.id


def waits(url: str, seconds: float) -> list[float]:
    """Seconds from each request to its whole answer, one after another:
    who comes while another waits is asked after that one.
    """
    draw, found = random.Random(1), []
    with httpx.Client(base_url=url, timeout=120) as http:
        for i in range(WARM):
            ask(http, i)
        began = due = time.monotonic()
        while due - began < seconds:
            due += draw.expovariate(1 / EVERY_S)
            time.sleep(max(0.0, due - time.monotonic()))
            found.append(ask(http, WARM + len(found)))
    return found


def ask(http: httpx.Client, i: int) -> float:
    began = time.perf_counter()
    text = f"A question on {TOPICS[i % 3]}, the {i}th of today."
    body = {
        "model": "topics",
        "messages": [{"role": "user", "content": text}],
        "detent": {"variables": {"document": text}},
    }
    http.post("/v1/chat/completions", json=body).raise_for_status()
    return time.perf_counter() - began


def n_calls(url: str, study: str) -> int:
    return int(httpx.get(f"{url}/v1/studies/{study}", timeout=60).raise_for_status().json()["spend"]["n_calls"])


def under_way(url: str, study: str) -> int:
    """Calls that it had made when it was seen to ask."""
    return until(lambda: n_calls(url, study), "the study to ask", START_S)


def measured(folder: Path, arm: str, seconds: float) -> tuple[list[float], int]:
    home = make_home(folder / "home", "http://127.0.0.1:9")
    (home / "config" / "models.yaml").unlink()  # the embedded model, as a home without that file has it
    (home / "families" / "topics").mkdir(parents=True)
    (home / "families" / "topics" / "family.yaml").write_text(json.dumps(FAMILY), encoding="utf-8")
    migrate_store(load_settings(home=home))
    study = None if arm == "no study" else queue_study(home, ARMS[arm])
    with started(home) as server:
        before = under_way(server.url, study) if study else 0
        found = waits(server.url, seconds)
        return found, n_calls(server.url, study) - before if study else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="of users' requests in each of the three (default 120)"
    )
    seconds = parser.parse_args().seconds
    cells: list[Cell] = []
    for arm in ARMS:
        with tempfile.TemporaryDirectory(prefix="detent-unasked-") as folder:
            found, calls = measured(Path(folder), arm, seconds)
        beside = f"{arm} ({calls} calls)" if calls else arm
        cells += [quantile_cell(f"{beside}: wait", found, q, None, "s") for q in (0.5, 0.95)]
        print(f"{beside}: {len(found)} requests", file=sys.stderr, flush=True)
    write_result("unasked_studies", cells)
    return 0


if __name__ == "__main__":
    sys.exit(main())
