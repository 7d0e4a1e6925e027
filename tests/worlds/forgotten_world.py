"""A home in which one person left a marker in every place that a service writes, and what is left of it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from optimizer.adapters.files.spool import NAME, Spool
from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import make_example
from optimizer.core.family.variant import Variant
from optimizer.core.feedback.events import Arm
from optimizer.core.feedback.reported import Report
from optimizer.core.search.playbook.entries import Entry
from optimizer.core.search.study import Study, Trial
from optimizer.core.serving import champion
from optimizer.host.config import Settings
from optimizer.jobs.feedback.ingest_feedback import Intake
from optimizer.jobs.feedback.place_events import ReadEvent
from optimizer.jobs.feedback.spooled_records import interaction_record
from optimizer.ports import Clock, JournalEntry, Store, UnitCount
from tests import stores
from tests.stores import keep_variant

MARK = "zq7marker"
UNIT = f"jane.{MARK}@example.org"
SAID = f"my parcel {MARK} never came and nobody at the shop does answer"
ANSWERED = f"we are sorry that the parcel of {MARK} has not come to you yet"
OTHER = "the heating in my flat makes a noise that nobody can explain to me"
F = "triage"


def files_with(home: Path, *words: str) -> list[str]:
    """Files of the home in whose bytes one of the words stands."""
    return sorted(
        str(file.relative_to(home))
        for file in home.rglob("*")
        if file.is_file() and any(word.encode() in file.read_bytes().lower() for word in words)
    )


def plant(settings: Settings, store: Store, clock: Clock, intake: Intake) -> dict[str, Any]:
    """Everything that a person leaves behind, and beside it what another one does."""
    now = clock.now()
    take_in(intake, [event(UNIT, f"in_{MARK}_1", SAID, ANSWERED), event("bob", "in_bob_1", OTHER, "it is the pump")])
    take_in(
        intake,
        [
            {"id": f"fb_{MARK}_1", "interaction": f"in_{MARK}_1", "success": False, "expected": {"topic": "billing"}},
            {"id": "fb_bob_1", "interaction": "in_bob_1", "success": False, "expected": {"topic": "technical"}},
        ],
    )
    unit = intake.hmac_unit(UNIT)
    hers, his = f"co_fb_{MARK}_1", "co_fb_bob_1"
    first = store_variant(store, now, "Is it billing or technical? {{text}}")
    quoting = store_variant(store, now, f"Letters such as: {SAID}. {{{{text}}}}")
    shown = store_variant(store, now, "Sort this: {{text}}", example=hers)
    clean = store_variant(store, now, "Sort this letter: {{text}}")

    def add(tx: Any) -> None:
        serve(tx, store, now, quoting, after=first)
        store.examples.release(tx, F, hers, "ann")
        study = a_study(now, champion=quoting, winner=shown, examples=(hers, his))
        store.studies.add(tx, study)
        trial = Trial(study=study.id, number=1, variant=shown, proposer="p", params={"text": SAID}, status="complete")
        store.studies.put_trial(tx, trial)
        results = [
            ExampleResult(example=hers, score=1.0, output=ANSWERED, judgement={"why": ANSWERED}, call_key="k1"),
            ExampleResult(example=his, score=0.5, output="technical"),
        ]
        store.studies.put_results(tx, study.id, "search", shown, results)
        for n, text in enumerate((SAID, OTHER)):
            store.journal.send(tx, a_call(f"ca_{n}", now, f"Is it billing? {text}"))
        entry = Entry(id="pb_1", kind="lesson", text=f"Never say that {SAID}", position=1, evidence=(hers, his))
        stays = Entry(id="pb_2", kind="lesson", text="Be brief.", position=2, evidence=(hers, his))
        store.playbooks.put(tx, F, [with_times(one, now) for one in (entry, stays)])
        store.reviews.open(tx, "rv_1", F, "label_interaction", f"in_{MARK}_1", {"input": SAID}, now)
        store.audit.add(tx, at=now, actor="ann", action="variant.create", family=F, subject=hers, detail={"note": SAID})
        store.outbox.add(tx, "study", "st_1", {"note": SAID}, now)
        store.unit_counts.put(tx, "ro_1", 1, {(0, unit): UnitCount(cohort_start=now), (0, "b" * 64): UnitCount()})

    store.write(add)
    plant_files(settings, unit)
    return {"first": first, "quoting": quoting, "shown": shown, "clean": clean, "unit": unit, "study": "st_1"}


def plant_short(settings: Settings, store: Store, clock: Clock, intake: Intake, said: str) -> dict[str, str]:
    """A person said this, under ids that name nothing else, and it stands whole in all that can be made of it."""
    now = clock.now()
    asked = event(UNIT, "1", said, "so it is")
    take_in(intake, [asked, event("bob", "in_bob_9", OTHER, "it is the pump")])
    take_in(intake, [{"id": "f9", "interaction": "1", "success": False, "expected": {"topic": "technical"}}])
    quoting = store_variant(store, now, f"Such as: {said}. {{{{text}}}}")
    shown = store_variant(store, now, "Which topic? {{text}}", example="co_f9")
    first = store_variant(store, now, "Sort this: {{text}}", note="the first one")
    noted = store_variant(store, now, "Sort these letters: {{text}}", note=f"Sorts “{said}” now.")
    rows = [{"id": "g1", "input": {"text": said}, "expected": "billing"}, {"id": "g2", "input": {"text": OTHER}}]
    for name in ("golden.jsonl", "examples.jsonl"):
        with (settings.families_dir / F / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    write(settings.var() / "last_good" / f"{F}.golden.jsonl", json.dumps(rows[0]) + "\n")
    copy = make_example(
        family=F, id="im_0", input={"text": said}, expected={"topic": "billing"}, origin="import", created_at=now
    )

    def add(tx: Any) -> None:
        serve(tx, store, now, shown, after=first)
        serve(tx, store, now, quoting, after=first)
        assert store.examples.add(tx, [copy]) != ["id_conflict"]
        entry = Entry(id="pb_9", kind="lesson", text=f"Never answer {said!r}.", position=9, evidence=())
        store.playbooks.put(tx, F, [with_times(entry, now)])
        detail = {"note": said}
        store.audit.add(tx, at=now, actor="ann", action="variant.create", family=F, subject=noted, detail=detail)

    store.write(add)
    return {"quoting": quoting, "shown": shown, "first": first, "noted": noted}


def event(unit: str, id: str, said: str, answered: str) -> dict[str, Any]:
    part = {"tier": 0, "model": "m", "purpose": "answer", "output": answered}
    of = {"id": id, "family": F, "unit": unit, "conversation": f"conversation-{id}", "latency_ms": 12.0}
    return {**of, "input": {"text": said}, "output": answered, "tags": {"note": said}, "parts": [part]}


def take_in(intake: Intake, events: list[dict[str, Any]]) -> None:
    answer = intake.take(events)
    assert not answer["rejected"], answer


def store_variant(
    store: Store, now: Any, text: str, example: str | None = None, family: str = F, note: str = ""
) -> str:
    messages: list[dict[str, Any]] = [{"role": "user", "content": text}]
    content: dict[str, Any] = {"messages": messages, "examples": [], "model": {"name": "embedded"}}
    if example is not None:
        messages.insert(0, {"role": "examples"})
        content["examples"] = [{"id": example, "input": {"text": "short"}, "output": "billing"}]
    return keep_variant(store, family, Variant.from_content(content), now, note=note)


def serve(tx: Any, store: Store, now: Any, variant: str, *, after: str) -> None:
    """``after`` is the champion first, where the family has none yet."""
    current = store.champions.current(tx, F)
    if current is None:
        current = champion.first(family=F, variant=after, at=now, by="ann", why="first")
        store.champions.put(tx, current)
    tenure = champion.next_tenure(current, variant=variant, at=now, by="ann", why="better", forced=False)
    store.champions.put(tx, tenure)
    store.serving_version.bump(tx)


def a_study(
    now: Any, *, champion: str, winner: str, examples: tuple[str, ...], id: str = "st_1", family: str = F
) -> Study:
    ended = {"status": "finished", "outcome": "nominated", "created_at": now - timedelta(hours=1), "finished_at": now}
    outcome = {"winner": winner, "findings": {"said": SAID}, "dataset": {"train": list(examples), "dev": []}}
    return stores.study(id, family=family, champion=champion, definition={}, **ended, **outcome)


def a_call(id: str, now: Any, text: str) -> JournalEntry:
    request = {"messages": [{"role": "user", "content": text}]}
    return stores.call(id, key=id, reserved_usd=0.0, sent_at=now, family=F, request=request)


def with_times(entry: Entry, now: Any) -> Entry:
    return replace(entry, study="st_1", created_at=now, changed_at=now, changed_by="study:st_1")


def plant_files(settings: Settings, unit: str) -> None:
    """Logs, reports, examples, another program's database, MLflow, and a record that no gateway has drained."""
    var = settings.var()
    lines = [{"event": "request failed", "text": SAID}, {"event": f"interaction in_{MARK}_1"}, {"event": "ready"}]
    write(settings.log_dir() / "api.log", "".join(json.dumps(line) + "\n" for line in lines))
    write(settings.log_dir() / "api.log.1", json.dumps({"path": f"/v1/interactions/in_{MARK}_1"}) + "\n")
    write(var / "reports" / "study.html", f"<p>{SAID.replace(' ', '&#32;')}</p>")
    write(var / "reports" / "other.html", f"<p>{OTHER}</p>")
    for name in ("examples.jsonl", "golden.jsonl"):
        rows = [{"id": f"{name}-1", "input": {"text": SAID}, "expected": {"topic": "billing"}}]
        rows.append({"id": f"{name}-2", "input": {"text": OTHER}, "expected": {"topic": "technical"}})
        write(settings.families_dir / F / name, "".join(json.dumps(row) + "\n" for row in rows))
    with closing(sqlite3.connect(var / "dbos.sqlite")) as dbos:
        dbos.execute("PRAGMA journal_mode = WAL")
        dbos.execute("CREATE TABLE workflow_status (workflow_uuid TEXT PRIMARY KEY, error TEXT)")
        dbos.executemany("INSERT INTO workflow_status VALUES (?, ?)", [("st_1", f"failed: {SAID}"), ("st_2", "failed")])
        dbos.execute("DELETE FROM workflow_status WHERE workflow_uuid = 'st_3'")
        dbos.commit()
    plant_spool(settings, unit, f"in_{MARK}_2")


def plant_spool(settings: Settings, unit: str, id: str) -> None:
    """A record that no gateway has drained."""
    values: dict[str, Any] = {"id": id, "input": {"text": SAID}, "output": ANSWERED, "latency_ms": 3.0}
    read = ReadEvent(
        position=0,
        report=Report(values=values, is_interaction=True, is_feedback=False),
        sent=Arm(family=F, unit_hmac=unit),
        by_token=True,
        token=None,
    )
    spool = Spool(settings.var() / "spool" / NAME)
    spool.append(interaction_record(read, "app"))
    spool.close()


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
