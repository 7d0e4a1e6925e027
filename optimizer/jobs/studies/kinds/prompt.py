"""A study of prompts: models are asked under a budget, so it is priced to the last call before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

from optimizer.core.base.errors import DatasetTooSmall, Fault, InvalidInput
from optimizer.core.base.phrasing import count, dollars
from optimizer.core.base.values import MIN_TIMED, Aim, Budget, Spread
from optimizer.core.dataset.examples import Example
from optimizer.core.declaration.prompt_kind import space_policy_faults
from optimizer.core.evaluation.judging.calibration import judge_of
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render
from optimizer.core.family.variant import FewShot, Variant
from optimizer.core.models.budget import BYTES_PER_TOKEN, HeldBack, request_bytes, require_a_proposal, require_bounded
from optimizer.core.models.language import PROPOSAL_TOKENS, ModelPrice
from optimizer.core.models.settings import ModelSettings, calls_at_once
from optimizer.core.predictor.teaching import LEAST_ROWS, MOST_ROWS, asked_of_teacher
from optimizer.core.search.answer_bounds import (
    JudgingCost,
    calls_per_answer,
    judging_cost,
    longest_allowed,
    longest_answer,
    longest_inputs,
    longest_nearest,
    longest_of,
    models_of,
    policy_judgements,
    usd_of,
)
from optimizer.core.search.call_estimate import expected_calls, n_champions, trials_of
from optimizer.core.search.cascade.learned import replay_faults
from optimizer.core.search.cost_estimate import (
    CallProfile,
    confirmation_calls,
    confirmation_usd,
    estimate_study,
    search_budget,
)
from optimizer.core.search.run_off import RUN_OFF
from optimizer.core.search.strategy import COPRO, REPLAY, may_write, searched_tiers, writes
from optimizer.core.search.strategy_calls import Sizes
from optimizer.core.search.study import KEEP, LIST_ALONE, Definition, Study
from optimizer.jobs.calls.ask_judge import JUDGE
from optimizer.jobs.calls.evaluation_calls import JudgeAccess
from optimizer.jobs.calls.shelves import Shelves, is_student, students_among
from optimizer.jobs.dataset.build_dataset import build_dataset, dev_examples, load_examples, teaching_examples
from optimizer.jobs.families.check_models import teaching_fault
from optimizer.jobs.families.vouch_for_judge import latest_calibration
from optimizer.jobs.studies.context import StopFlag, StudyRun, asked_tiers
from optimizer.jobs.studies.evaluation import Evaluator
from optimizer.jobs.studies.kinds.kind import CheckedStudyRequest, StudyPlan, studies_of
from optimizer.ports import ModelCatalogue, Store

# One thread of a busy machine: 235 prompt tokens and 100 generated ones a second.
EMBEDDED_PROMPT_BYTES_PER_S = 235 * 4.0
EMBEDDED_OUTPUT_TOKENS_PER_S = 100.0
REMOTE_SECONDS = Spread(low=0.5, expected=1.5, high=6.0)  # of a provider without measurements in this home


@studies_of(name="prompt")
class PromptStudy:
    def aim(self, family: Family, definition: Mapping[str, Any], store: Store) -> Aim:
        return "quality"

    def plan(self, wish: CheckedStudyRequest, store: Store, models: ModelCatalogue) -> StudyPlan:
        _check_definition(wish)
        _check_models(wish, models)
        family, names, aim, budget, definition = wish.family, wish.names, wish.aim, wish.budget, wish.definition
        champion, space = wish.champion, wish.space
        model = definition.move_to or str(champion.model["name"])  # that answers most calls
        facts = models.describe(model)
        tiers, is_written = asked_tiers(names, family, models), writes(names, space)
        dataset = build_dataset(family, definition, store)
        train, dev = load_examples(family, dataset, store)
        never_runs_off = tuple(names) == (REPLAY,) and aim == "cost"  # chosen on cross-fitted rows
        further = [] if never_runs_off else dev_examples(family, dataset.get(RUN_OFF, ()), store)
        _check_examples(wish, train, dev)
        per_answer = calls_per_answer(champion, space, tiers, students=students_among(models, [champion], space))
        inputs = longest_inputs(family, [*train, *dev, *further])
        longest = longest_allowed(champion, inputs, definition, space, is_written=is_written)
        judging = _judging(wish, inputs, [*train, *dev, *further], models)
        n_holdout = len(dataset["holdout"])
        n_confirmation = confirmation_calls(n_holdout, per_answer + ceil(judging.calls.high))
        typical = _typical_bytes(champion, train, dev, family, definition)
        max_tokens = int(champion.model.get("max_tokens") or 0)
        measured_seconds = _measured_seconds(family, model, store)
        at_once = calls_at_once(facts, automatic=1)
        sizes = Sizes(
            definition=definition,
            n_train=len(train),
            n_dev=len(dev),
            n_champion_examples=len(champion.examples),
            per_answer=per_answer,
            n_tiers=len(tiers),
        )
        writer = [definition.proposer or model] if is_written else []
        profile = CallProfile(
            longest_bytes=longest,
            typical_bytes=typical,
            max_tokens=max_tokens,
            price=_dearest([model, str(champion.model["name"])], typical, max_tokens, models),
            seconds=measured_seconds or _seconds_per_call(facts, typical, max_tokens),
            concurrency=at_once,
            proposals_price=models.price(writer[0]) if writer else None,
            judging=judging,
        )
        calls = expected_calls(
            names, sizes, n_run_off=len(further), n_holdout=n_holdout, is_written=is_written, judging=judging.calls
        )
        estimate = estimate_study(
            calls,
            profile,
            budget=budget,
            n_trials=trials_of(names, definition),
            n_confirmation=n_confirmation,
            reserved_usd=confirmation_usd(
                champion,
                space,
                n_calls=confirmation_calls(n_holdout, per_answer),
                longest_bytes=longest,
                price_of=models.price,
                tiers=tiers,
                judged_usd=judging.most_usd(confirmation_calls(n_holdout)),
            ),
        )
        remaining = search_budget(
            budget,
            n_confirmation=n_confirmation,
            reserved_usd=estimate.reserved_usd,
            n_dev=len(dev) * n_champions(definition) * (1 + ceil(judging.calls.expected)),
            seconds_per_call=None if measured_seconds is None else measured_seconds.expected / at_once,
        )
        for name in writer:
            require_a_proposal(name, models.price(name), PROPOSAL_TOKENS, remaining)
        named = tuple(dict.fromkeys([*models_of(champion, space, tiers), *writer, *judging.members]))
        remarks = [*([LIST_ALONE] if wish.is_list_alone else []), *_on_teaching(wish, train, profile, store, models)]
        return StudyPlan(budget=budget, dataset=dataset, estimate=replace(estimate, models=named, remarks=remarks))

    def evaluator(self, run: StudyRun, *, purpose: str, stop: StopFlag, held: Callable[[], HeldBack]) -> Evaluator:
        """Its calls go through the journal, and leave over what ``held`` says."""

        return Evaluator(
            run.family,
            run.scorer,
            lambda name: run.journaled(name, purpose=purpose, stop=stop, held=held),
            on_fresh=run.fresh_ms.append,
            own=run.own,
            judge=JudgeAccess(
                open_model=lambda name: run.journaled(name, purpose=JUDGE, stop=stop, held=held),
                calibration=lambda: latest_calibration(run.family, run.store),
            ),
            shelves=Shelves.of(run.store, run.models),
        )

    def wished_floors(self, *_: Any, **__: Any) -> tuple[()]:
        return ()

    def sensitivity(self, study: Study, family: Family, variants: Mapping[str, Variant], store: Store) -> None:
        return None


def _on_teaching(
    wish: CheckedStudyRequest,
    train: Sequence[Example],
    call: CallProfile,
    store: Store,
    models: ModelCatalogue,
) -> list[str]:
    """What it takes that a student learns from answers; nothing where labels teach it, or there is none.

    Raises InvalidInput where the answers may not teach.
    """
    family, searched = wish.family, searched_tiers(wish.names, wish.family)
    student = next((tier for tier in searched if is_student(models, tier)), None)
    if student is None or (teach := models.describe(student).teach) == "labels":
        return []
    model = str((wish.champion.policy.get("tiers") or searched)[-1])
    if (fault := teaching_fault(student, model, models)) is not None:
        raise InvalidInput(f"{fault[0].upper()}{fault[1:]}.", [Fault(pointer="/strategy", detail=fault)])
    with store.read() as tx:
        released = teaching_examples(family, store, tx, MOST_ROWS)
    teaching = asked_of_teacher(family.output, released, {example.id for example in train}, teach)
    if not teaching and teach == "both":
        return [f"Every released training example has a label, so no answer of {model} teaches the student."]
    price = models.price(model)
    usd_each = None if price is None else usd_of(call.typical_bytes / BYTES_PER_TOKEN, call.max_tokens / 2, price)
    about = "" if usd_each is None else f" (about {dollars(len(teaching) * usd_each)})"
    few = f" It takes {LEAST_ROWS} to learn from." if teach == "answers" and len(teaching) < LEAST_ROWS else ""
    n_others = len(asked_of_teacher(family.output, released, {one.id for one in released}, teach)) - len(teaching)
    more = f" n_train in the definition asks for more, of {n_others:,} others." if n_others else ""
    return [
        f"The student learns from {count(len(teaching), 'answer')} of {model} to released training examples{about},"
        f" which are among the calls of replay: none is made for this alone.{few}{more}"
    ]


def _judging(
    wish: CheckedStudyRequest, inputs: Mapping[str, str], examples: Sequence[Example], models: ModelCatalogue
) -> JudgingCost:
    """Raises BudgetTooSmall where the study has a cap, and a judge has no bounded price."""
    family, champion, space = wish.family, wish.champion, wish.space
    n_gate = policy_judgements(champion, space)
    judging = judging_cost(family, inputs, examples, longest_answer(champion, space), models.price, n_gate=n_gate)
    for name in judging.members:
        require_bounded(name, models.price(name), judge_of(family).max_tokens, wish.budget)
    return judging


def _check_definition(wish: CheckedStudyRequest) -> None:
    """Raises InvalidInput with every fault of what is to be searched."""
    family, definition = wish.family, wish.definition
    if keeps := [name for name in KEEP if getattr(definition, name) is not None]:
        detail = (
            f"{keeps[0]} asks for the knobs of a content pipeline, and {family.name!r} is of kind {family.kind}. Leave"
            " it out."
        )
        raise InvalidInput(detail, [Fault(pointer=f"/definition/{keeps[0]}", detail=detail)])
    if faults := list(space_policy_faults(definition.space or {}, family, "/definition")):
        raise InvalidInput("The space cannot be searched: " + "; ".join(f.detail for f in faults) + ".", faults)
    if REPLAY in wish.names and (faults := replay_faults(wish.space, "/definition")):
        raise InvalidInput("The space cannot be searched: " + "; ".join(f.detail for f in faults), faults)


def _check_models(wish: CheckedStudyRequest, models: ModelCatalogue) -> None:
    """Raises NotFound for an unknown model, and InvalidInput for one that the budget cannot bound or price, or for a
    proposer that nothing asks.
    """
    family, champion, space, budget = wish.family, wish.champion, wish.space, wish.budget
    model, tiers = str(champion.model["name"]), asked_tiers(wish.names, family, models)
    for name in models_of(champion, space, tiers):
        if is_student(models, name):
            continue
        limit = champion.model.get("max_tokens") or models.describe(name).max_output_tokens
        require_bounded(name, models.price(name), limit, budget)
        if wish.aim == "cost":
            # What names the model in a study, and what to do there in place of giving it a price.
            if name in models_of(champion, {}):
                comes_from, instead = f"the serving champion {champion.id}", serve_another(name, family)
            elif name in tiers:
                comes_from, instead = "model.tiers of the family's file", "take it out of model.tiers"
            else:
                comes_from, instead = "the space", "leave it out of the space"
            require_price(
                name, models.price(name), is_free_allowed=name != model, comes_from=comes_from, instead=instead
            )
    if writes(wish.names, space):
        _check_proposer(family, wish.definition.proposer or model, space, budget, models)
    elif wish.values.get("proposer") is not None:
        detail = (
            f"No strategy of this study ({wish.strategy}) writes an instruction over this space, "
            "so no proposer is asked. Leave it out, or name gepa, mipro, copro, simba or playbook."
        )
        raise InvalidInput(detail, [Fault(pointer="/proposer", detail=detail)])


def _check_examples(wish: CheckedStudyRequest, train: Sequence[Example], dev: Sequence[Example]) -> None:
    """Raises DatasetTooSmall where a proposer would see no example, or too few calls would be timed."""
    family, definition = wish.family, wish.definition
    # copro shows its proposer no example.
    if writes(wish.names, wish.space) and wish.names != (COPRO,) and not any(example.released for example in train):
        raise DatasetTooSmall(
            f"Cannot have an instruction for {family.name!r} written: a proposer sees released training examples only,"
            f" and none of {len(train)} is. Release some: detent review list --family {family.name}, or import with"
            " --curated examples that a person has checked."
        )
    if wish.aim == "latency" and len(dev) < MIN_TIMED:
        raise DatasetTooSmall(
            f"Cannot search {family.name!r} for latency: {count(len(dev), 'dev example')} of {definition.n_dev} asked"
            f" for, and fewer than {MIN_TIMED} timed calls say nothing. Ask for more in the definition (n_dev), or"
            " import more.",
            n_dev=len(dev),
            n_required=MIN_TIMED,
        )


def _check_proposer(
    family: Family, name: str, space: Mapping[str, Any], budget: Budget, models: ModelCatalogue
) -> None:
    """Checks the model that writes instructions.

    Raises:
        InvalidInput: the space does not let a study write instructions.
        NotFound: no such model.
        BudgetTooSmall: the study has a cap, and the model has no bounded price.
    """
    if not may_write(space):
        detail = (
            f"The space of {family.name!r} does not let a study write its instruction. "
            "Allow it in family.yaml or the study's definition: space: {instruction: {propose: true}}."
        )
        raise InvalidInput(detail, [Fault(pointer="/definition/space", detail=detail)])
    models.describe(name)
    require_bounded(name, models.price(name), PROPOSAL_TOKENS, budget)


def serve_another(model: str, family: Family) -> str:
    """How a champion that asks ``model`` is followed by one that does not."""
    adopt = f"detent family adopt {family.name} --confirm {family.name}"
    if family.model.default == model:
        other = f"name another model.default in the family's file, then: {adopt}"
        if len(family.served_tiers) < len(family.model.tiers):
            by_student = f"detent study run {family.name} --strategy replay --aim quality"
            return f"let its student answer where that is better, which asks for no dollars: {by_student}; or {other}"
        return other
    return (
        f"serve the file's {family.model.default!r}"
        f" first{', without model.tiers' if len(family.served_tiers) > 1 else ''}: {adopt}"
    )


def require_price(
    model: str, price: ModelPrice | None, *, is_free_allowed: bool, comes_from: str, instead: str
) -> None:
    """Raises InvalidInput where cost is the aim and cannot be told, or the champion's model leaves nothing to save."""
    if price is None or (not is_free_allowed and price.input_usd_per_mtok + price.output_usd_per_mtok <= 0):
        why = "has no price" if price is None else "costs nothing"
        detail = (
            f"Model {model!r} of {comes_from} {why}, so there are no dollars to save with it. Give it a price in"
            f" config/models.yaml, or {instead}."
        )
        raise InvalidInput(detail, [Fault(pointer="/aim", detail=detail)])


def _dearest(names: Sequence[str], typical_bytes: float, max_tokens: int, models: ModelCatalogue) -> ModelPrice | None:
    """The price of the model whose calls cost most; None where one is not known."""
    prices = [models.price(name) for name in names]
    known = [price for price in prices if price is not None]
    return None if len(known) < len(prices) else max(known, key=lambda price: usd_of(typical_bytes, max_tokens, price))


def _typical_bytes(
    champion: Variant, train: Sequence[Example], dev: Sequence[Example], family: Family, definition: Definition
) -> float:
    """A request of middle length with half of the examples a candidate may carry."""
    n = min(len(train), (definition.max_examples + 1) // 2)
    shots = tuple(FewShot(id=e.id, input=e.input, output="x" * 20) for e in train[:n])
    sizes = sorted(
        request_bytes(render(champion, e.input, declared=family.inputs)) + longest_nearest(champion, e.input)
        for e in dev[:50]
        if set(champion.variables) <= set(e.input)
    )
    middle = float(sizes[len(sizes) // 2]) if sizes else 1000.0
    inputs = dict.fromkeys(champion.variables, "")
    try:
        with_examples = longest_of(replace(champion, examples=(*champion.examples, *shots)), inputs) - longest_of(
            champion, inputs
        )
    except InvalidInput:  # no prompt may show this example; the search leaves it out
        with_examples = int(n * middle)
    return middle + with_examples


def _measured_seconds(family: Family, model: str, store: Store) -> Spread | None:
    """What calls took in this family's last study, by the journal; None without one."""
    with store.read() as tx:
        studies, _ = store.studies.page(tx, family=family.name, limit=5)
        for study in studies:
            times = [ms / 1000 for ms in store.journal.latencies(tx, study.id, model)]
            if len(times) >= 20:
                return Spread(
                    low=times[len(times) // 4], expected=sum(times) / len(times), high=times[len(times) * 3 // 4] * 1.5
                )
    return None


def _seconds_per_call(facts: ModelSettings, typical_bytes: float, max_tokens: int) -> Spread:
    if not facts.embedded:
        return REMOTE_SECONDS
    reading = typical_bytes / EMBEDDED_PROMPT_BYTES_PER_S
    writing = max_tokens / EMBEDDED_OUTPUT_TOKENS_PER_S
    # Shared prefixes are read once.
    return Spread(low=reading * 0.2, expected=reading * 0.5 + writing * 0.3, high=reading + writing)
