"""A family with a judge, and answers that it has scored."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

from optimizer.adapters.store import Database
from optimizer.core.dataset.examples import make_example
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.family.family import Family
from optimizer.jobs.feedback.answer_review import rate_answer
from tests.stores import FAMILY, arm, feedback, interaction, keep_events
from tests.worlds.api_world import World

CONTENT = [{"role": "user", "content": "Summarize: {{document}}"}]


def judged_family(name: str = FAMILY, *, model: str = "large", **more: Any) -> Family:
    return parse_family(
        {
            "name": name,
            "inputs": {"document": {"type": "text"}},
            "output": {"field": "summary", "parser": "text"},
            "prompt": {"current": "1", "versions": {"1": {"content": CONTENT}}},
            "judge": {"model": model},
            **more,
        }
    )


def rating(i: int) -> float:
    """How good a person finds the i-th answer."""
    return random.Random(i).choice([0.0, 0.25, 0.5, 0.75, 1.0])


def score(i: int, noise: float = 0.1) -> float:
    """What a judge says of it who is far too generous."""
    rng = random.Random(f"score {i}")
    return min(1.0, max(0.0, 0.5 + 0.5 * rating(i) + rng.gauss(0, noise)))


def judge_answers(
    store: Database,
    family: Family,
    n: int,
    at: datetime,
    *,
    first: int = 0,
    noise: float = 0.1,
    unit: str | None = None,
    **changes: Any,
) -> None:
    """``n`` interactions that the family's judge has scored, a second apart, of as many units unless of one."""
    given = range(first, first + n)
    of = [arm(family=family.name, unit_hmac=unit or f"u{i}") for i in given]
    rows = [
        interaction(
            f"in_{i}",
            of=each,
            received_at=at + timedelta(seconds=i),
            occurred_at=at,
            input={"document": f"text of {i}"},
            output=f"answer {i}",
        )
        for i, each in zip(given, of, strict=True)
    ]
    usual = {"success": None, "source": "judge", "tags": {"judge": judge_identity(family)}}
    scores = [
        feedback(
            f"judged_{i}",
            of=each,
            interaction=f"in_{i}",
            received_at=at + timedelta(seconds=i),
            **{**usual, "score": score(i, noise), **changes},
        )
        for i, each in zip(given, of, strict=True)
    ]
    keep_events(store, [*rows, *scores])


F = "summaries"
YAML = """\
name: summaries
description: A summary of a text.
inputs: {document: {type: text}}
output: {field: summary, parser: text}
prompt:
  current: "1"
  versions:
    "1": {created_at: 2026-11-20, description: base, content: [{role: user, content: "Summarize: {{document}}"}]}
scorer: {rouge_l: 1.0}
judge: {model: embedded}
"""


def add_judged_family(world: World, n: int = 200) -> Family:
    """A served family whose judge has scored ``n`` answers, two minutes ago."""
    folder = world.settings.home / "families" / F
    folder.mkdir()
    (folder / "family.yaml").write_text(YAML, encoding="utf-8")
    world.shared.serving.refresh()
    family = world.shared.family(F)
    at = world.shared.clock.now() - timedelta(hours=1)
    judge_answers(world.shared.store, family, n, at)  # type: ignore[arg-type]
    return family


def add_inputs(world: World, n: int) -> None:
    """Examples of that family, which say nothing of the answer."""
    now = world.shared.clock.now()
    rows = [
        make_example(
            family=F,
            input={"document": f"document {i}"},
            expected={"summary": f"{i}"},
            created_at=now,
            origin="curated",
        )
        for i in range(n)
    ]
    world.shared.store.write(lambda tx: world.shared.store.examples.add(tx, rows))


def add_unjudged(world: World, n: int) -> None:
    """Interactions that no judge has scored yet."""
    shared = world.shared
    at = shared.clock.now() - timedelta(hours=1)
    rows = [
        interaction(
            f"in_new_{i}",
            of=arm(family=F, unit_hmac=f"v{i}"),
            received_at=at,
            occurred_at=at,
            input={"document": f"new text {i}"},
            output=f"new answer {i}",
        )
        for i in range(n)
    ]
    keep_events(shared.store, rows)


def rate_all(world: World, n: int | None = None) -> None:
    """Rates what was drawn as ``rating`` says, in the order of the draw."""
    shared = world.shared
    reviews = [one for one in shared.read(lambda tx: shared.store.reviews.page(tx, F, "open"))]
    for one in sorted(reviews, key=lambda review: review.payload["place"])[:n]:
        said = f"{rating(int(one.subject[3:])):g}"
        rate_answer(one.id, said, actor="ben", store=shared.store, clock=shared.clock, intake=shared.intake("ben"))
