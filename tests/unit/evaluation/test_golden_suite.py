"""Golden scenarios before a rollout: asked of candidate and champion, timed afresh, apart from every search."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from optimizer.adapters.store.tables.studies import LM_CALLS
from optimizer.core.base.errors import Conflict, GateNotMet, InvalidInput
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.suite import gates_of_suites
from optimizer.core.evaluation.timing import N_TIMED, n_paired, rounds
from optimizer.core.family.family import Family, GoldenRow
from optimizer.core.family.variant import FewShot, Variant, VariantRecord
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.search.study import Definition, Study, Trigger
from optimizer.jobs.dataset.build_dataset import build_dataset, load_examples
from optimizer.jobs.studies.plan_evaluation import EvaluationScope, estimate_evaluation
from tests.rows import evaluations
from tests.worlds.study_world import START, TOPICS, Killed, TopicModel, World, killed_at, topic_examples, topic_family

# "Notes on biology, number 4." and the like are answered right by a model that is shown two examples
TEXTS = {topic: f"Notes on {topic}, number 4." for topic in TOPICS}
FIRST = 3 * rounds(3)[0]  # requests of each, after one that is not counted, before the first look at their times
MOST = n_paired(3)


def golden_family(*rows: GoldenRow, **changes: Any) -> Family:
    given = rows or tuple(
        GoldenRow(id=f"g{i}", scenario=topic, input={"document": text}, expected={"topic": topic})
        for i, (topic, text) in enumerate(TEXTS.items())
    )
    return topic_family(**changes).with_golden(given)


def shown(n: int) -> Variant:
    """The family's prompt with so many examples: with two the model knows the topics."""
    shots = tuple(FewShot(id=e.id, input=e.input, output=e.expected["topic"]) for e in topic_examples(n, "train"))
    return replace(topic_family().variant(), examples=shots)


class Knowing(TopicModel):
    """Knows each topic, less ``forgets`` where as many examples are shown, in ``ms`` of time by examples shown."""

    def __init__(self, *, forgets: dict[int, str] | None = None, ms: dict[int, float] | None = None) -> None:
        super().__init__(needs=0)
        self.forgets, self.ms = forgets or {}, ms or {}

    def _text(self, request: ModelRequest) -> str:
        text = str(request.messages[-1]["content"])
        topic = next(t for t in TOPICS if t in text)
        return "I do not know." if self.forgets.get(_n_shown(request)) == topic else topic

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        answer = await super().complete(request)
        return replace(answer, latency_ms=self.ms.get(_n_shown(request), 10.0))


def _n_shown(request: ModelRequest) -> int:
    return sum(m["role"] == "assistant" for m in request.messages)


def world(folder: Path, model: TopicModel | None = None, family: Family | None = None) -> World:
    return World(folder, family=family or golden_family(), model=model or Knowing()).fill()


def evaluate(it: World, variant: Variant | None = None, **options: Any) -> dict[str, Any]:
    return evaluations.evaluate(it, variant or shown(2), **{"suite": "golden", **options})


def verdicts(batch: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in batch["checks"]}


def batches_of(it: World) -> list[Any]:
    with it.store.read() as tx:
        return it.store.performance.batches(tx, it.family.name)


def gate(it: World, variant: Variant) -> dict[str, Any]:
    beside, version = it.family.variant().id, it.scorer.version
    (found,) = gates_of_suites(it.family, batches_of(it), variant.id, champion=beside, scorer_version=version)
    return dict(found)


def test_a_candidate_that_keeps_every_scenario_passes(tmp_path: Path) -> None:
    it = world(tmp_path)
    assert (gate(it, shown(2))["name"], gate(it, shown(2))["verdict"]) == ("golden", "inconclusive")
    assert "3 golden scenarios" in gate(it, shown(2))["reason"]
    assert f"detent family evaluate topics --variant {shown(2).id} --suite golden" in gate(it, shown(2))["reason"]
    estimate = estimate_evaluation(it.family, shown(2), EvaluationScope(suite="golden"), store=it.store, models=it)
    assert (estimate.n, estimate.n_timed, estimate.calls.high) == (3, MOST, 6 + 2 * MOST)
    batch = evaluate(it)
    assert batch["n_calls_in_all"] == 6 + 2 * (FIRST + 1), "the first round told"
    evidence = latency_of(batch)["evidence"]
    assert evidence["rows"] == [(FIRST / 3, 0.0, 0.0)] * 3, "which later evaluations add to their own"
    assert "golden/" not in str(evidence), "no id of what may be forgotten"
    assert set(verdicts(batch).values()) == {"met"}
    assert list(verdicts(batch)) == [
        "regression",
        *(f"regression of {topic}" for topic in sorted(TOPICS)),
        "regression of latency",
    ]
    champion = it.family.variant().id
    assert (batch["split"], batch["n"], batch["mean_score"], batch["beside"]) == ("golden", 3, 1.0, champion)
    assert gate(it, shown(2))["verdict"] == "pass"
    assert evaluate(it, it.family.variant())["checks"] == [], "the champion is no regression of itself"


def test_rows_of_one_scenario_are_compared_together(tmp_path: Path) -> None:
    rows = [
        GoldenRow(id=f"{topic}{i}", scenario="all", input={"document": f"{topic} {i}"}, expected={"topic": topic})
        for i in range(7)
        for topic in TOPICS
        if topic != "music" or i == 0
    ]
    it = world(tmp_path, Knowing(forgets={2: "music"}), golden_family(*rows))
    batch = evaluate(it)
    assert verdicts(batch)["regression of all"] == "met", "one row of fifteen is less than a tenth"
    assert batch["scenarios"] == [{"scenario": "all", "n": 15, "score": pytest.approx(14 / 15), "champion": 1.0}]


def test_where_no_champion_serves_nothing_is_compared_and_that_is_no_pass(tmp_path: Path) -> None:
    it = World(tmp_path, family=golden_family(), model=Knowing())
    it.store.write(lambda tx: it.store.examples.add(tx, topic_examples(2, "dev")))
    batch = evaluate(it)
    assert set(verdicts(batch).values()) == {"unmeasured"}
    assert all("no champion serves yet" in check["said"] for check in batch["checks"])
    assert batch["n_calls_in_all"] == 3, "nothing is timed either"


@pytest.mark.parametrize(("ms", "verdict"), [(12.0, "met"), (12.1, "missed")])
def test_a_candidate_that_is_a_fifth_slower_is_blocked(tmp_path: Path, ms: float, verdict: str) -> None:
    it = world(tmp_path, Knowing(ms={0: 10.0, 2: ms}))
    assert verdicts(evaluate(it))["regression of latency"] == verdict


class Unsteady(Knowing):
    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Every other answer of the candidate takes a third longer."""
        self.ms[2] = 24.0 - self.ms[2]
        return await super().complete(request)


@pytest.mark.long
def test_a_candidate_whose_times_cannot_tell_is_timed_longer_and_does_not_pass(tmp_path: Path) -> None:

    model = Unsteady(ms={0: 10.0, 2: 10.5})
    it = world(tmp_path, model)
    batch = evaluate(it)
    assert batch["n_calls_in_all"] == 6 + 2 * MOST
    latency = latency_of(batch)
    assert latency["verdict"] == "undecided"
    assert "regression of latency cannot be told yet: latency +" in latency["said"]
    assert "over 3 examples, 120 requests of each; slowest is scenario " in latency["said"]
    assert gate(it, shown(2))["verdict"] == "inconclusive"
    assert gate(it, shown(2))["reason"].endswith(
        f"another evaluation adds its times: detent family evaluate topics --variant {shown(2).id} --suite golden"
    )
    cut = evaluate(it, budget=Budget(calls=2 * (FIRST + 1) + 7))
    assert cut["timing"]["n"] == FIRST, "a whole round counts, the one that was cut does not"
    assert f"{120 + FIRST} requests of each, those of 1 earlier evaluation among them" in latency_of(cut)["said"]


def latency_of(batch: dict[str, Any]) -> dict[str, Any]:
    (found,) = [one for one in batch["checks"] if one["name"] == "regression of latency"]
    return dict(found)


def test_a_miss_that_was_measured_is_not_evaluated_away(tmp_path: Path) -> None:
    model = Knowing(ms={0: 10.0, 2: 13.0})
    it = world(tmp_path, model)
    assert latency_of(evaluate(it))["verdict"] == "missed"
    model.ms[2] = 11.9  # which alone is met
    again = latency_of(evaluate(it))
    assert (again["verdict"], again["found"] > 0.2) == ("missed", True), "the slow times count, too"
    assert f"{2 * FIRST} requests of each, those of 1 earlier evaluation among them" in again["said"]
    assert gate(it, shown(2))["verdict"] == "fail"
    it.model.revision = "other"  # whose times are not added
    assert latency_of(evaluate(it))["verdict"] == "met"


def test_the_first_call_of_each_which_may_be_cold_is_not_counted(tmp_path: Path) -> None:
    class Cold(Knowing):
        async def complete(self, request: ModelRequest) -> ModelAnswer:
            answer = await super().complete(request)
            is_first = ":timing:" in request.sample and len(self.requests) <= 8
            return replace(answer, latency_ms=5000.0) if is_first else answer

    it = world(tmp_path, Cold())
    batch = evaluate(it)
    assert batch["timing"] == {"n": FIRST, "p95_ms": 10.0, "slowdown": 0.0, "why": ""}


def test_where_the_journal_has_the_answers_fresh_calls_are_timed_and_no_study_finds_them(tmp_path: Path) -> None:
    it = world(tmp_path)
    first = evaluate(it)
    n_before = len(it.model.requests)
    again = evaluate(it)
    assert (again["n_calls"], again["n_calls_in_all"]) == (0, 2 * (FIRST + 1))
    assert verdicts(again) == verdicts(first)
    assert again["timing"] == {"n": FIRST, "p95_ms": 10.0, "slowdown": 0.0, "why": ""}
    assert again["p95_latency_ms"] == 10.0
    timed = it.model.requests[n_before:]
    assert len({request.key for request in timed}) == 2 * (FIRST + 1)
    order = [_n_shown(request) for request in timed]
    assert order[:2] == [2, 0], "one of each that is not counted"
    turns = [len([*of]) for _, of in groupby(order[2:])]
    assert (sum(turns), len(turns), max(turns)) == (2 * FIRST, 7, 8), "in turns, now the one first, now the other"
    with it.store.read() as tx:
        entries = tx.execute(select(LM_CALLS)).all()
    assert {entry.purpose for entry in entries if "timing" in str(entry.request)} == {"timing"}


def test_a_timing_keeps_to_the_budget_and_what_it_cut_is_not_measured(tmp_path: Path) -> None:
    it = world(tmp_path)
    batch = evaluate(it, budget=Budget(calls=6 + 7))
    assert len(it.model.requests) == 6 + 7
    found = verdicts(batch)
    assert (found.pop("regression of latency"), set(found.values())) == ("unmeasured", {"met"})
    assert "the budget ended while fresh calls were timed" in batch["checks"][-1]["said"]
    assert gate(it, shown(2))["verdict"] == "inconclusive"


def test_a_latency_target_is_measured_where_the_journal_has_the_answers(tmp_path: Path) -> None:
    family = topic_family(targets={"n": 4, "p95_latency_ms": 20.0})
    it = world(tmp_path, family=family)
    first, again = evaluate(it, suite=None), evaluate(it, suite=None)
    assert (verdicts(first), first["n_calls_in_all"]) == ({"p95_latency_ms": "met"}, 4)
    assert (verdicts(again), again["n_calls_in_all"]) == ({"p95_latency_ms": "met"}, N_TIMED)


def test_a_scenario_of_the_sealed_holdout_is_refused_and_named(tmp_path: Path) -> None:
    it = world(tmp_path)
    sealed = replace(topic_examples(1, "holdout")[0], id="h", input={"document": TEXTS["music"].upper()})
    it.store.write(lambda tx: it.store.examples.add(tx, [sealed]))
    with pytest.raises(Conflict, match=r"1 golden row of topics \(g2\)"):
        evaluate(it)
    assert it.model.requests == []


def test_the_holdout_is_recognised_by_what_a_model_is_sent_of_it(tmp_path: Path) -> None:
    cut = {"document": {"type": "text", "max_chars": len(TEXTS["music"])}}
    it = world(tmp_path, family=golden_family(inputs=cut))
    input = {"document": TEXTS["music"] + " And more.", "page": "an input that the file named once"}
    sealed = replace(topic_examples(1, "holdout")[0], id="h", input=input)
    it.store.write(lambda tx: it.store.examples.add(tx, [sealed]))
    with pytest.raises(Conflict, match="sealed holdout"):
        evaluate(it)


@pytest.mark.parametrize("quoting", ["candidate", "champion"])
def test_a_prompt_that_shows_a_scenario_is_not_asked_it(tmp_path: Path, quoting: str) -> None:
    shot = FewShot(id="e", input={"document": TEXTS["music"]}, output="music")
    quotes = replace(topic_family().variant(), examples=(shot,))
    it = World(tmp_path, family=golden_family(), model=Knowing())
    it.crown(quotes if quoting == "champion" else it.family.variant())
    with pytest.raises(Conflict, match=rf"g2\) cannot be asked: the same is shown in the prompt of {quotes.id}"):
        evaluate(it, quotes if quoting == "candidate" else shown(2))
    assert it.model.requests == []


def test_what_a_scenario_asks_is_in_no_dataset(tmp_path: Path) -> None:
    it = world(tmp_path)
    rows = [
        replace(topic_examples(1, split)[0], id=f"twin-{split}", input={"document": TEXTS["music"]})
        for split in ("train", "dev")
    ]
    it.store.write(lambda tx: it.store.examples.add(tx, rows))
    definition = Definition(n_train=99, n_dev=99)

    def ids(family: Family) -> set[str]:
        dataset = build_dataset(family, definition, it.store)
        train, dev = load_examples(family, dataset, it.store)
        return {e.id for e in (*train, *dev)}

    assert {"twin-train", "twin-dev"} <= ids(topic_family())
    assert not {"twin-train", "twin-dev"} & ids(it.family)


def test_what_a_mask_changed_on_its_way_into_the_store_is_recognised_as_the_same(tmp_path: Path) -> None:
    row = GoldenRow(id="mail", scenario="mail", input={"document": "Ask ann@example.com."}, expected={"topic": "music"})
    it = world(tmp_path, family=golden_family(row, privacy={"mask": ["email"]}))
    kept = {"document": "Ask [email]."}
    train, shown_in = (replace(topic_examples(1, "train")[0], id=id, group=id, input=kept) for id in ("t", "u"))
    it.store.write(lambda tx: it.store.examples.add(tx, [train]))
    assert "t" not in build_dataset(it.family, Definition(n_train=99), it.store)["train"]
    shot = FewShot(id=shown_in.id, input=kept, output="music")
    with pytest.raises(Conflict, match=r"\(mail\) cannot be asked: the same is shown in the prompt"):
        evaluate(it, replace(it.family.variant(), examples=(shot,)))
    sealed = replace(topic_examples(1, "holdout")[0], id="h", group="h", input=kept)
    it.store.write(lambda tx: it.store.examples.add(tx, [sealed]))
    with pytest.raises(Conflict, match=r"\(mail\) cannot be asked: the same is asked by an example of the sealed"):
        evaluate(it)


def test_a_suite_says_itself_what_it_asks(tmp_path: Path) -> None:
    it = world(tmp_path)
    with pytest.raises(InvalidInput, match="leave n and split out"):
        evaluate(it, n=3)
    with pytest.raises(InvalidInput, match="no suite 'goldn'; did you mean 'golden'"):
        evaluate(it, suite="goldn")


def test_no_look_at_the_holdout_is_spent_on_a_candidate_that_its_scenarios_refuse(tmp_path: Path) -> None:
    it = world(tmp_path, Knowing(forgets={2: "music"}))
    record = VariantRecord(family="topics", variant=shown(2), source="api", created_at=START, created_by="ann")
    it.store.write(lambda tx: it.store.variants.add(tx, record))
    assert it.confirm(shown(2).id, dry_run=True) is not None
    evaluate(it)
    with pytest.raises(GateNotMet, match="scenario music") as refused:
        it.confirm(shown(2).id, dry_run=True)
    assert [one["name"] for one in refused.value.members["gates"]] == ["golden"]
    assert f"detent rollout start topics {shown(2).id} --confirm topics" in refused.value.detail


SCHEDULED = Trigger(kind="schedule", reason="it is three")


def test_a_study_that_started_by_itself_asks_them_and_what_it_cannot_pay_for_is_left_to_a_person(
    tmp_path: Path,
) -> None:
    it = World(tmp_path, family=golden_family()).fill()
    study = it.run(it.create(strategy="bootstrap", trigger=SCHEDULED))
    assert study.outcome == "nominated"
    with it.store.read() as tx:
        assert it.store.journal.spend(tx, study.id).n_calls == study.spend.n_calls == len(it.model.requests)
    assert study.spend.n_calls <= 500
    (batch,) = batches_of(it)
    assert (batch.created_by, batch.split) == (f"study:{study.id}", "golden")
    assert set(suite_verdicts(it)[0].values()) == {"met"}

    (tmp_path / "poor").mkdir()
    poor = World(tmp_path / "poor", family=golden_family()).fill()
    budget = Budget(calls=study.spend.n_calls - 1)
    cut = poor.run(poor.create(strategy="bootstrap", trigger=SCHEDULED, budget=budget))
    assert (cut.outcome, cut.spend.n_calls) == ("nominated", study.spend.n_calls - 1)
    (of_golden,) = suite_verdicts(poor)
    assert [name for name, verdict in of_golden.items() if verdict == "unmeasured"] == ["regression of latency"]


def by_itself(it: World) -> Study:
    targets = {"n": 4, "regression": {"overall": 0.5, "latency": 2.0}}
    it.family = golden_family(targets=targets)
    it.families.families[it.family.name] = it.family
    return it.create(strategy="bootstrap", trigger=SCHEDULED)


def suite_verdicts(it: World) -> list[dict[str, str]]:
    return [{check.name: check.verdict for check in batch.checks or ()} for batch in batches_of(it)]


def n_suite_calls(it: World, study: Study) -> int:
    return sum(call.purpose in ("evaluation", "timing") for call in it.calls(study))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Study]:
    """A study that starts by itself and asks suites; only read."""
    whole = World(tmp_path_factory.mktemp("whole")).fill()
    return whole, whole.run(by_itself(whole))


def test_a_study_that_was_killed_while_it_asked_suites_pays_for_no_call_twice(undisturbed, tmp_path):
    whole, study_of_whole = undisturbed
    it = World(tmp_path).fill()
    in_targets = 4 * rounds(4)[0]
    assert (
        n_suite_calls(whole, study_of_whole) == 2 * (FIRST + 1) + 2 * (in_targets + 1) + 2 * 3
    )  # the search asked dev
    it.model.before = killed_at(len(whole.model.requests) - 84)
    study = by_itself(it)
    with pytest.raises(Killed):
        it.run(study)
    ended = it.run(study)
    assert (ended.outcome, ended.winner) == ("nominated", study_of_whole.winner)
    assert len(it.model.requests) == len(whole.model.requests) + 1, "the call in flight alone is sent again"
    assert suite_verdicts(it) == suite_verdicts(whole)
    assert len(suite_verdicts(it)) == 2


def test_a_cancel_while_suites_are_asked_keeps_the_look_that_was_paid_for(tmp_path: Path) -> None:
    it = World(tmp_path).fill()
    study = by_itself(it)
    it.model.before = lambda n: cancel(it, study) if n_suite_calls(it, study) > 2 else None
    ended = it.run(study)
    assert (ended.status, ended.outcome) == ("finished", "nominated")
    assert ended.confirmation["n"] == 20
    assert n_suite_calls(it, study) < 10


def cancel(it: World, study: Study) -> None:
    it.clock.pass_seconds(1)
    it.store.write(lambda tx: it.store.studies.update(tx, study.id, stop_requested=True))


class Losing(TopicModel):
    """Gets better with examples, but at the golden scenarios, which it knows without them alone."""

    def _text(self, request: ModelRequest) -> str:
        text = str(request.messages[-1]["content"])
        if not any(golden in text for golden in TEXTS.values()):
            return super()._text(request)
        return "I forgot." if _n_shown(request) else next(t for t in TOPICS if t in text)


def test_a_study_of_a_person_asks_no_scenario_and_its_winner_is_nominated_no_more_once_one_is_lost(tmp_path):
    it = World(tmp_path, family=golden_family(), model=Losing()).fill()
    study = it.run(it.create(strategy="bootstrap"))
    assert batches_of(it) == [], "a person asks when it suits"
    assert it.nominate(study.id, study.winner).outcome == "nominated"
    with it.store.read() as tx:
        winner = it.store.variants.get(tx, "topics", study.winner)
    assert "missed" in verdicts(evaluate(it, winner.variant)).values()
    for act in (lambda: it.nominate(study.id, study.winner), lambda: it.confirm(study.winner)):
        with pytest.raises(GateNotMet, match="on the golden scenarios of topics"):
            act()
