"""A home that has grown: many families, events of a month, studies with their trials, and what people look through on
pages. The same seed makes the same home.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from bench.speed.events import ANSWER
from bench.speed.installation import add_key, insert_events
from optimizer.adapters.store.rows import chunks
from optimizer.core.base.values import Budget, Spend
from optimizer.core.dataset.examples import make_example
from optimizer.core.evaluation.judging.bias import BiasFound
from optimizer.core.evaluation.judging.run import JudgeRun
from optimizer.core.evaluation.label_report import label_report
from optimizer.core.feedback.pipeline_record import PipelineRecord
from optimizer.core.search.study import Study, Trial
from optimizer.core.views.evaluation import EvaluationQuery, EvaluationReport, EvaluationRun, SuitesReport
from optimizer.core.views.forgetting import ForgetResult, ForgetRun, PlaceCount
from optimizer.host.config import Settings
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes, roll_up_performance, roll_up_traffic
from optimizer.ports import Alert, Store, Transaction
from optimizer.runtime import wiring
from tests.worlds import api_world

SEED = 36
DAYS = 30
LARGEST_STUDY = 1000  # trials
TRIALS_OF_A_STUDY = 50
ROLLOUTS, WAITING = 8, 3  # families that have one under way, and of them those in which it waits for approval
EXAMPLES_OF_A_FAMILY, REVIEWS, OPEN_ALERTS = 50, 300, 12
LABELS = ("billing", "technical")
WRITES_AT_ONCE = 100
ROLL_UP_AT_ONCE = timedelta(hours=12)  # each time asks of every family; as the worker does it, it takes ten minutes


Write = Callable[[Transaction], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """``events``: half are interactions, half are outcomes of them; half of them came in the last day, the others in
    the month before. ``changes`` stand in the audit, ``records`` are of a content pipeline.
    """

    families: int = 200
    events: int = 1_000_000
    trials: int = 10_000
    alerts: int = 2_000
    changes: int = 10_000
    records: int = 20_000

    @property
    def names(self) -> list[str]:
        return [f"family_{number:03}" for number in range(self.families)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What the addresses of pages are filled in with: the first family, which has the most of everything."""

    family: str
    variant: str
    study: str
    other_study: str
    rollout: str
    waiting: str  # the rollout of another family, which nobody has approved
    quiet: str  # a family without a rollout, whose champion followed another
    first_champion: str  # of that family
    run: str
    judge_run: str
    comparison: str  # that the worker does when it starts
    interaction: str
    conversation: str


def grow(home: Path, size: Size) -> Settings:
    """Makes the home; a million events take some minutes."""
    for name in size.names[1:]:
        folder = home / "families" / name
        folder.mkdir(parents=True)
        (folder / "family.yaml").write_text(_family(name), encoding="utf-8")
    settings = _first_family(home, size)
    with api_world.serving(settings) as world:
        world.client.event_hooks["response"] = []  # that its answers are as declared is for tests to see
        _roll_out(world, size)
        store, clock = world.shared.store, world.shared.clock
        with store.read() as tx:
            champions = {champion.family: champion.variant for champion in store.champions.all_current(tx)}
        now = clock.now()
        writes = chain(
            _studies(store, size, champions, now),
            _runs(store, size, champions, now),
            _for_people(store, size, now),
            _examples(store, size, now),
        )
        # Some at once: each transaction waits for the disk, and one of them all would last longer than a writer may.
        for some in chunks(list(writes), WRITES_AT_ONCE):
            store.write(lambda tx, some=some: [write(tx) for write in some])  # type: ignore[misc]
        _posted(world, f"/v1/families/{size.names[0]}/comparisons", {"variants": ["champion", "candidate"], "n": 5})
        _fill(settings, size, champions)
        roll_up_minutes(store, clock, at_once=ROLL_UP_AT_ONCE)
        roll_up_traffic(store, clock, at_once=ROLL_UP_AT_ONCE)
        roll_up_performance(store=store, clock=clock)
    add_key(settings, "admin")
    return settings


def places_of(settings: Settings, size: Size) -> Places:
    store, family, quiet = wiring.open_store(settings), size.names[0], size.names[-1]
    try:
        with store.read() as tx:
            champion, rollout = store.champions.current(tx, family), store.rollouts.active(tx, family)
            waiting = next(one.id for one in store.rollouts.all_active(tx) if one.stage < 0)
            first_champion = store.champions.history(tx, quiet)[0].variant
            (comparison,) = store.runs.latest(tx, None, 1, kind="compare")
            (last, *_), _ = store.events.page_of_interactions(
                tx, family=family, variant=None, since=None, cursor=None, limit=1
            )
    finally:
        store.close()
    assert champion is not None
    assert rollout is not None
    return Places(
        family=family,
        variant=champion.variant,
        study="st_000",
        other_study="st_001",
        rollout=rollout.id,
        waiting=waiting,
        quiet=quiet,
        first_champion=first_champion,
        run="ev_000",
        judge_run="jr_000",
        comparison=comparison.id,
        interaction=last.id,
        conversation="c-1",
    )


def _family(name: str) -> str:
    return api_world.FAMILY.replace("name: triage", f"name: {name}")


def _first_family(home: Path, size: Size) -> Settings:
    """``make_home`` makes a home with one, which takes the first name."""
    settings = api_world.make_home(home)
    folder = home / "families" / "triage"
    (folder / "family.yaml").write_text(_family(size.names[0]), encoding="utf-8")
    folder.rename(folder.with_name(size.names[0]))
    return settings


def _posted(world: api_world.World, path: str, body: Any) -> Any:
    answer = world.post(path, body)
    assert answer.status_code in (200, 201, 202), answer.text
    return answer.json()


def _roll_out(world: api_world.World, size: Size) -> None:
    """The last family gets a champion after its first, and no rollout."""
    posted, quiet = partial(_posted, world), size.names[-1]
    message = {"role": "user", "content": "Billing or technical? One word. {{text}}"}
    shorter = {"messages": [message], "note": "shorter"}
    second = posted(f"/v1/families/{quiet}/variants", shorter)["variant"]
    posted(f"/v1/families/{quiet}/champion/set", {"variant": second, "confirm": quiet, "reason": "it is shorter"})
    of_families = size.names[: min(ROLLOUTS, size.families - 1)]
    for number, name in enumerate(of_families):
        candidate = posted(f"/v1/families/{name}/variants", shorter)["variant"]
        event = {"id": f"in_first_{number}", "family": name, "unit": "somebody", "output": "billing"}
        posted("/v1/interactions", {**event, "latency_ms": 10.0, "cost_usd": 0.001})
        rollout = posted(
            f"/v1/families/{name}/rollouts", {"variant": candidate, "confirm": name, "reason": "a shorter prompt"}
        )
        if number < max(1, len(of_families) - WAITING):
            posted(f"/v1/rollouts/{rollout['id']}/approve", {"reason": "it reads well"})
    world.tick()


def _studies(store: Store, size: Size, champions: dict[str, str], now: datetime) -> Iterator[Write]:
    """One with a thousand trials, the others with fifty each; all have ended, so that nothing runs."""
    draw, left, number = random.Random(SEED), size.trials, 0
    while left > 0:
        n = min(left, TRIALS_OF_A_STUDY if number else LARGEST_STUDY)
        family, at = size.names[number % size.families], now - timedelta(hours=3 * number + 1)
        study = Study(
            id=f"st_{number:03}",
            family=family,
            strategy="mipro",
            aim="quality",
            status="finished",
            outcome="no_improvement",
            seed=number,
            budget=Budget(calls=20 * n, usd=1.0),
            definition={"n_dev": 20, "n_settings": n, "space": {"temperature": [0.0, 1.0]}},
            champion=champions[family],
            created_at=at,
            started_at=at,
            finished_at=at + timedelta(minutes=30),
            created_by="anna",
            spend=Spend(usd=0.2, n_calls=20 * n),
            findings={"words": [ANSWER]},
        )
        yield partial(store.studies.add, study=study)
        for i in range(n):
            trial = Trial(
                study=study.id,
                number=i,
                variant=champions[family] if i == 0 else f"v_{number:03}{i:05}",
                proposer="champion" if i == 0 else "mipro",
                params={"temperature": round(draw.random(), 3), "instruction": ANSWER},
                status="complete",
                n=20,
                score=draw.random(),
                cost_usd=0.004,
                p95_ms=draw.uniform(80, 400),
                n_calls=20,
                started_at=at,
                finished_at=at,
            )
            yield partial(store.studies.put_trial, trial=trial)
        left, number = left - n, number + 1


def _runs(store: Store, size: Size, champions: dict[str, str], now: datetime) -> Iterator[Write]:
    """An evaluation of each family's champion that came to its end, label by label, and scores of a judge."""
    draw = random.Random(SEED)
    scores = JudgeRun(
        id="jr_000",
        family=size.names[0],
        kind="score",
        judge="judge-1",
        request={"interactions": []},
        result={"n": 50, "n_judged": 48, "n_unmeasured": 2, "reviews": [], "usd": 0.01, "stopped": None},
        status="finished",
        n=50,
        n_done=50,
        budget=Budget(calls=100),
        created_by="anna",
        created_at=now - timedelta(hours=1),
        finished_at=now,
    )
    bias = BiasFound(
        name="position", verdict="no_bias_found", n=40, value=0.01, low=-0.05, high=0.07, why="", said="as it should be"
    )
    places = [PlaceCount(place="interactions", n=4)]
    forgotten = ForgetResult(
        places=places, families=[size.names[0]], variants={}, champions={}, first=[], not_reached=["Backups."]
    )
    check = replace(
        scores,
        id="jr_001",
        kind="check",
        request={"n": 40, "beside": None},
        result={"n": 40, "biases": {"small": [bias]}, "usd": 0.01},
    )
    forgetting = ForgetRun(
        id="fo_000",
        family="",
        request={"unit": "", "own_words": False, "dry_run": False},
        result=forgotten,
        status="finished",
        n=4,
        n_done=4,
        budget=Budget(),
        created_by="anna",
        created_at=now - timedelta(hours=1),
        finished_at=now,
    )
    yield from (partial(store.runs.add, run=run) for run in (scores, check, forgetting))
    for number, family in enumerate(size.names):
        id, variant = f"ev_{number:03}", champions[family]
        request = EvaluationQuery(variant=variant, suite=None, split="dev", n=200, bare=False)
        run = EvaluationRun(
            id=id,
            family=family,
            request=request,
            status="running",
            n=200,
            n_done=200,
            budget=Budget(calls=200),
            created_by="anna",
            created_at=now - timedelta(minutes=number),
        )
        pairs = [(draw.choice(LABELS), draw.choice(LABELS)) for _ in range(200)]
        suite = EvaluationReport(
            id=f"eb_{number:03}",
            family=family,
            variant=variant,
            model="small",
            dataset_hash="0",
            split="dev",
            scorer_version="1",
            n=200,
            n_errors=0,
            mean_score=0.5,
            score_low=0.43,
            score_high=0.57,
            cost_usd=0.01,
            p95_latency_ms=180.0,
            n_calls=200,
            created_by="anna",
            created_at=now,
            scenarios=None,
            labels=label_report(LABELS, pairs),
            trivial_baselines=None,
            judge=None,
            judgements={},
            n_calls_in_all=200,
            spent_usd=0.01,
            beside=None,
            suite_name=None,
            n_wanted=200,
            truncated={},
            n_refused=0,
            timing=None,
            commonest_error=None,
        )
        report = SuitesReport(
            family=family,
            variant=variant,
            champion=variant,
            verdict=None,
            suites=[suite],
            not_measured=[],
            family_suites={},
        )
        yield partial(store.runs.add, run=run)
        yield partial(store.runs.update, id=id, status="finished", finished_at=now, result=report)


def _for_people(store: Store, size: Size, now: datetime) -> Iterator[Write]:
    """Reviews, alerts, changes, and what a content pipeline reported."""
    draw = random.Random(SEED)
    for number in range(REVIEWS):
        family = size.names[number % size.families]
        question = {"input": {"text": f"Where is invoice {number}?"}, "output": "billing", "expected": None}
        review: dict[str, Any] = {"id": f"rv_{number:04}", "family": family, "payload": question, "at": now}
        yield partial(store.reviews.open, kind="release", subject=f"ex_{number:04}", **review)
    for number in range(size.alerts):
        opened, family = now - timedelta(minutes=number), size.names[number % size.families]
        subject = f"subject-{number}"
        alert = Alert(
            id=f"al_{number:05}",
            kind="champion_errors",
            family=family,
            subject=subject,
            detail=f"{number} of the last 1000 requests failed",
            level="warning",
            opened_at=opened,
        )
        yield partial(store.alerts.open, alert=alert)
        if number >= OPEN_ALERTS:
            closed = opened + timedelta(minutes=5)
            yield partial(store.alerts.close, kind=alert.kind, family=family, subject=subject, at=closed)
    for number in range(size.changes):
        at, family = now - timedelta(minutes=size.changes - number), size.names[number % size.families]
        change: dict[str, Any] = {"at": at, "family": family, "detail": {"reason": "it reads well", "share": 0.5}}
        yield partial(store.audit.add, actor="anna", action="rollout.approve", subject=f"ro_{number}", **change)
    records: list[PipelineRecord] = [
        PipelineRecord(
            id=f"pr_{number:06}",
            received_at=now - timedelta(days=DAYS) * (1 - number / size.records),
            processing_type=draw.choice(("full", "lightweight", "early_exit")),
            content_type=draw.choice(("discussion", "entertainment", "news")),
            quality_score=draw.random(),
            processing_time_s=draw.uniform(1, 60),
            exit_checkpoint="post_download",
            exit_reason="short",
            exit_confidence=draw.random(),
            time_saved_share=draw.uniform(0, 0.9),
        )
        for number in range(size.records)
    ]
    for some in chunks(records, WRITES_AT_ONCE):
        yield partial(store.pipeline_stats.add, records=some)


def _examples(store: Store, size: Size, now: datetime) -> Iterator[Write]:
    for family in size.names:
        rows = [
            make_example(
                family=family,
                input={"text": f"request number {i} of {family}"},
                expected={"topic": LABELS[i % 2]},
                created_at=now,
                origin="curated",
            )
            for i in range(EXAMPLES_OF_A_FAMILY)
        ]
        yield partial(store.examples.add, rows=rows)


def _fill(settings: Settings, size: Size, champions: dict[str, str]) -> None:
    """Events by SQLite itself, in the order of their time; the first families have the most."""
    n = size.events // 2
    with closing(sqlite3.connect(settings.home / "var" / "detent.db", isolation_level=None)) as connection:
        connection.execute("CREATE TEMP TABLE named (number INTEGER PRIMARY KEY, family TEXT, champion TEXT)")
        rows = [(number, name, champions[name]) for number, name in enumerate(size.names)]
        connection.executemany("INSERT INTO named VALUES (?, ?, ?)", rows)
        known = {"n": n, "families": size.families, "output": ANSWER, "now": time.time() - 1, "days": DAYS}
        insert_events(
            connection,
            known,
            answer={**OF_EVENT, **OF_ANSWER},
            outcome={**OF_EVENT, **OF_OUTCOME},
            drawn=f"(SELECT i, (i * {MULTIPLIER} % {MODULUS}) / {MODULUS}.0 AS u FROM event) JOIN named ON"
            " named.number = CAST(:families * u * u AS INTEGER)",
        )


MULTIPLIER, MODULUS = 2_654_435_761, 4_294_967_296  # spread evenly, and the same each time
_AT = (
    ":now - 86400.0 * iif(2 * i < :n, 1.0 + (:days - 1) * (1.0 - 2.0 * i / :n), 2.0 * (1.0 - 1.0 * i / :n)),"
    " 'unixepoch'"
)
OF_EVENT = {
    "family": "family",
    "variant": "champion",
    "role": "'champion'",
    "unit_hmac": f"printf('%064x', i * {MULTIPLIER} % 50021)",
    "recomputed": "0",
    "occurred_at": f"strftime('%Y-%m-%d %H:%M:%f000', {_AT})",
    "received_at": f"strftime('%Y-%m-%d %H:%M:%f000', {_AT})",
    "content_hash": "lower(hex(randomblob(32)))",
}
OF_ANSWER = {
    "id": "printf('in_00%024d', i)",  # before those of now, as its time is
    "tags": "'{}'",
    "input": "json_object('text', 'Where is invoice ' || i || '?')",
    "output": "iif(i % 97, :output, NULL)",
    "error": "iif(i % 97, NULL, 'the model did not answer in time')",
    "conversation": "'c-' || (i / 4)",
    "latency_ms": "80.0 + (i * 7919 % 400)",
    "cost_usd": "0.0004",
    "model": "iif(i % 10, 'small', 'large')",
    "by_gateway": "0",
    "parts": (
        "iif(i % 20, NULL, json_array(json_object('tier', 0, 'model', 'small', 'purpose', 'answer', 'issues',"
        " json_array('too_short'))))"
    ),
}
# Of ten outcomes eight are of users, one is of a judge and one of a person.
OF_OUTCOME = {
    "id": "printf('fb_00%024d', i)",
    "tags": "iif(i % 10 = 1, json_object('judge', 'judge-1', 'reasoning', 'It names the topic.'), '{}')",
    "source": "CASE i % 10 WHEN 1 THEN 'judge' WHEN 2 THEN 'person' ELSE 'user' END",
    "interaction": "printf('in_00%024d', i)",
    "success": "iif(i % 10 = 1, NULL, i % 5 > 0)",
    "score": "iif(i % 3, (i * 7919 % 1000) / 1000.0, NULL)",
    "label": "iif(i % 25, NULL, 'too short')",
}
