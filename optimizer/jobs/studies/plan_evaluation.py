"""Plans an evaluation outside a study: which examples or golden scenarios, of which Variants, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from optimizer.core.base.errors import DatasetTooSmall, Fault, InvalidInput
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.base.values import Spread
from optimizer.core.dataset.examples import Example, class_of, select
from optimizer.core.evaluation.suite import DEFAULT, GOLDEN, Suite, suites_of
from optimizer.core.evaluation.timing import N_TIMED, Timing, n_paired, timed_rows, turns
from optimizer.core.evaluation.trivial_baselines import bare_prompt
from optimizer.core.family.family import Family, GoldenRow
from optimizer.core.family.rendering import is_refused
from optimizer.core.family.variant import Variant
from optimizer.core.search import cost_estimate
from optimizer.core.search.answer_bounds import models_asked
from optimizer.jobs.calls.shelves import students_among
from optimizer.jobs.dataset.build_dataset import cut_as_served, truncated_of
from optimizer.jobs.dataset.golden_scenarios import (
    golden_examples,
    kept_groups,
    require_unquoted,
    require_unsealed,
    with_kept_golden,
)
from optimizer.jobs.families.check_models import require_known_models
from optimizer.jobs.studies.nominate import TO_SPARE
from optimizer.ports import ModelCatalogue, ModelSource, Store

DEFAULT_N = 20
Splits = Literal["train", "dev"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationScope:
    """What an evaluation measures on, and by which suite.

    Args:
        n: at most so many; None: as many as the suite asks, where the split is dev, else 20.
        bare: ask the same prompt without its examples, too.
        suite: name of one of the family's suites, such as golden, which says what is asked.
    """

    split: Splits = "dev"
    n: int | None = None
    bare: bool = False
    suite: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationPlan:
    """``suite`` None: nothing is checked.

    ``beside``: the champion, ``bare``: the prompt without its examples, each where it is asked the same. ``rows``: by
    example id, of golden scenarios. ``n_wanted``: examples that the caller or the suite asks for; None: all of the
    scenarios, or as many as is usual. ``truncated`` and ``n_refused``: as a dataset has them.
    """

    examples: Sequence[Example]
    split: str  # train, dev, or golden
    variant: Variant
    suite: Suite | None
    champion: Variant | None
    beside: Variant | None
    bare: Variant | None
    rows: dict[str, GoldenRow]
    n_wanted: int | None
    truncated: Mapping[str, int]
    n_refused: int

    @property
    def variants(self) -> list[Variant]:
        return [variant for variant in (self.variant, self.beside, self.bare) if variant is not None]

    @property
    def times_pairs(self) -> bool:
        """Whether latencies are compared with the champion's."""
        regression = self.suite.targets.regression if self.suite is not None else None
        return regression is not None and regression.latency is not None and self.beside is not None

    def tells(self, timing: Timing) -> bool:
        """Whether ``timing`` says if the Variant is slower than the suite allows."""
        regression = self.suite.targets.regression if self.suite is not None else None
        limit = regression.latency if regression is not None else None
        return limit is None or not self.times_pairs or timing.is_slower(limit) is not None

    @property
    def times(self) -> bool:
        """Whether fresh calls are timed: beside the champion always, else where the journal has the answers."""
        return self.times_pairs or (self.suite is not None and self.suite.targets.p95_latency_ms is not None)

    @property
    def n_timed(self) -> int:
        """Fresh calls of each of ``timed`` at most."""
        if self.times_pairs:
            return n_paired(len(self.examples))
        return N_TIMED if self.times else 0

    @property
    def timed(self) -> list[Variant]:
        """The Variants that are asked once more for their latency."""
        beside = [self.beside] if self.beside is not None and self.times_pairs else []
        return [self.variant, *beside] if self.times else []


def plan_evaluation(family: Family, variant: Variant, scope: EvaluationScope, store: Store) -> EvaluationPlan:
    """Errors as in ``evaluate_variant``."""
    split, n, suite = scope.split, scope.n, scope.suite
    if split not in ("train", "dev"):
        raise InvalidInput(
            f"Examples of split {split!r} cannot be evaluated: use train or dev. The holdout is sealed for"
            " confirmations."
        )
    if not variant.messages:
        raise InvalidInput(
            f"{variant.id} of {family.name} is a policy without a prompt, and no model answers it. Policies are scored"
            " by replay."
        )
    with store.read() as tx:
        family = with_kept_golden(tx, store, family)
        tenure = store.champions.current(tx, family.name)
        record = None if tenure is None else store.variants.get(tx, family.name, tenure.variant)
    champion = None if record is None else record.variant
    named = _named(family, suite) if suite is not None else None
    if named is not None and (n is not None or split != "dev"):
        raise InvalidInput("A suite says which examples it asks: leave n and split out.")
    rows: dict[str, GoldenRow] = {}
    n_wanted: int | None = None
    n_refused = 0
    if named is not None and named.name == GOLDEN:
        with store.read() as tx:
            require_unsealed(tx, store, family, named.rows)
            groups = kept_groups(tx, store, family.name)
        for asked_one in filter(None, (variant, champion)):
            require_unquoted(family, asked_one, named.rows)
        golden = golden_examples(family, named.rows, groups)
        rows = {example.id: row for example, row in zip(golden, named.rows, strict=True)}
        drawn: Sequence[Example] = golden
    else:
        suite_asked = named or (suites_of(family).get(DEFAULT) if split == "dev" else None)
        n_wanted = suite_asked.targets.n if n is None and suite_asked is not None else n
        if n_wanted is not None and n_wanted < 1:
            raise InvalidInput(f"An evaluation needs at least one example, not {n_wanted}.")
        drawn, n_refused = _drawn(family, split, n_wanted or DEFAULT_N, store)
        with store.read() as tx:
            n_dev = store.examples.counts(tx, family.name)["dev"]
        is_whole = suite_asked is not None and len(drawn) >= min(suite_asked.targets.n, n_dev - n_refused)
        named = suite_asked if is_whole else None
    is_compared = named is not None and named.compares and champion is not None and champion.id != variant.id
    return EvaluationPlan(
        examples=[cut_as_served(family, example) for example in drawn],
        split=GOLDEN if rows else split,
        variant=variant,
        suite=named,
        champion=champion,
        beside=champion if is_compared else None,
        bare=bare_prompt(variant) if scope.bare and variant.examples and not rows else None,
        rows=rows,
        n_wanted=n_wanted,
        truncated=truncated_of(family, drawn),
        n_refused=n_refused,
    )


def _named(family: Family, name: str) -> Suite:
    suites = suites_of(family)
    if name == GOLDEN and not family.golden:
        raise InvalidInput(
            f"{family.name} has no golden scenarios. Write some, one a line, into golden.jsonl beside its file: "
            '{"id": "...", "input": {...}, "expected": {...}}.'
        )
    if name in suites:
        return suites[name]
    known = f"its suites are {', '.join(suites)}" if suites else "it has none"
    raise InvalidInput(f"{family.name} has no suite {name!r}{did_you_mean(name, suites) or f'; {known}'}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationEstimate:
    """What an evaluation would ask at most: ``n`` examples, ``beside`` as in EvaluationReport, ``n_timed`` calls of
    each that are timed afresh. ``suite``: its name; None where nothing is checked. ``usd`` None: no known price.
    ``models``: that are asked, the judge's among them.
    """

    variant: str
    split: str
    suite: str | None
    n: int
    n_wanted: int | None
    truncated: Mapping[str, int]
    n_refused: int
    n_timed: int
    beside: str | None
    models: Sequence[str]
    calls: Spread
    usd: Spread | None
    calls_at_most: int


def estimate_evaluation(
    family: Family,
    variant: Variant,
    scope: EvaluationScope,
    *,
    store: Store,
    models: ModelCatalogue,
) -> EvaluationEstimate:
    """What ``evaluate_variant`` would ask at most.

    Writes, asks and spends nothing. Raises InvalidInput and DatasetTooSmall as ``evaluate_variant`` does, NotFound for
    an unknown model.
    """
    require_known_models(family, models)
    plan = plan_evaluation(family, variant, scope, store)
    calls, usd = estimate_plan(plan, family, models)
    return EvaluationEstimate(
        variant=variant.id,
        split=plan.split,
        suite=plan.suite.name if plan.suite is not None else None,
        n=len(plan.examples),
        n_wanted=plan.n_wanted,
        truncated=plan.truncated,
        n_refused=plan.n_refused,
        n_timed=plan.n_timed,
        beside=plan.beside.id if plan.beside is not None else None,
        models=models_asked(family, plan.variants),
        calls=calls,
        usd=usd,
        calls_at_most=calls_at_most(calls),
    )


def estimate_plan(
    plan: EvaluationPlan, family: Family, models: ModelCatalogue | ModelSource
) -> tuple[Spread, Spread | None]:
    """(calls, dollars; None where a model has no known price)."""
    students = students_among(models, (*plan.variants, *plan.timed))
    calls, usd = cost_estimate.estimate_evaluation(
        plan.variants, plan.examples, family, models.price, students=students
    )
    if plan.times:
        rows = timed_rows(plan.examples) if plan.times_pairs else plan.examples
        again = [row for block in turns(rows, plan.n_timed) for row in block]
        more, more_usd = cost_estimate.estimate_evaluation(
            plan.timed, again, family, models.price, are_judged=False, students=students
        )
        calls, usd = calls + more, usd + more_usd if usd is not None and more_usd is not None else None
    return calls, usd


def calls_at_most(calls: Spread) -> int:
    """The cap of who names none: what is asked, and half as much again for retries."""
    return int(TO_SPARE * calls.high)


def drawn_examples(family: Family, split: Splits, n: int, store: Store, *, seed: int = 0) -> list[Example]:
    """The examples as serving takes them: without those that it refuses, cut as it cuts them. Another ``seed`` draws
    others.
    """
    return [cut_as_served(family, example) for example in _drawn(family, split, n, store, seed)[0]]


def named_examples(family: Family, ids: Sequence[str], store: Store) -> list[Example]:
    """Dev examples as serving takes them, in this order. Raises InvalidInput for one that is none, or is too long."""
    with store.read() as tx:
        examples = {e.id: e for e in store.examples.of_split(tx, family.name, split="dev", ids=ids)}
    faults = []
    for i, id in enumerate(ids):
        if id not in examples:
            faults.append(Fault(pointer=f"/example_ids/{i}", detail=f"{family.name} has no dev example {id!r:.80}"))
        elif is_refused(family, examples[id].input):
            faults.append(Fault(pointer=f"/example_ids/{i}", detail=f"serving refuses {id!r:.80}, which is too long"))
    if faults:
        raise InvalidInput(f"These examples cannot be asked: {'; '.join(f.detail for f in faults)}.", faults)
    return [cut_as_served(family, examples[id]) for id in dict.fromkeys(ids)]


def _drawn(family: Family, split: Splits, n: int, store: Store, seed: int = 0) -> tuple[list[Example], int]:
    """The examples, and how many of the split are left out, since serving would refuse them."""
    with store.read() as tx:
        examples = store.examples.of_split(tx, family.name, split=split)
    everything = {e.id: e for e in examples if not is_refused(family, e.input)}
    if not everything:
        raise DatasetTooSmall(
            f"Family {family.name!r} has no {split} examples. Import some: detent import FILE --family {family.name}."
        )
    labels = [(e.id, class_of(e.expected, family.sample.balance)) for e in everything.values()]
    seed_text = f"detent/{family.name}" + (f"/{seed}" if seed else "")
    ids = select(labels, n, balance=family.sample.balance is not None, seed_text=seed_text)
    return [everything[id] for id in ids], len(examples) - len(everything)
