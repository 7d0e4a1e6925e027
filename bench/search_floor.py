"""Our `bootstrap` against DSPy's own random search: same rows, seeds, candidates and model;
who finds the better prompt?

    python bench/search_floor.py [--rows full|small] [--seeds 1 2 3] [--cache FOLDER]

Task: the one topic, of eight, of an arXiv abstract. Ours is a study as users run it. The other arm is a plain DSPy
program: its own template adapter and engine, BootstrapFewShotWithRandomSearch over the whole range of candidates,
DSPy's own choice. Both are scored on the same held-out rows. Answers are journaled in the cache folder, so that a
stopped run goes on; requests that are the same in both arms are asked once, and each arm's calls are counted as if it
had been alone.

Exits 1 when the mean of ours over the seeds is more than .05 below the other's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common import RESULTS, SHARED, Cell, write_result
from recorded.tasks import TOPICS

from optimizer.core.base.values import Budget
from optimizer.core.dataset.examples import Example
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.core.family.family import Family
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.search.study import Study
from optimizer.core.serving.champion import first
from optimizer.host.config import Settings, load_settings
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.studies.create_study import create_study
from optimizer.jobs.studies.run_study import run_study
from optimizer.ports import Clock, Store, VariantRecord
from optimizer.runtime import wiring

BAR = 0.05
MAX_CHARS = 600
MAX_EXAMPLES = 6
MAX_TOKENS = 8
SYSTEM = "Name the topic of the document."
USER = "Topics: {{topics_allowed}}\nDocument: {{document}}\nTopic:"
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    train: int
    dev: int
    holdout: int
    candidates: int


ROWS = {
    "full": Sizes(train=80, dev=40, holdout=100, candidates=8),
    "small": Sizes(train=8, dev=6, holdout=8, candidates=1),
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Held-out score per row, and what the search cost."""

    scores: list[float]
    dev_score: float
    n_calls: int
    seconds: float

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What both arms share."""

    sizes: Sizes
    settings: Settings
    store: Store
    clock: Clock
    models: Any


def main() -> int:
    options = _options()
    data = SHARED / "data" / "document_analysis"
    if not data.is_dir():
        print(f"Skipped: the rows are not at {data}. Set DETENT_SHARED to the folder that holds data/.")
        return 0
    options.cache.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    settings = load_settings(home=options.cache)
    wiring.migrate_store(settings)
    store, models = wiring.open_store(settings), wiring.open_models(settings)
    bench = Bench(
        sizes=ROWS[options.rows], settings=settings, store=store, clock=wiring.open_clock(settings), models=models
    )
    try:
        arms = [(seed, *_both(bench, data, seed)) for seed in options.seeds]
    finally:
        models.close()
        store.close()
    return _report(arms, RESULTS if options.rows == "full" else options.cache)


def _both(bench: Bench, data: Path, seed: int) -> tuple[Arm, Arm]:
    sizes = bench.sizes
    train_rows, dev_rows = _read(data / "train.jsonl"), _read(data / "dev.jsonl")
    rng = random.Random(seed)
    rng.shuffle(train_rows)
    rng.shuffle(dev_rows)
    rows = {
        "train": train_rows[: sizes.train],
        "dev": train_rows[sizes.train : sizes.train + sizes.dev],
        "holdout": dev_rows[: sizes.holdout],
    }
    family = _family(seed, sizes, rows)
    study, ours = _ours(bench, family, rows, seed)
    other = _dspy(bench, family, study, rows, seed)
    print(
        f"seed {seed}: ours {ours.mean:.3f} held out ({ours.dev_score:.3f} dev, {ours.n_calls} calls), "
        f"DSPy {other.mean:.3f} ({other.dev_score:.3f} dev, {other.n_calls} calls)",
        flush=True,
    )
    return ours, other


# --- ours: a study --------------------------------------------------------------------------------------------------


def _ours(bench: Bench, family: Family, rows: Mapping[str, Sequence[Row]], seed: int) -> tuple[Study, Arm]:
    started = time.monotonic()
    study = _study(bench, family, rows, seed)
    last = [0.0]

    def progress(event: Any) -> None:
        if event.kind != "call" or time.monotonic() - last[0] > 20:
            last[0] = time.monotonic()
            print(f"  seed {seed}, ours: {event.text} ({event.n_calls} calls)", file=sys.stderr, flush=True)

    study = run_study(
        study.id,
        store=bench.store,
        clock=bench.clock,
        families=_Families({family.name: family}),
        models=bench.models,
        scorer_for=wiring.scorers(bench.settings),
        strategies=wiring.strategy_for,
        classify=wiring.classify,
        progress=progress,
    )
    if study.status != "finished":
        raise SystemExit(f"Study {study.id} ended as {study.status}: {study.error}")
    with bench.store.read() as tx:
        trials = bench.store.studies.trials(tx, study.id)
        searched = bench.store.studies.results(tx, study.id, "search")
        confirmed = bench.store.studies.results(tx, study.id, "confirmation")
        calls = bench.store.journal.calls(tx, study.id)
    best = study.winner or study.champion
    n_calls = len({c.key for c in calls if c.purpose == "search"})
    if best not in confirmed:  # nothing beat the champion, so the study never looked at the held-out rows
        return study, Arm(
            scores=_scores(bench, family, rows["holdout"]),
            dev_score=trials[0].score or 0.0,
            n_calls=n_calls,
            seconds=0.0,
        )
    order = {id: i for i, id in enumerate(row["id"] for row in rows["holdout"])}
    results = sorted(confirmed[best], key=lambda r: order[r.example])
    dev = [r.score or 0.0 for r in searched[best]]
    arm = Arm(
        scores=[r.score or 0.0 for r in results],
        dev_score=sum(dev) / len(dev),
        n_calls=n_calls,
        seconds=time.monotonic() - started,
    )
    return study, arm


def _study(bench: Bench, family: Family, rows: Mapping[str, Sequence[Row]], seed: int) -> Study:
    """The study of this seed: one that an earlier run began, or a new one with its examples."""
    with bench.store.read() as tx:
        found, _ = bench.store.studies.page(tx, family=family.name, limit=1)
    if found:
        return found[0]
    now = bench.clock.now()
    examples = [_example(family, row, split, now) for split, some in rows.items() for row in some]
    champion = family.variant()

    def fill(tx: Any) -> None:
        bench.store.examples.add(tx, examples)
        if bench.store.champions.current(tx, family.name) is None:
            record = VariantRecord(
                family=family.name, variant=champion, source="file", created_at=now, created_by="bench"
            )
            bench.store.variants.add(tx, record)
            bench.store.champions.put(
                tx, first(family=family.name, variant=champion.id, at=now, by="bench", why="the bare prompt")
            )

    bench.store.write(fill)
    sizes = bench.sizes
    made = create_study(
        family,
        strategy="bootstrap",
        seed=seed,
        budget=Budget(calls=100_000),
        definition={
            "n_train": sizes.train,
            "n_dev": sizes.dev,
            "n_holdout": sizes.holdout,
            "n_candidates": sizes.candidates,
            "max_examples": MAX_EXAMPLES,
        },
        actor="bench",
        store=bench.store,
        clock=bench.clock,
        models=bench.models,
    )
    assert isinstance(made, Study)
    return made


def _scores(bench: Bench, family: Family, rows: Sequence[Row]) -> list[float]:
    """The bare prompt on the held-out rows."""
    counted = _Counted(bench, family)
    return [_score(_topic(row), counted.ask(_plain_messages(row, []))) for row in rows]


def _family(seed: int, sizes: Sizes, rows: Mapping[str, Sequence[Row]]) -> Family:
    labels = [label.strip() for label in rows["train"][0]["input"]["topics_allowed"].split(",")]
    content = [{"role": "system", "content": SYSTEM}, {"role": "examples"}, {"role": "user", "content": USER}]
    return parse_family(
        {
            "name": f"search_floor_{sizes.train}_{seed}",
            "inputs": {"document": {"type": "text", "max_chars": MAX_CHARS}, "topics_allowed": {"type": "text"}},
            "output": {"field": "topic", "parser": "label", "labels": labels},
            "prompt": {"current": "1", "versions": {"1": {"content": content}}},
            "model": {"default": "embedded", "temperature": 0.0, "max_tokens": MAX_TOKENS, "stop": ["\n"]},
            "scorer": {"label_match": 1.0},
            "space": {"examples": {"max": MAX_EXAMPLES}},
            "rollout": {"gates": {"n": sizes.holdout}},
        }
    )


def _example(family: Family, row: Row, split: Any, now: datetime) -> Example:
    expected = {"topic": _topic(row)}
    id = row["id"]
    return Example(
        id=id,
        family=family.name,
        input=row["input"],
        expected=expected,
        group=id,
        split=split,
        origin="curated",
        released=True,
        created_at=now,
    )


@dataclass(frozen=True)
class _Families:
    families: Mapping[str, Family]


# --- theirs: a plain DSPy program -----------------------------------------------------------------------------------


def _dspy(bench: Bench, family: Family, study: Study, rows: Mapping[str, Sequence[Row]], seed: int) -> Arm:
    """DSPy as its users write it.

    It sees the rows in the order in which our search sees them, so that a seed means the same.
    """
    import dspy
    from dspy.teleprompt import BootstrapFewShotWithRandomSearch

    from optimizer.adapters.search.dspy_programs import silence_dspy

    silence_dspy()
    started = time.monotonic()
    by_id = {row["id"]: row for some in rows.values() for row in some}
    assert study.dataset is not None
    train = [_dspy_example(by_id[id]) for id in study.dataset["train"]]
    random.Random(seed).shuffle(train)
    dev = [_dspy_example(by_id[id]) for id in study.dataset["dev"]]
    counted = _Counted(bench, family, label=f"seed {seed}, DSPy")
    lm = dspy.LM("bench/embedded", engine=_Engine(counted), cache=False, num_retries=0)

    def metric(example: Any, prediction: Any, trace: Any = None) -> float:
        return _score(example.topic, prediction.topic)

    search = BootstrapFewShotWithRandomSearch(
        metric=metric,
        max_bootstrapped_demos=MAX_EXAMPLES,
        max_labeled_demos=MAX_EXAMPLES,
        num_candidate_programs=bench.sizes.candidates,
        num_threads=1,
        max_errors=10**9,
    )
    with dspy.context(lm=lm, adapter=_plain_adapter()()):
        best = search.compile(dspy.Predict("document, topics_allowed -> topic"), trainset=train, valset=dev)
        n_calls = len(counted.keys)
        scores = []
        for row in rows["holdout"]:
            example = _dspy_example(row)
            try:
                scores.append(metric(example, best(**example.inputs())))
            except dspy.utils.exceptions.AdapterParseError:
                scores.append(0.0)
    return Arm(
        scores=scores,
        dev_score=best.candidate_programs[0]["score"] / 100,
        n_calls=n_calls,
        seconds=time.monotonic() - started,
    )


def _plain_adapter() -> Any:
    import dspy

    class PlainAdapter(dspy.Adapter):  # type: ignore[misc]
        """A prompt template and the text that comes back, nothing else."""

        def format(self, signature: Any, demos: list[Any], inputs: dict[str, Any]) -> list[dict[str, Any]]:
            return _plain_messages({"input": inputs}, demos)

        def parse(self, signature: Any, completion: str) -> dict[str, Any]:
            return {"topic": completion.strip()}

    return PlainAdapter


class _Engine:
    """DSPy's engine protocol over the same model with the same parameters."""

    def __init__(self, counted: _Counted) -> None:
        self._counted = counted

    def complete(self, request: Any) -> Any:
        from dspy.lm15 import Message, Response, Usage

        turns = [{"role": m.role, "content": "".join(part.text for part in m.parts)} for m in request.messages]
        text = self._counted.ask([{"role": "system", "content": request.system}, *turns])
        usage = Usage(input_tokens=None, output_tokens=None)
        return Response(
            id=None, model=request.model, message=Message.assistant(text), finish_reason="stop", usage=usage
        )


class _Counted:
    """The journaled model outside a study; remembers which requests it was asked."""

    def __init__(self, bench: Bench, family: Family, label: str = "") -> None:
        self._model = bench.models.get("embedded")
        self._calls = JournaledModel(
            self._model,
            store=bench.store,
            clock=bench.clock,
            study=None,
            family=family.name,
            budget=Budget(),
            purpose="evaluation",
        )
        self._label = label
        self._told = time.monotonic()
        self.keys: set[str] = set()

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> str:
        params = {"temperature": 0.0, "max_tokens": MAX_TOKENS, "stop": ["\n"]}
        request = ModelRequest(model="embedded", revision=self._model.revision, messages=messages, params=params)
        answer: ModelAnswer = wait_for(self._calls.complete(request))
        self.keys.add(request.key)
        if self._label and time.monotonic() - self._told > 20:
            self._told = time.monotonic()
            print(f"  {self._label}: {len(self.keys)} calls", file=sys.stderr, flush=True)
        return answer.text


def _plain_messages(row: Any, demos: Sequence[Any]) -> list[dict[str, Any]]:
    pairs = [({"role": "user", "content": _filled(d)}, {"role": "assistant", "content": d["topic"]}) for d in demos]
    return [
        {"role": "system", "content": SYSTEM},
        *[m for pair in pairs for m in pair],
        {"role": "user", "content": _filled(row["input"])},
    ]


def _filled(values: Any) -> str:
    return USER.replace("{{topics_allowed}}", values["topics_allowed"]).replace(
        "{{document}}", values["document"][:MAX_CHARS]
    )


def _dspy_example(row: Row) -> Any:
    import dspy

    values = {**row["input"], "topic": _topic(row)}
    return dspy.Example(**values).with_inputs("document", "topics_allowed")


# --- both -----------------------------------------------------------------------------------------------------------


def _score(expected: str, text: str) -> float:
    """The label in the first line, as the family's parser reads it, in the plainest form."""
    found = [label for label in TOPICS if label in text.casefold()]
    return float(found == [expected.casefold()])


def _topic(row: Row) -> str:
    return str(row["expected"]["topics"][0])


def _read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _report(arms: Sequence[tuple[int, Arm, Arm]], folder: Path) -> int:
    def cell(case: str, ours: list[float], other: list[float]) -> Cell:
        a, b = sum(ours) / len(ours), sum(other) / len(other)
        interval = bootstrap_interval([x - y for x, y in zip(ours, other, strict=True)], seed=1)
        ratio = a / b if b else None
        unit = "held-out accuracy (low, high: of ours - other)"
        return Cell(
            case=case,
            ours=a,
            other=b,
            other_name="DSPy",
            ratio=ratio,
            low=interval.lower,
            high=interval.upper,
            unit=unit,
            n=len(ours),
        )

    cells = [cell(f"seed {seed}", ours.scores, other.scores) for seed, ours, other in arms]
    mean = cell("mean of seeds", [s for _, a, _ in arms for s in a.scores], [s for _, _, b in arms for s in b.scores])
    calls = [
        Cell(
            case=f"calls, seed {seed}",
            ours=a.n_calls,
            other=b.n_calls,
            other_name="DSPy",
            ratio=a.n_calls / b.n_calls,
            low=None,
            high=None,
            unit="calls of the search",
            n=1,
        )
        for seed, a, b in arms
    ]
    path = write_result("search_floor", [*cells, mean, *calls], folder)
    assert mean.other is not None
    passed = mean.ours >= mean.other - BAR
    print(
        f"{'Passed' if passed else 'Failed'}: ours {mean.ours:.3f}, DSPy {mean.other:.3f}, at most {BAR} below allowed."
        f" {path} {datetime.now(UTC):%H:%M} UTC"
    )
    return 0 if passed else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", choices=sorted(ROWS), default="full")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    cache = Path(os.environ.get("XDG_CACHE_HOME", tempfile.gettempdir())) / "detent-bench-search-floor"
    parser.add_argument("--cache", type=Path, default=cache, help="where answers are journaled; outside the repository")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
