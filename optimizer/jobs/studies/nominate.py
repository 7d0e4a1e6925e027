"""Nominates a Variant of a study as the candidate of a rollout.

What the study itself has confirmed is nominated at once. Any other point of its search, or the same one for another
aim, needs a look of its own at the sealed holdout: a study that searches nothing and only confirms, with all that makes
studies safe (budget, journal, resume, one at a time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, inf
from typing import Any

from optimizer.core.base.errors import Conflict, DatasetTooSmall, Fault, GateNotMet, InvalidInput, NotFound
from optimizer.core.base.phrasing import count
from optimizer.core.base.values import Aim, Budget
from optimizer.core.evaluation.gates import missed_gates
from optimizer.core.evaluation.judging.calibration import GATE as JUDGE_GATE, judge_of
from optimizer.core.evaluation.suite import GOLDEN, gates_of_suites, suites_of
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import require_bounded
from optimizer.core.models.language import ModelPrice
from optimizer.core.policy.nearest import fixed_rendering
from optimizer.core.scheduling.monthly_budget import under
from optimizer.core.search.answer_bounds import (
    DEFAULT_MAX_TOKENS,
    calls_per_answer,
    judging_cost,
    longest_allowed,
    longest_inputs,
    models_of,
    policy_judgements,
    usd_of,
)
from optimizer.core.search.strategy import check_aim
from optimizer.core.search.study import CONFIRM, UNFINISHED, Definition, Study
from optimizer.core.serving.rollout import Freeze, is_frozen
from optimizer.jobs.calls.shelves import students_among
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.build_dataset import build_dataset, load_examples
from optimizer.jobs.dataset.golden_scenarios import with_kept_golden
from optimizer.jobs.families.check_models import require_known_models
from optimizer.jobs.families.vouch_for_judge import judge_gates, without_judge_gate
from optimizer.jobs.ids import new_id
from optimizer.jobs.request import ItemRequest, Name
from optimizer.jobs.studies.context import variant_of
from optimizer.jobs.studies.kinds.prompt import require_price, serve_another
from optimizer.jobs.studies.read_spending import left_this_month
from optimizer.jobs.studies.read_studies import standing_look, stored_study
from optimizer.jobs.studies.transitions import queue_study
from optimizer.ports import ModelCatalogue, Store

TO_SPARE = 1.5  # times the calls of the confirmation: retries count, and so do calls that a kill loses


@dataclass(frozen=True, slots=True, kw_only=True)
class LookPrice:
    """What one more look costs: calls, at most so many calls and dollars with retries (None: a model has no price),
    which look at the holdout it is.
    """

    study: str | None  # the study whose search found the variant; None where a person named it
    variant: str
    aim: Aim
    n_calls: int
    n_calls_at_most: int
    usd_at_most: float | None
    look: int
    freeze: Freeze | None  # under which the look would be refused


class NominateRequest(ItemRequest):
    variant: Name
    aim: Aim = "quality"
    dry_run: bool = False


def nominate(context: Context, request: NominateRequest) -> Study | LookPrice:
    """The study that speaks for a variant: one that confirms it, or has confirmed it,
    for this aim against the champion of today, else a new one.

    Safe to repeat: what the holdout has decided once is not asked again until the champion is another. With
    ``dry_run`` the Price of a new one, which writes and spends nothing.

    Raises:
        NotFound: no such study, or the variant is none of its trials.
        Conflict: the study or another of the family has not ended, the family is frozen, or the variant is its
            champion.
        GateNotMet: the variant has been confirmed for this aim, and a gate is not met; or it lost a golden scenario.
        InvalidInput: the variant has not been measured on every dev example of the study, or cost is the aim and a
            model has no price.
        DatasetTooSmall, BudgetTooSmall: with figures, before anything is spent.
    """
    store, variant, aim, study = context.store, request.variant, request.aim, stored_study(context, request.id)
    family = context.family(study.family)
    with store.read() as tx:
        trials = store.studies.trials(tx, study.id)
        results = store.studies.results(tx, study.id, "search", variant).get(variant, [])
        standing = standing_look(tx, store, family.name, variant, aim, study.move_to)
    refuse_golden_failures(family, variant, context)
    if standing is not None:
        return as_confirmed(standing, variant, family, store)
    if study.status in UNFINISHED:
        raise Conflict(
            f"Study {study.id} is {study.status}; what it nominates is decided when it ends.", status=study.status
        )
    if study.move_to is not None and aim != "quality":
        detail = f"Study {study.id} looks for a way to {study.move_to}, which asks for quality. Leave the aim out."
        raise InvalidInput(detail, [Fault(pointer="/aim", detail=detail)])
    trial = next((t for t in trials if t.variant == variant), None)
    if trial is None and not (study.mode == "confirm" and variant == study.winner):
        with store.read() as tx:
            elsewhere = store.studies.last_measured(tx, family.name, variant)
        with_aim = "" if aim == "quality" else f" --aim {aim}"
        then = (
            f"another study measured it: `detent study nominate {elsewhere.study} {variant}{with_aim}`."
            if elsewhere is not None
            else f"`detent study show {study.id}` lists its trials."
        )
        raise NotFound(f"{variant} is no trial of study {study.id}; {then}")
    if trial is not None and (trial.status != "complete" or any(r.score is None for r in results)):
        raise InvalidInput(
            f"{variant} has not been measured on every dev example of study {study.id}; only a variant that has can be"
            " nominated."
        )
    definition = Definition.parse(study.definition)
    if definition.n_holdout < family.rollout.gates.n:  # its study was to look at fewer rows, or none
        definition = replace(definition, n_holdout=family.rollout.gates.n)
    planned = plan_look(context, family, variant, aim, definition, seed=study.seed, searched=study.id)
    return planned.price if request.dry_run else queue_look(context, planned, family)


def refuse_golden_failures(family: Family, variant: str, context: Context) -> None:
    """No Variant is nominated, and no look at the holdout spent on it, whose rollout the golden scenarios would refuse.

    Raises GateNotMet where an evaluation found it worse; one that was not evaluated may be looked at.
    """
    store = context.store
    with store.read() as tx:
        champion = store.champions.current(tx, family.name)
        batches = store.performance.batches(tx, family.name)
        family = with_kept_golden(tx, store, family)
    if champion is None or GOLDEN not in suites_of(family):
        return
    version = context.scorer_for(family).version
    gates = gates_of_suites(family, batches, variant, champion=champion.variant, scorer_version=version)
    fallen = next((gate for gate in gates if gate["name"] == GOLDEN and gate["verdict"] == "fail"), None)
    if fallen is not None:
        raise GateNotMet(
            f"{variant} is worse than the champion on the golden scenarios of {family.name}: {fallen['reason']}. A"
            f" person may start it as forced: detent rollout start {family.name} {variant} --confirm {family.name}.",
            gates=[dict(fallen)],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLook:
    """A study that searches nothing, and what it costs."""

    study: Study
    price: LookPrice


def as_confirmed(study: Study, variant: str, family: Family, store: Store) -> Study:
    """The study, where it has not ended or its gates are met, that of the judge as of now. Raises GateNotMet."""
    if study.status in UNFINISHED or study.outcome == "nominated":
        return study
    confirmation = study.confirmation or {}
    gates = [
        *without_judge_gate(confirmation.get("gates", [])),
        *judge_gates(family, store, scored_by=confirmation.get("judge")),
    ]
    failed = [gate["name"] for gate in missed_gates(gates)]
    if not failed and gates:  # a calibration has come since
        return study
    ratings = (
        " Once people vouch for its judge it starts on evidence, without another look: detent judge show"
        f" {family.name}."
        if failed == [JUDGE_GATE]
        else ""
    )
    raise GateNotMet(
        f"Study {study.id} compared {variant} with the champion on the holdout, and it did not pass:"
        f" {', '.join(failed)}.{ratings} A person may start it as forced: detent rollout start {study.family} {variant}"
        f" --confirm {study.family}.",
        gates=failed,
    )


def _arms(family: Family, variant: str, store: Store) -> tuple[Variant, Variant]:
    with store.read() as tx:
        champion = store.champions.current(tx, family.name)
    if champion is None:
        raise Conflict(f"{family.name} has no champion to compare with.")
    if champion.variant == variant:
        raise Conflict(f"{variant} is the champion of {family.name} already.")
    return variant_of(store, family.name, champion.variant), variant_of(store, family.name, variant)


def plan_look(
    context: Context,
    family: Family,
    variant: str,
    aim: Aim,
    definition: Definition,
    *,
    seed: int = 0,
    searched: str | None = None,
) -> PlannedLook:
    """Champion and candidate as they are: each priced by its own model and output limit.

    ``searched``: the study that found it, if one did.
    """
    store, clock, models = context.store, context.clock, context.models()
    require_known_models(family, models)
    arms = _arms(family, variant, store)
    check_aim(family, aim)
    dataset = build_dataset(family, definition, store)
    n_holdout, needed = len(dataset["holdout"]), family.rollout.gates.n
    if n_holdout < needed:
        raise DatasetTooSmall(
            f"Cannot confirm {arms[1].id}: {family.name} has {count(n_holdout, 'holdout example')} for it, and its"
            f" gates ask for {needed}. Import more examples, or ask for less (rollout.gates.n).",
            n_holdout=n_holdout,
            n_required=needed,
        )
    with store.read() as tx:
        look = store.examples.looks(tx, family.name, dataset["holdout"]) + 1
        freeze = is_frozen(store.freezes.all(tx), family.name)
        remaining = left_this_month(tx, context, family)
    if aim == "cost" and kind_of(family).asks_models:
        champion, candidate = arms
        for arm in arms:
            for name in models_of(arm, {}):
                require_price(
                    name,
                    models.price(name),
                    is_free_allowed=name != champion.model["name"],
                    comes_from=f"the variant {arm.id}" if arm is candidate else f"the serving champion {arm.id}",
                    instead="nominate a variant without it" if arm is candidate else serve_another(name, family),
                )
    fixed = fixed_rendering(arms[1])
    opened_arms = arms if fixed is None or fixed.id == arms[0].id else (*arms, fixed)
    n_calls, usd, models_asked = _cost_of_arms(opened_arms, family, definition, dataset, store, models)
    calls = int(TO_SPARE * n_calls)
    budget = under(remaining, Budget(calls=calls, usd=usd if usd < inf else None))
    for item in models_asked:
        require_bounded(*item, budget)
    study = Study(
        id=new_id("st"),
        family=family.name,
        strategy=CONFIRM,
        aim=aim,
        status="queued",
        seed=seed,
        budget=budget,
        definition={k: v for k, v in asdict(definition).items() if v is not None},
        champion=arms[0].id,
        winner=arms[1].id,
        created_at=clock.now(),
        created_by=context.actor,
        dataset=dataset,
        simulated_clock=clock.scale != 1.0,
    )
    price_of_look = LookPrice(
        study=searched,
        variant=arms[1].id,
        aim=aim,
        n_calls=n_calls,
        n_calls_at_most=calls,
        usd_at_most=budget.usd,
        look=look,
        freeze=freeze,
    )
    return PlannedLook(study=study, price=price_of_look)


def _cost_of_arms(
    arms: Sequence[Variant],
    family: Family,
    definition: Definition,
    dataset: Mapping[str, Any],
    store: Store,
    models: ModelCatalogue,
) -> tuple[int, float, list[tuple[str, ModelPrice | None, int | None]]]:
    """Calls of each arm on each holdout example, its judge's included; dollars at most, infinite where a price is not
    known; and each model that is asked, with its price and its output limit.
    """
    n_calls, usd, models_asked = 0, 0.0, list[tuple[str, ModelPrice | None, int | None]]()
    n_holdout, examples = len(dataset["holdout"]), [e for part in load_examples(family, dataset, store) for e in part]
    inputs = longest_inputs(family, examples)
    students = students_among(models, arms)
    for arm in arms if kind_of(family).asks_models else ():  # a replay costs nothing
        per_answer, dearest = calls_per_answer(arm, {}, students=students), 0.0
        n_calls += n_holdout * per_answer
        longest = longest_allowed(arm, inputs, definition)
        for name in models_of(arm, {}):
            price, limit = models.price(name), arm.model.get("max_tokens") or models.describe(name).max_output_tokens
            models_asked.append((name, price, limit))
            dearest = max(dearest, usd_of(longest, int(limit or 0), price)) if price is not None else inf
        usd += TO_SPARE * n_holdout * per_answer * dearest
        max_tokens = int(arm.model.get("max_tokens") or DEFAULT_MAX_TOKENS)
        judging = judging_cost(family, inputs, examples, max_tokens, models.price, n_gate=policy_judgements(arm))
        n_calls += n_holdout * ceil(judging.calls.expected)
        usd += TO_SPARE * n_holdout * (inf if judging.once_usd is None else judging.once_usd)
        models_asked += [(name, models.price(name), judge_of(family).max_tokens) for name in judging.members]
    return n_calls, usd, models_asked


def queue_look(context: Context, planned: PlannedLook, family: Family) -> Study:
    """Queues the look, for the worker or the caller. Raises Conflict where the family is frozen or has a study."""
    study = planned.study
    act, detail = f"nominate {study.winner}", asdict(planned.price)
    return queue_study(context, family, study, action="study_nominate", act=act, detail=detail)
