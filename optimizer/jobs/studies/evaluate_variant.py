"""Evaluates one Variant on train or dev examples, outside a study, and keeps the sums as an evaluation batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import BudgetExhausted, DatasetTooSmall, InvalidInput, ModelFailed
from optimizer.core.base.spread import Spread
from optimizer.core.base.values import Budget, ExampleResult, mean_score, measured, p95_ms
from optimizer.core.dataset.examples import Example, class_of, select
from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.core.evaluation.label_report import read_labels
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.evaluation.suite import check_suite, suite_id
from optimizer.core.evaluation.trivial_baselines import WITHOUT_MODEL, Classify, bare_prompt, measure_trivial
from optimizer.core.family.family import Family
from optimizer.core.family.settings import Targets
from optimizer.core.family.variant import Variant
from optimizer.core.search import cost_estimate
from optimizer.core.search.answer_bounds import models_of
from optimizer.core.search.study import Definition
from optimizer.jobs.calls.call_book import OwnSpend
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.dataset.build_dataset import as_served, train_examples
from optimizer.jobs.families.check_models import require_known_models
from optimizer.jobs.ids import new_id
from optimizer.jobs.studies.evaluation import Evaluator
from optimizer.jobs.studies.nominate import TO_SPARE
from optimizer.ports import Clock, ModelCatalogue, ModelSource, Store

DEFAULT_N = 20


def evaluate_variant(
    family: Family,
    variant: Variant,
    *,
    split: Literal["train", "dev"] = "dev",
    n: int | None = None,
    budget: Budget | None = None,
    actor: str,
    store: Store,
    clock: Clock,
    models: ModelSource,
    scorer_for: Callable[[Family], Scorer],
    classify: Classify,
    bare: bool = False,
    on_call: Callable[[float | None], None] = lambda latency_ms: None,
) -> dict[str, Any]:
    """Scores ``variant`` on at most ``n`` examples, drawn by hash and balanced as the family asks; returns the batch as
    stored, with ``labels`` (a LabelReport as plain values; None in other families), ``n_calls_in_all`` and
    ``spent_usd`` (dollars; None where a model has no known price) of this evaluation, the champion's calls among them,
    ``beside``, the champion's id where it was asked, too, and ``trivial_baselines`` (a TrivialBaselines as plain
    values): what answers without a model score on the same examples.

    With targets in the family, an evaluation on at least ``targets.n`` dev examples (all, where there are fewer) is
    checked against them: ``checks``. For ``regression`` the champion is evaluated on the same examples.

    Args:
        bare: ask the same prompt without its examples, too; where the budget ends there, the rest is told.
        budget: without a cap of calls or dollars, as many calls as ``estimate_evaluation`` says (``calls_at_most``).
        n: None: ``targets.n`` where the family has targets and the split is dev, else 20.
    The holdout cannot be evaluated here: only a study's confirmation looks at it.

    Raises:
        InvalidInput: n below 1, or a split that is not train or dev.
        DatasetTooSmall: the split is empty.
        ModelFailed: not one example was answered.
        BudgetExhausted: the budget ran out; what was answered stays in the journal.
    """
    plan = _plan(family, variant, split, n, store, bare=bare)
    examples = plan.examples
    budget = budget or Budget()
    if budget.usd is None and budget.calls is None:
        budget = replace(budget, calls=_calls_at_most(_estimate(plan, family, models)[0]))
    scorer, spent = scorer_for(family), OwnSpend()
    evaluator = Evaluator(family, scorer, opener(family, budget, store, clock, models, spent), on_call=on_call)
    results = evaluator.evaluate(variant, examples)
    n_fresh = evaluator.n_fresh
    if all(r.output is None for r in results):
        raise ModelFailed(
            f"The model answered none of the {len(results)} examples. First failure: {results[0].error}",
            kind="unreachable",
        )
    batch = _batch(family, variant, split, examples, results, scorer, n_fresh) | {
        "created_by": actor,
        "created_at": clock.now(),
    }
    if plan.targets is not None:
        beside = evaluator.evaluate(plan.beside, examples) if plan.beside is not None else None
        checks = check_suite(plan.targets, results, champion=beside, class_of=_classes(family, examples))
        champion = plan.champion
        batch |= {
            "suite": suite_id(family, champion.id if champion is not None else None),
            "checks": [asdict(one) for one in checks],
        }
    store.write(lambda tx: store.performance.add_batch(tx, batch))
    beside_id = plan.beside.id if plan.beside is not None else None
    labels = read_labels(family.output, {e.id: e.expected for e in examples}, results)
    batch |= {"labels": asdict(labels) if labels is not None else None}
    bare_scores = _bare_scores(plan, evaluator)
    trivial = measure_trivial(
        family,
        _training(family, store, examples),
        examples,
        scorer,
        classify=classify,
        variant=variant.id,
        scores=measured(results),
        bare=bare_scores if bare_scores is not None else _why_not_bare(variant),
    )
    batch |= {WITHOUT_MODEL: trivial.as_data()}
    return batch | {
        "n_calls_in_all": spent.spend.n_calls,
        "spent_usd": _priced(plan, spent.spend.usd, models),
        "beside": beside_id,
    }


def estimate_evaluation(
    family: Family,
    variant: Variant,
    *,
    split: Literal["train", "dev"] = "dev",
    n: int | None = None,
    bare: bool = False,
    store: Store,
    models: ModelCatalogue,
) -> dict[str, Any]:
    """What ``evaluate_variant`` would ask at most: ``n`` examples, ``beside`` as there,
    and ``calls`` and ``usd`` (None: no known price) as Spreads.

    Writes, asks and spends nothing. Raises InvalidInput and DatasetTooSmall as ``evaluate_variant`` does, NotFound for
    an unknown model.
    """
    require_known_models(family, models)
    plan = _plan(family, variant, split, n, store, bare=bare)
    calls, usd = _estimate(plan, family, models)
    beside = plan.beside.id if plan.beside is not None else None
    said = {
        "variant": variant.id,
        "split": split,
        "n": len(plan.examples),
        "beside": beside,
        "calls": calls,
        "usd": usd,
    }
    return {**said, "calls_at_most": _calls_at_most(calls)}


def _calls_at_most(calls: Spread) -> int:
    """The cap of who names none: what is asked, and half as much again for retries."""
    return int(TO_SPARE * calls.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """``targets`` None: nothing is checked.

    ``beside``: the champion, ``bare``: the prompt without its examples, each where it is asked the same.
    """

    examples: Sequence[Example]
    variants: Sequence[Variant]
    targets: Targets | None
    champion: Variant | None
    beside: Variant | None
    bare: Variant | None


def _plan(
    family: Family, variant: Variant, split: Literal["train", "dev"], n: int | None, store: Store, *, bare: bool
) -> _Plan:
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
    targets = family.targets if split == "dev" else None
    if n is None:
        n = DEFAULT_N if targets is None else targets.n
    if n < 1:
        raise InvalidInput(f"An evaluation needs at least one example, not {n}.")
    examples = drawn_examples(family, split, n, store)
    if targets is not None and len(examples) < min(targets.n, _n_dev(family, store)):
        targets = None
    champion = _champion(family, store)
    is_compared = (
        targets is not None and targets.regression is not None and champion is not None and champion.id != variant.id
    )
    beside = champion if is_compared else None
    without = bare_prompt(variant) if bare and variant.examples else None
    asked = [one for one in (variant, beside, without) if one is not None]
    return _Plan(examples=examples, variants=asked, targets=targets, champion=champion, beside=beside, bare=without)


def _training(family: Family, store: Store, scored: Sequence[Example]) -> list[Example]:
    """What a study would show and learn from: as many training examples as it takes by itself,
    none of a group that is scored here.
    """
    groups = {e.group for e in scored}
    with store.read() as tx:
        found = {e.id: e for e in train_examples(family, store, tx) if e.group not in groups}
    labels = [(e.id, class_of(e.expected, family.sample.balance)) for e in found.values()]
    ids = select(
        labels, Definition().n_train, balance=family.sample.balance is not None, seed_text=f"detent/{family.name}"
    )
    return [as_served(family, found[id]) for id in ids]


def _estimate(plan: _Plan, family: Family, models: ModelCatalogue | ModelSource) -> tuple[Spread, Spread | None]:
    return cost_estimate.estimate_evaluation(plan.variants, plan.examples, family, models.price)


def _bare_scores(plan: _Plan, evaluator: Evaluator) -> dict[str, float] | str | None:
    """None where it is not asked; why it is not known where the budget ends here:
    what was measured before is told all the same.
    """
    if plan.bare is None:
        return None
    try:
        return dict(measured(evaluator.evaluate(plan.bare, plan.examples)))
    except BudgetExhausted as exhausted:
        return f"the budget ended before every example was asked; what was answered is kept. {exhausted}"


def _why_not_bare(variant: Variant) -> str:
    return (
        "not asked; --bare asks it, one call an example"
        if variant.examples
        else f"{variant.id} is one: it shows no examples"
    )


def _priced(plan: _Plan, usd: float, models: ModelSource) -> float | None:
    """None where a model that was asked has no known price, so that its calls count as nothing."""
    return usd if all(models.price(name) is not None for one in plan.variants for name in models_of(one, {})) else None


def _champion(family: Family, store: Store) -> Variant | None:
    """None where nothing serves yet."""
    with store.read() as tx:
        champion = store.champions.current(tx, family.name)
        record = None if champion is None else store.variants.get(tx, family.name, champion.variant)
    return None if record is None else record.variant


def _n_dev(family: Family, store: Store) -> int:
    with store.read() as tx:
        return len(store.examples.of_split(tx, family.name, split="dev"))


def _classes(family: Family, examples: Sequence[Example]) -> dict[str, str]:
    found = {e.id: class_of(e.expected, family.sample.balance) for e in examples}
    return {id: name for id, name in found.items() if name is not None}


def opener(
    family: Family, budget: Budget, store: Store, clock: Clock, models: ModelSource, spent: OwnSpend
) -> Callable[[str], JournaledModel]:
    """``spent``: one for all models of a policy, which together keep to the budget."""

    def open_model(name: str) -> JournaledModel:
        model = models.get(name)
        return JournaledModel(
            model,
            store=store,
            clock=clock,
            study=None,
            family=family.name,
            budget=budget,
            purpose="evaluation",
            own_spend=spent,
        )

    return open_model


def drawn_examples(family: Family, split: Literal["train", "dev"], n: int, store: Store) -> list[Example]:
    with store.read() as tx:
        everything = {e.id: e for e in store.examples.of_split(tx, family.name, split=split)}
    if not everything:
        raise DatasetTooSmall(
            f"Family {family.name!r} has no {split} examples. Import some: detent import FILE --family {family.name}."
        )
    labels = [(e.id, class_of(e.expected, family.sample.balance)) for e in everything.values()]
    ids = select(labels, n, balance=family.sample.balance is not None, seed_text=f"detent/{family.name}")
    return [as_served(family, everything[id]) for id in ids]


def _batch(
    family: Family,
    variant: Variant,
    split: str,
    examples: Sequence[Example],
    results: Sequence[ExampleResult],
    scorer: Scorer,
    n_calls: int,
) -> dict[str, Any]:
    scores = [r.score for r in results if r.score is not None]
    interval = bootstrap_interval(scores, seed=0) if scores else None
    return {
        "id": new_id("eb"),
        "family": family.name,
        "variant": variant.id,
        "model": str(variant.model["name"]),
        "dataset_hash": digest(canonical_json({"family": family.name, split: [e.id for e in examples]})),
        "split": split,
        "scorer_version": scorer.version,
        "n": len(results),
        "n_errors": sum(r.error is not None for r in results),
        "mean_score": mean_score(results),
        "score_low": interval.lower if interval else None,
        "score_high": interval.upper if interval else None,
        "cost_usd": sum(r.cost_usd for r in results),
        "p95_latency_ms": p95_ms(results),
        "n_calls": n_calls,
    }
