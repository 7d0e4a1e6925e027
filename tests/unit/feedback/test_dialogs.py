"""What users ask: dialogs read as they are, queries grouped, and what follows from the figures."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optimizer.adapters.files.sources import dialog_events, format_of, read_dialogs
from optimizer.adapters.predictors.texts import group_texts
from optimizer.adapters.store import Database
from optimizer.core.base.errors import Conflict, InvalidInput, NotFound
from optimizer.core.dataset.examples import make_example, split_of
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.core.feedback.dialogs import events_of_dialog
from optimizer.core.views.dialogs import DialogAnalysis
from optimizer.host.yaml_files import safe_yaml
from optimizer.jobs.champions import read_dialogs as reading
from optimizer.jobs.feedback.collect_reviews import ScenarioOffersRequest, offer_scenarios
from optimizer.runtime.use_cases import use_case_of
from tests.clock import Clock
from tests.command_line import detent
from tests.stores import FAMILY, NOW, interaction, keep_events, minutes
from tests.worlds.api_world import make_home
from tests.worlds.contexts import context_of

DIALOG: dict[str, Any] = {
    "dialog_id": "001",
    "timestamp": "2026-11-20T08:30:00+00:00",
    "user_id": "tg:12345",
    "dao_id": "dao-7",
    "prompts": [
        {"text": "How do I vote?", "response_time_ms": 3200, "provider": "small", "rbac_role": "member"},
        {"text": "And where?", "response_time_ms": 9000, "provider": "small", "status": "timeout"},
    ],
    "insights": {"worked_well": "quick", "issues": "no link", "suggestions": "name the page"},
}


def family(name: str = FAMILY, **more: Any) -> Family:
    prompt = {"versions": {"1": {"content": [{"role": "user", "content": "Answer: {{question}}"}]}}, "current": "1"}
    output = {"field": "answer", "parser": "text"}
    return parse_family(
        {"name": name, "inputs": {"question": {"type": "text"}}, "output": output, "prompt": prompt, **more}
    )


def test_each_prompt_of_a_dialog_is_an_interaction_and_what_is_not_named_is_a_tag() -> None:
    first, second = (event for _, (event, _) in events_of_dialog(DIALOG, "support", {"question": "text"}))
    assert first == {
        "id": "001:001",
        "family": "support",
        "unit": "tg:12345",
        "conversation": "001",
        "input": {"question": "How do I vote?"},
        "model": "small",
        "latency_ms": 3200,
        "occurred_at": "2026-11-20T08:30:00+00:00",
        "tags": {"dao_id": "dao-7", "rbac_role": "member", "insights": DIALOG["insights"]},
    }
    assert (second["id"], second["error"], second["tags"]) == ("001:002", "status timeout", {"dao_id": "dao-7"})


def test_what_people_noted_stays_where_the_first_prompt_reports_nothing() -> None:
    dialog = {**DIALOG, "prompts": [{"text": ""}, *DIALOG["prompts"]]}
    events = [event for _, (event, _) in events_of_dialog(dialog, "support", {"question": "text"}) if event]
    assert [event["tags"].get("insights") for event in events] == [DIALOG["insights"], None]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dialog_id": None}, "no dialog_id"),
        ({"prompts": []}, "no prompts"),
        ({"prompts": ["x"]}, "no object"),
        ({"prompts": [{"response_time_ms": 3}]}, "no text"),
        ({"prompts": [{"text": "x", "status": "success"}]}, "neither response_time_ms nor a status"),
        ({"prompts": [{"text": "x"}] * 1001}, "1,001 prompts"),
    ],
)
def test_a_prompt_that_reports_nothing_is_named_with_the_reason(changes: dict[str, Any], says: str) -> None:
    told = [why for _, (event, why) in events_of_dialog({**DIALOG, **changes}, "s", {"question": "text"}) if not event]
    assert told
    assert all(says in (why or "") for why in told)


def test_a_folder_one_file_and_json_lines_hold_the_same_dialogs(tmp_path: Path) -> None:
    folder = tmp_path / "dialogs"
    folder.mkdir()
    (folder / "001.json").write_text(json.dumps(DIALOG, indent=2), encoding="utf-8")
    (folder / "002.json").write_text(json.dumps({**DIALOG, "dialog_id": "002"}), encoding="utf-8")
    (folder / "notes.json").write_text("[]", encoding="utf-8")
    lines = tmp_path / "dialogs.jsonl"
    lines.write_text("".join(json.dumps({**DIALOG, "dialog_id": id}) + "\n" for id in ("001", "002")), encoding="utf-8")
    assert [format_of(place) for place in (folder, folder / "001.json", lines)] == ["dialogs"] * 3
    of_folder, of_lines = (list(dialog_events(read_dialogs(place), family(), {})) for place in (folder, lines))
    assert [event for _, event, _ in of_folder if event] == [event for _, event, _ in of_lines]
    assert [where for where, event, _ in of_folder if event is None] == ["notes.json line 1"]


def test_what_fills_an_input_has_to_be_said_where_there_are_several() -> None:
    several = SimpleNamespace(name="s", inputs={"question": 1, "role": 2}, output=SimpleNamespace(field="answer"))
    with pytest.raises(InvalidInput, match="--input question=MEMBER --input role=MEMBER"):
        dialog_events([], several, {})  # type: ignore[arg-type]
    columns = {"question": "text", "role": "rbac_role"}
    (event, _) = (event for _, event, _ in dialog_events([("", DIALOG, None)], several, columns))  # type: ignore[arg-type]
    assert event["input"] == {"question": "How do I vote?", "role": "member"}


QUERIES = [
    *(f"How do I vote on proposal {n}?" for n in range(6)),
    *(f"Why was my payment {n} declined?" for n in range(4)),
    "Tell me a joke",
]


def test_queries_that_share_their_words_are_one_group_whatever_their_order() -> None:
    groups = group_texts(QUERIES)
    kinds = sorted({tuple(sorted({QUERIES[at].split()[0] for at in one.members})) for one in groups})
    assert kinds == [("How",), ("Tell",), ("Why",)]
    assert sorted(len(one.members) for one in groups) == [1, 4, 6]
    assert "vote" in next(one for one in groups if len(one.members) == 6).words
    backwards = group_texts(QUERIES[::-1])
    as_sets = [
        {frozenset(texts[at] for at in one.members) for one in found}
        for texts, found in ((QUERIES, groups), (QUERIES[::-1], backwards))
    ]
    assert as_sets[0] == as_sets[1]
    assert group_texts([]) == []
    assert group_texts(["?", "!"]) == []


def context_in(database: Database, families: dict[str, Family] | None = None) -> Any:
    families = families or {FAMILY: family(), "unasked": family("unasked")}
    return context_of(
        database,
        Clock(minutes(60)),
        families=lambda: SimpleNamespace(families=families),
        family=families.__getitem__,
        group_texts=group_texts,
    )


def asked(database: Database, families: dict[str, Family] | None = None, **more: Any) -> DialogAnalysis:
    return reading.read_dialogs(context_in(database, families), reading.DialogsRequest(**more))


def query(n: int, text: str | None, *, latency_ms: float = 100.0, error: str | None = None, **more: Any) -> Any:
    input = None if text is None else {"question": text}
    usual = {"input": input, "output": None, "conversation": f"c-{n // 2}", "tags": {}}
    return interaction(f"in_{n:02d}", received_at=minutes(n), latency_ms=latency_ms, error=error, **{**usual, **more})


def fill(database: Database) -> None:
    """Six queries alike of which all are quick, four alike of which three fail and all are slow, and one alone."""
    rows = []
    for n, text in enumerate(QUERIES):
        is_payment = "payment" in text
        error = "declined" if is_payment and n % 4 else None
        rows.append(query(n, text, latency_ms=900.0 if is_payment else 100.0, error=error))
    rows.append(query(20, None, tags={"insights": DIALOG["insights"]}))
    keep_events(database, rows)


def test_common_slow_and_failed_queries_have_their_figures_and_ideas_their_command(database: Database) -> None:
    fill(database)
    report = asked(database)
    (one,) = report.families
    assert (one.family, one.figures.n, one.n_with_text, one.n_alone, report.unused) == (FAMILY, 12, 11, 1, ["unasked"])
    votes, payments = one.common
    assert (votes.figures.n, payments.figures.n) == (6, 4)
    assert votes.share == pytest.approx(6 / 11)
    assert (payments.figures.mean_latency_ms, payments.figures.n_failed) == (900.0, 3)
    assert [slow.latency_ms for slow in one.slow] == [900.0] * 4 + [100.0]
    assert [(kind.error, kind.n) for kind in one.failures] == [("declined", 3)]
    assert {(insight.kind, insight.text) for insight in one.insights} == set(DIALOG["insights"].items())
    commands = [idea.command for idea in report.ideas]
    assert commands == [
        f"detent dialogs offer {FAMILY} {votes.interaction}",
        f"detent quality analytics --family {FAMILY} --range 7d",
        f"detent study run {FAMILY} --aim latency --dry-run",
        f"detent dialogs offer {FAMILY} {payments.interaction}",
        f"detent variant create {FAMILY} --help",
        "detent family show unasked",
    ]


def test_an_idea_names_the_id_that_an_application_made_as_one_word(database: Database) -> None:
    rows = [replace(query(n, f"How do I vote on proposal {n}?"), id=f"{n}; rm -r ~:001") for n in range(4)]
    keep_events(database, rows)
    report = asked(database)
    (offer,) = (idea.command for idea in report.ideas if "offer" in idea.command)
    assert shlex.split(offer)[4:] == [report.families[0].common[0].interaction]


def test_the_setting_that_an_idea_names_is_one_that_a_family_has(database: Database) -> None:
    keep_events(database, [query(n, "Where do I vote?") for n in range(12)])
    told = "\n".join(idea.what for idea in asked(database).ideas)
    setting = re.search(r"cache: \{.+\}(?= in its file)", told)
    assert setting is not None, told
    cache = family(**safe_yaml().load(setting[0])).cache
    assert (cache.enabled, cache.max_age_s) == (True, 600.0)


def test_a_query_that_was_offered_is_not_proposed_again_and_nothing_is_released(database: Database) -> None:
    fill(database)
    votes = asked(database).families[0].common[0].interaction
    request = ScenarioOffersRequest(family=FAMILY, interactions=[votes, votes])
    report = offer_scenarios(context_in(database), request)
    assert (report.changed, len(report.reviews)) == (True, 1)
    again = offer_scenarios(context_in(database), request)
    assert (again.changed, again.reviews) == (False, [])
    assert "about 1 other a person was asked before" in again.what
    found = asked(database)
    assert found.families[0].common[0].is_offered
    assert f"detent dialogs offer {FAMILY} {votes}" not in [idea.command for idea in found.ideas]
    with database.read() as tx:
        (review,) = database.reviews.page(tx, FAMILY, "open")
        assert review.payload["why"].startswith("ann asks for an example of it. Say what should have been answered")
        assert database.examples.counts(tx, FAMILY) == {"train": 0, "dev": 0, "holdout": 0}


def test_an_offer_of_what_nobody_could_answer_is_refused_whole(database: Database) -> None:
    fill(database)
    context = context_in(database)
    with pytest.raises(Conflict, match="input question is not kept"):
        offer_scenarios(context, ScenarioOffersRequest(family=FAMILY, interactions=["in_00", "in_20"]))
    with pytest.raises(NotFound, match="no interaction 'nope'"):
        offer_scenarios(context, ScenarioOffersRequest(family=FAMILY, interactions=["nope"]))
    with database.read() as tx:
        assert database.reviews.page(tx, FAMILY, "open") == []


def test_what_the_sealed_holdout_asks_is_counted_without_its_text_and_offered_to_nobody(database: Database) -> None:
    fill(database)
    votes = asked(database).families[0].common[0]
    sealed = make_example(
        family=FAMILY,
        id="sealed",
        group=next(group for group in "abcdefgh" if split_of(group) == "holdout"),
        input={"question": votes.example},
        expected={"answer": "x"},
        origin="import",
        created_at=NOW,
    )
    database.write(lambda tx: database.examples.add(tx, [sealed]))
    (one,) = asked(database).families
    assert (one.figures.n, one.n_with_text) == (12, 10)
    assert votes.example not in str(one)
    with pytest.raises(Conflict, match="sealed holdout asks"):
        offer_scenarios(context_in(database), ScenarioOffersRequest(family=FAMILY, interactions=[votes.interaction]))


def test_only_the_newest_queries_are_read_and_it_is_said(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database)
    monkeypatch.setattr(reading, "MOST_READ", 5)
    (one,) = asked(database).families
    assert (one.figures.n, one.is_cut) == (5, True)


def test_texts_are_hidden_from_a_key_that_reads_figures(database: Database) -> None:
    fill(database)
    written = use_case_of(reading.read_dialogs).written(asked(database), figures_only=True)
    assert b"vote" not in written
    assert b"payment" not in written
    assert json.loads(written)["families"][0]["common"][0]["figures"]["n"] == 6


def test_a_folder_is_imported_analyzed_and_offered_by_commands(tmp_path: Path) -> None:
    home = {"DETENT_HOME": str(make_home(tmp_path / "home").home), "NO_COLOR": "1", "COLUMNS": "200"}
    folder = tmp_path / "dialogs"
    folder.mkdir()
    for n in range(4):
        prompt = {"text": f"How do I vote on proposal {n}?", "response_time_ms": 100 + n}
        dialog = {**DIALOG, "dialog_id": f"d{n}", "timestamp": NOW.isoformat(), "prompts": [prompt]}
        (folder / f"{n}.json").write_text(json.dumps(dialog), encoding="utf-8")
    ran = detent("import", str(folder), "--family", "triage", env=home)
    assert (ran.code, "4 events taken" in ran.err) == (0, True), ran.err
    assert "4 there already" in detent("import", str(folder), "--family", "triage", env=home).err
    seen = detent("dialogs", "analyze", "--family", "triage", env=home)
    assert seen.code == 0, seen.err
    assert "100 %" in seen.out
    report = detent("dialogs", "analyze", "--json", env=home).json
    middle = report["families"][0]["common"][0]["interaction"]
    assert f"detent dialogs offer triage {middle}" in seen.out
    offered = detent("dialogs", "offer", "triage", middle, env=home)
    assert (offered.code, "1 query of triage wait" in offered.err) == (0, True), offered.err
