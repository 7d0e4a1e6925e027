"""What both variants of a rollout answered to the same public rows, as the journal has it: no model is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lifts.held_out import HeldOut
from lifts.homes import family_in, rows_of
from lifts.plan import PLAN
from optimizer.core.base.errors import NotFound
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import request_for
from optimizer.host.config import Settings, load_settings
from optimizer.ports import Store
from optimizer.runtime import wiring

EVER = datetime(2000, 1, 1, tzinfo=UTC)
HELD_OUT, OF_BASES = "held-out rows", "training rows by which the bases were compared"


@dataclass(frozen=True, kw_only=True)
class RecordedAnswer:
    """An answer of one variant to one row; ``score``: the family's own, in [0, 1]."""

    text: str
    score: float
    input_tokens: int | None
    output_tokens: int | None


@dataclass(frozen=True, kw_only=True)
class VersionPair:
    """Two variants with their answers to the same rows.

    Args:
        home: where the study ran; the rollout takes place there.
        version: of the family's file, that is the champion.
        what, of_rows: the candidate and the rows, in words.
        answers: variant > row > answer.
    """

    home: Path
    champion: Variant
    version: str
    candidate: Variant
    what: str
    of_rows: str
    rows: Sequence[Example]
    answers: Mapping[str, Mapping[str, RecordedAnswer]]

    @property
    def is_searched(self) -> bool:
        """Whether a study found the candidate, so that a confirmation can speak for it."""
        return self.of_rows == HELD_OUT

    def scores(self, variant: Variant) -> list[float]:
        return [self.answers[variant.id][row.id].score for row in self.rows]


def pair_of(folder: Path, name: str, seeds: Sequence[int], data: Path) -> VersionPair:
    """What is rolled out of a family: the winner of the first seed whose study changed something, else a worse base, so
    that there is something to refuse.

    Args:
        folder: the family's folder of homes, whose stores are brought up to date: a copy.
    Raises:
        NotFound: an answer that no journal has, so that a model would have to be asked.
    """
    for seed in seeds:
        cell = json.loads((folder / f"seed_{seed}.json").read_text(encoding="utf-8"))
        if cell["winner"] != family_in(folder / f"seed_{seed}", name).variant(cell["base"]).id:
            return _winner(folder, name, seed, cell, data)
    return _worse_base(folder / "bases", name, cell["base"])


def _winner(folder: Path, name: str, seed: int, cell: Mapping[str, Any], data: Path) -> VersionPair:
    """Base and winner of this seed's study, on the held-out rows."""
    home = folder / f"seed_{seed}"
    family = family_in(home, name)
    with _opened(home) as (_, store), store.read() as tx:
        record = store.variants.get(tx, name, cell["winner"])
    if record is None:
        raise NotFound(f"The home of {name}, seed {seed} has no variant {cell['winner']}: measure it again.")
    opened = {one["row"] for one in cell["answers"]["base"]}
    rows = [row for row in rows_of(data, name, "dev", PLAN[name], family) if row["id"] in opened]
    held = HeldOut(folder / "held_out", family, PLAN[name])
    try:
        examples = held.examples(rows)
    finally:
        held.close()
    answers = _answers(folder / "held_out", family, (family.variant(cell["base"]), record.variant), examples)
    what = f"winner, seed {seed}"
    return VersionPair(
        home=home, version=cell["base"], candidate=record.variant, what=what, of_rows=HELD_OUT, rows=examples, **answers
    )


def _worse_base(home: Path, name: str, best: str) -> VersionPair:
    """The best base and the worst, on the rows by which a study compared them."""
    family = family_in(home, name)
    by_size = family.prompt.by_size
    assert by_size is not None
    with _opened(home) as (_, store), store.read() as tx:
        study = next(s for s in store.studies.page(tx, family=name)[0] if s.status == "finished")
        scores = {t.variant: t.score for t in store.studies.trials(tx, study.id) if t.score is not None}
        dev = {e.id: e for e in store.examples.of_split(tx, name, split="dev")}
    rows = [dev[id] for id in (study.dataset or {})["dev"]]
    worst = min((v for v in by_size.names() if v != best), key=lambda v: scores[family.variant(v).id])
    answers = _answers(home, family, (family.variant(best), family.variant(worst)), rows)
    return VersionPair(
        home=home,
        version=best,
        candidate=family.variant(worst),
        what=f"base {worst}",
        of_rows=OF_BASES,
        rows=rows,
        **answers,
    )


def _answers(home: Path, family: Family, both: tuple[Variant, Variant], rows: Sequence[Example]) -> dict[str, Any]:
    """The champion and every answer of both, by variant and row."""
    with _opened(home) as (settings, store):
        models, scorer = wiring.open_models(settings), wiring.open_scorer(family, settings)
        try:
            revision = models.get(str(family.model.default)).revision
        finally:
            models.close()
        answers = {
            variant.id: {row.id: _recorded(store, family, variant, row, revision, scorer) for row in rows}
            for variant in both
        }
    return {"champion": both[0], "answers": answers}


def _recorded(
    store: Store, family: Family, variant: Variant, row: Example, revision: str, scorer: Scorer
) -> RecordedAnswer:
    messages = render(variant, row.input, declared=family.inputs)
    request = request_for(variant, messages, revision=revision, example=row.id)
    with store.read() as tx:
        answer = store.journal.find(tx, request.key, study=None, not_before=EVER)
    if answer is None:
        raise NotFound(f"No journal has what {variant.id} answered to {row.id}: measure {family.name} anew.")
    score = scorer.score(row.expected, answer.text, row.input)
    if score.value is None:
        raise NotFound(f"{family.name}, row {row.id}: its answer cannot be scored: {score.error}")
    return RecordedAnswer(
        text=answer.text, score=score.value, input_tokens=answer.input_tokens, output_tokens=answer.output_tokens
    )


@contextmanager
def _opened(home: Path) -> Iterator[tuple[Settings, Store]]:
    settings = load_settings(home=home)
    wiring.migrate_store(settings)
    store = wiring.open_store(settings)
    try:
        yield settings, store
    finally:
        store.close()
