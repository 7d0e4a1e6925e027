"""What a person left behind may be small: an id of one character, a text of a few words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.adapters.store.rows import insert_new
from optimizer.adapters.store.tables.examples import HOLDOUT_LOOKS
from optimizer.core.base.values import ExampleResult
from optimizer.core.feedback.review_kinds import LABEL_INTERACTION, RELEASE_EXAMPLE
from optimizer.core.search.playbook.entries import Entry
from optimizer.core.serving import champion
from optimizer.core.views.forgetting import ForgetQuery, ForgetRun
from optimizer.host.config import Settings
from optimizer.jobs.feedback.ingest_feedback import Intake
from optimizer.jobs.upkeep.forget_person import carry_out_forgetting, queue_forgetting
from optimizer.runtime import wiring
from optimizer.runtime.personal_home import forgetting_home
from tests.stores import reading
from tests.worlds.api_world import make_home
from tests.worlds.forgotten_world import (
    OTHER,
    SAID,
    UNIT,
    F,
    a_study,
    event,
    files_with,
    plant_short,
    serve,
    store_variant,
    take_in,
    with_times,
    write,
)

# Of an interaction and of its correction: none is looked for within a text.
IDS = [("f", "g"), ("1044", "45"), ("what-jane-asked", "by-jane")]
ELSEWHERE = "support"  # a family in which others have rows of the same ids


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def store(settings: Settings) -> Iterator[Database]:
    opened = Database(settings.db_url())
    yield opened
    opened.close()


@pytest.fixture
def intake(settings: Settings, store: Database) -> Intake:
    return wiring.open_intake(settings, store, wiring.open_clock(settings), wiring.load_families(settings), actor="app")


def forget(settings: Settings, store: Database, intake: Intake, **asked: bool) -> ForgetRun:
    clock = wiring.open_clock(settings)
    query = ForgetQuery(unit=intake.hmac_unit(UNIT), **{"own_words": False, "dry_run": False, **asked})  # type: ignore[typeddict-item]
    run = store.write(lambda tx: queue_forgetting(tx, store, query, actor="ann", at=clock.now()))
    return carry_out_forgetting(run.id, forgetting_home(settings, store, clock, wiring.load_families(settings)))


def rows_of(store: Database) -> dict[str, list[Any]]:
    with store.read() as tx:
        return {name: list(store.tables.each(tx, name)) for name in store.tables.names()}


def leaves(value: Any) -> Iterator[Any]:
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from leaves(item)
    if not isinstance(value, dict | list):
        yield value


@pytest.mark.parametrize(("id", "correction"), IDS)
def test_whatever_an_id_looks_like_nothing_that_was_made_of_its_row_stays(
    settings: Settings, store: Database, intake: Intake, id: str, correction: str
) -> None:
    now = wiring.open_clock(settings).now()
    take_in(intake, [event(UNIT, id, "lost", "so it is"), event("bob", "in_bob_1", OTHER, "it is the pump")])
    label = {"success": False, "expected": {"topic": "technical"}}
    take_in(
        intake, [{"id": correction, "interaction": id, **label}, {"id": "fb_bob_1", "interaction": "in_bob_1", **label}]
    )
    hers, his = f"co_{correction}", "co_fb_bob_1"
    first = store_variant(store, now, "Sort this: {{text}}")
    shown = store_variant(store, now, "Sort this letter: {{text}}", example=hers)
    kept = store_variant(store, now, "Sort this letter: {{text}}", example=his)
    elsewhere = store_variant(store, now, "Sort this letter: {{text}}", example=hers, family=ELSEWHERE)

    def add(tx: Any) -> None:
        serve(tx, store, now, shown, after=first)
        store.studies.add(tx, a_study(now, champion=first, winner=shown, examples=(hers, his)))
        other = a_study(now, champion=first, winner=shown, examples=(hers,), id="st_2", family=ELSEWHERE)
        store.studies.add(tx, other)
        results = [
            ExampleResult(example=hers, score=1.0, output="lost"),
            ExampleResult(example=his, score=0.5, output=None),
        ]
        store.studies.put_results(tx, "st_1", "search", shown, results)
        store.studies.put_results(tx, "st_2", "search", shown, [ExampleResult(example=hers, score=1.0, output="kept")])
        entries = [
            Entry(id=f"pb_{n}", kind="lesson", text=f"Rule {n}.", position=n, evidence=e)
            for n, e in enumerate([(hers,), (hers, his)])
        ]
        store.playbooks.put(tx, F, [with_times(one, now) for one in entries])
        step: Any = [{"edit": "add", "id": "pb_0", "kind": "lesson", "evidence": [hers, his]}]
        store.playbooks.add_to_step(tx, F, "st_1", 1, step, now)
        for family in (F, ELSEWHERE):
            store.reviews.open(tx, f"rv_{family}", family, LABEL_INTERACTION, id, {"why": "in doubt"}, now)
            insert_new(tx, HOLDOUT_LOOKS, [{"family": family, "example": hers, "study": "st_1", "looked_at": now}])
        store.audit.add(tx, at=now, actor="ann", action=LABEL_INTERACTION, family=F, subject=id, detail={})
        offered = {"interactions": [id, "in_bob_1"]}
        store.audit.add(tx, at=now, actor="ann", action="scenarios.offer", family=F, subject=F, detail=offered)

    store.write(add)
    run = forget(settings, store, intake)
    assert run.status == "finished", run.error
    rows = rows_of(store)
    assert champion.current_of(reading(store).champions.history(F)).variant == first
    assert sorted(row["id"] for row in rows["variants"]) == sorted([first, kept, elsewhere])
    left = {
        name: hits
        for name, of in rows.items()
        if (hits := [row for row in of if row.get("family") != ELSEWHERE and {id, hers} & {*leaves(row)}])
    }
    assert left == {"trial_results": [row for row in rows["trial_results"] if row["study"] == "st_2"]}
    assert [(row["family"], row["subject"]) for row in rows["reviews"] if row["kind"] == LABEL_INTERACTION] == [
        (ELSEWHERE, id)
    ]
    results = {(row["study"], row["score"]): row["output"] for row in rows["trial_results"]}
    assert results == {("st_1", 1.0): None, ("st_1", 0.5): None, ("st_2", 1.0): "kept"}
    assert [(row["id"], row["state"], row["evidence"]) for row in rows["playbook_entries"]] == [
        ("pb_0", "retired", []),
        ("pb_1", "active", [his]),
    ]
    assert [row["family"] for row in rows["holdout_looks"]] == [ELSEWHERE]


def with_words(settings: Settings, said: str) -> list[str]:
    return files_with(settings.home, said.lower())


@pytest.mark.parametrize(
    "said", ["IBAN DE89zqfour0532 was charged twice today", "who is zqfour of Kiel", "zq7marker", "to zq7marker"]
)
def test_a_short_request_of_the_persons_own_is_found_in_no_byte_of_the_home(
    settings: Settings, store: Database, intake: Intake, said: str
) -> None:
    variants = plant_short(settings, store, wiring.open_clock(settings), intake, said)
    assert len(with_words(settings, said)) >= 4
    run = forget(settings, store, intake)
    assert run.status == "finished", run.error
    assert run.result is not None
    assert with_words(settings, said) == []
    assert run.result["variants"] == {F: sorted(variants[name] for name in ("quoting", "noted", "shown"))}
    assert run.result["champions"] == {F: variants["first"]}
    assert run.result["not_reached"] == []
    rows = rows_of(store)
    assert (rows["examples"], [row for row in rows["reviews"] if row["kind"] == RELEASE_EXAMPLE]) == ([], [])
    assert [row["state"] for row in rows["playbook_entries"]] == ["retired"]
    again = forget(settings, store, intake, dry_run=True)
    assert again.result is not None
    assert (again.result["places"], again.result["not_reached"]) == ([], [])  # nor var/forgotten.jsonl


@pytest.mark.parametrize("said", ["yes please, thanks", "subscription", "to Kiel 2026"])
def test_a_short_request_that_others_may_have_sent_is_named_and_stays(
    settings: Settings, store: Database, intake: Intake, said: str
) -> None:
    variants = plant_short(settings, store, wiring.open_clock(settings), intake, said)
    with_family = settings.families_dir / F / "family.yaml"
    with_family.write_text(with_family.read_text().replace("Topic of", f"{said}: topic of"))
    run = forget(settings, store, intake)
    assert run.status == "finished", run.error
    assert run.result is not None
    assert (run.result["variants"], run.result["first"]) == ({F: [variants["shown"]]}, [])
    assert {row["id"] for row in rows_of(store)["variants"]} == {*variants.values()} - {variants["shown"]}
    named = "\n".join(run.result["not_reached"])
    folder = settings.families_dir / F
    for place in (
        f"{folder}/golden.jsonl:1",
        f"{folder}/examples.jsonl:1",
        f"{with_family}:2",
        variants["quoting"],
        variants["noted"],
        f"im_0 of {F}",
        f"pb_9 of {F}",
    ):
        assert place in named
    assert f"{folder}/golden.jsonl:2" not in named
    assert variants["first"] not in named


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("families/triage", SAID),
        ("families/triage/notes", "who is zqfour of Kiel"),
        ("more/triage", SAID),
        ("var/retired/old", "who is zqfour of Kiel"),
    ],
)
def test_any_other_file_of_a_family_that_shows_the_person_is_named_and_stays(
    tmp_path: Path, folder: str, said: str
) -> None:
    settings = make_home(tmp_path / "home", more_families_dirs=[tmp_path / "home" / "more"])
    store = Database(settings.db_url())
    try:
        clock, families = wiring.open_clock(settings), wiring.load_families(settings)
        intake = wiring.open_intake(settings, store, clock, families, actor="app")
        take_in(intake, [event(UNIT, "1", said, "so it is")])
        others = {"other.md": OTHER, "SKILL.md": f"Never say: {said}.", "sheet.csv": f'text,topic\n"{said}",billing\n'}
        for name, text in others.items():
            write(settings.home / folder / name, text)
        run = forget(settings, store, intake)
    finally:
        store.close()
    assert run.status == "finished", run.error
    assert run.result is not None
    named = [
        f"{settings.home / folder / name} shows the person, and is yours to change."
        for name in ("SKILL.md", "sheet.csv")
    ]
    assert run.result["not_reached"] == named
    assert {name: (settings.home / folder / name).read_text() for name in others} == others


def test_a_short_request_that_a_family_file_says_is_told_first_and_may_be_its_own(
    settings: Settings, store: Database, intake: Intake
) -> None:
    take_in(intake, [event(UNIT, "1", "Is it billing or technical?", "so it is")])
    refused = forget(settings, store, intake)
    assert refused.status == "failed"
    assert f"{settings.families_dir / F / 'family.yaml'}:9: these lines say" in str(refused.error)
    kept = forget(settings, store, intake, own_words=True)
    assert kept.status == "finished", kept.error
