"""Creates a study: checks strategy, space and budget, fixes its dataset, and queues it.

Or, as a dry run, says what it would cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from math import ceil, inf
from typing import Annotated, Any

from pydantic import Field

from optimizer.core.base.answers import Json
from optimizer.core.base.errors import Conflict, Fault, InvalidInput
from optimizer.core.base.phrasing import count
from optimizer.core.base.values import Aim, Budget
from optimizer.core.dataset.examples import more_for_holdout, text_without_group
from optimizer.core.dataset.near_duplicates import near_duplicates
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import checked_budget
from optimizer.core.policy.nearest import needs_server
from optimizer.core.rollout.start import LABEL_WINDOW_DAYS, NEWEST
from optimizer.core.scheduling.monthly_budget import under
from optimizer.core.search.answer_bounds import calls_per_answer, judge_calls, policy_judgements, require_countable
from optimizer.core.search.call_estimate import answers_within, is_list_alone, is_raced, n_settings_within, tries_points
from optimizer.core.search.cost_estimate import CostEstimate, calls_within, confirmation_calls, holdout_size
from optimizer.core.search.move import check_move, space_of_move
from optimizer.core.search.space import most_points, n_listed, require_searchable
from optimizer.core.search.strategy import RACE, REPLAY, check_kind, check_strategy, searched_tiers
from optimizer.core.search.study import (
    ENOUGH,
    MOST,
    REMARKS,
    UNPRICED,
    Definition,
    Study,
    Trigger,
    listed_in_words,
    unreleased_in_words,
)
from optimizer.core.serving.rollout import is_frozen, require_unfrozen
from optimizer.jobs.calls.shelves import is_student, students_among
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.build_dataset import load_examples, train_examples
from optimizer.jobs.families.check_models import require_known_models
from optimizer.jobs.ids import new_id
from optimizer.jobs.request import FamilyRequest, Name, Positive, StrictModel
from optimizer.jobs.studies.kinds.kind import CheckedStudyRequest, StudyPlan, study_kind
from optimizer.jobs.studies.read_spending import left_this_month
from optimizer.jobs.studies.transitions import queue_study
from optimizer.ports import ModelCatalogue, Store

DEFAULT_CALLS = 1000
SMALL_POOL = 650  # of the tables measured, those with fewer rows saved half of what the rule could, or less
DEFAULT_BUDGET = Budget(calls=DEFAULT_CALLS)  # where no cap is given, since no study may spend without a limit


class BudgetBody(StrictModel):
    usd: Annotated[float, Field(ge=0)] | None = None
    calls: Annotated[int, Field(ge=0)] | None = None
    minutes: Positive | None = None


class StudyRequest(FamilyRequest):
    """What to search for and what it may spend, confirmation included."""

    strategy: Annotated[
        Name | None, Field(description="`confirm` searches nothing: it takes `variant` to the sealed holdout")
    ] = None
    variant: Annotated[Name | None, Field(description="With strategy confirm: which one")] = None
    aim: Aim | None = None
    budget: Annotated[BudgetBody | None, Field(description="Without any cap: 1,000 calls")] = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    space: dict[str, Json] | None = None
    proposer: Name | None = None
    move_to: Annotated[
        Name | None,
        Field(
            description=(
                "A model of config/models.yaml that is to take the place of the champion's: the study looks for the"
                " variant that keeps the champion's quality with it, and says whether it is safe to switch"
            )
        ),
    ] = None
    definition: Annotated[
        dict[str, Json],
        Field(description="Sizes such as n_train, n_dev, n_holdout, n_candidates, n_settings, max_examples"),
    ] = {}  # noqa: RUF012
    dry_run: bool = False


def create_study(context: Context, request: StudyRequest, *, trigger: Trigger | None = None) -> Study | CostEstimate:
    """The queued study, or with ``dry_run`` its Estimate (which writes and spends nothing).

    Without an aim it has that of its kind. Its dollars keep to what all families' studies together may spend in a
    calendar month, as settings say, and to the family's own limit, which is in its file.

    Args:
        trigger: why it starts by itself; None when a user asks for it.
    Raises:
        InvalidInput: unknown strategy, one that has another aim, a model without price where cost is the aim, a
            definition or space that cannot be read, a budget that is no budget, a move to where the champion is.
        InvalidFamily: the family's file as it stands has a fault, which a study that starts by itself passes over; it
            names a model that is in no models file. NotFound: the champion does, or the
            definition.
        Conflict: the family has no champion yet, has a study that has not ended, or is frozen.
        DatasetTooSmall, BudgetTooSmall: with figures, before anything is spent. A monthly limit is a cap in dollars for
            every study: where it is set, a model without a known price is not asked.
    """
    store, clock, models = context.store, context.clock, context.models()
    # A study that starts by itself goes on by the file's last good text, which serves.
    family = context.sound_family(request.family, "be searched") if trigger is None else context.family(request.family)
    budget = Budget(**(request.budget or BudgetBody()).model_dump())
    budget = DEFAULT_BUDGET if budget == Budget() else budget
    options = {"space": request.space, "proposer": request.proposer, "move_to": request.move_to}
    definition = {**request.definition, **{name: value for name, value in options.items() if value is not None}}
    act = f"start a study of {family.name}"
    if not request.dry_run:
        with store.read() as tx:
            require_unfrozen(store.freezes.all(tx), family.name, act)
    with store.read() as tx:
        caps = under(left_this_month(tx, context, family), checked_budget(budget))
    kind = study_kind(family)
    aim = request.aim or kind.aim(family, definition, store)
    is_moved = definition.get("move_to") is not None
    strategy = request.strategy or kind_of(family).default_strategy(family, is_moved=is_moved)
    require_known_models(family, models)
    wish, plan = _planned(_checked_wish(family, strategy, aim, caps, definition, store), store, models)
    if request.dry_run:
        return _with_remarks(plan.estimate, wish, plan.dataset, context)
    findings: dict[str, Any] = {
        ENOUGH: plan.estimate.enough,
        REMARKS: list(plan.estimate.remarks),
        UNPRICED: [name for name in plan.estimate.models if models.price(name) is None],
    }
    study = Study(
        id=new_id("st"),
        family=family.name,
        strategy="+".join(wish.names),
        aim=aim,
        status="queued",
        seed=request.seed,
        budget=plan.budget,
        definition={k: v for k, v in asdict(wish.definition).items() if v is not None},
        champion=wish.champion_id,
        created_at=clock.now(),
        created_by=context.actor,
        dataset=plan.dataset,
        simulated_clock=clock.scale != 1.0,
        trigger=trigger,
        findings={name: value for name, value in findings.items() if value} or None,
    )

    detail: dict[str, Any] = {"strategy": study.strategy, "seed": request.seed, "dataset": plan.dataset["hash"]}
    if trigger is not None:
        detail |= {"trigger": trigger.kind, "reason": trigger.reason}
    return queue_study(context, family, study, action="study_create", act=act, detail=detail)


def _with_remarks(
    estimate: CostEstimate, wish: CheckedStudyRequest, dataset: Mapping[str, Any], context: Context
) -> CostEstimate:
    """What a dry run says beside the cost: of the rows, and of a freeze under which the study would be refused."""
    remarks, store, tiers = [*estimate.remarks], context.store, searched_tiers(wish.names, wish.family)
    with store.read() as tx:
        freeze = is_frozen(store.freezes.all(tx), wish.family.name)
        n_decided = store.exposures.decided_in_process(tx, wish.family.name, wish.champion_id)
        since = context.clock.now() - timedelta(days=LABEL_WINDOW_DAYS)
        _, n_reported = store.observations.reporters(tx, wish.family.name, since, NEWEST)
    has_student = any(is_student(context.models(), tier) for tier in tiers)  # what else a policy says others can do
    if tiers and (n_decided or (n_reported and has_student)) and not needs_server(wish.champion):
        prompt = "+".join(name for name in wish.names if name != REPLAY)
        remarks.append(
            f"Applications call the model of {wish.family.name} themselves, and a winner with tiers is the server's to"
            " carry out: its rollout would be refused. Search the prompt alone"
            f"{f': --strategy {prompt}' if prompt else ''}, or send chats to POST /v1/chat/completions."
        )
    n_instructions = n_listed(wish.space, wish.champion)
    is_given = wish.values.get("n_settings") is not None
    listed = listed_in_words(n_instructions, wish.n_points, wish.definition.n_settings, is_given=is_given)
    if tries_points(wish.names) and listed is not None:
        remarks.append(listed)
    if freeze is not None:
        remarks.append(f"No study would start while {freeze.sentence}.")
    if kind_of(wish.family).asks_models:
        train, dev = load_examples(wish.family, dataset, store)
        rows = [*train, *dev]
        alike = near_duplicates({e.id: text for e in rows if (text := text_without_group(e))})
        if (unreleased := unreleased_in_words(wish.family.name, dataset.get("n_unreleased", 0))) is not None:
            remarks.append(unreleased)
        if tuple(wish.names) == (REPLAY,) and wish.aim == "cost" and len(rows) < SMALL_POOL:
            remarks.append(
                f"Thresholds are searched on {count(len(rows), 'example')}, which is few: on recorded tables with about"
                " 160 and 406 a study saved .24 and .49 of what its rule saves without a sealed holdout, with 657 or"
                " more .85 to .93 (docs/reference/commands-measured.md). Import more examples."
            )
        remarks += [alike.text] if alike is not None else []
        n, needed = len(dataset["holdout"]), wish.family.rollout.gates.n
        if wish.definition.n_holdout and n < needed:  # without one the study is not to look at it
            remarks.append(
                f"The study nominates nothing: its confirmation has {count(n, 'holdout example')}, and rollout.gates.n"
                f" asks for {needed}. Import about {more_for_holdout(needed - n)} more (one in five is sealed), or"
                " lower it."
            )
    left_out = {name: dataset[name] for name in ("truncated", "n_refused", "n_unreleased") if name in dataset}
    return replace(estimate, **left_out, remarks=remarks)


def _checked_wish(
    family: Family, strategy: str, aim: Aim, budget: Budget, values: Mapping[str, Any], store: Store
) -> CheckedStudyRequest:
    names = check_strategy(strategy, aim)
    check_kind(names, family, aim)
    definition = parse_definition(family, values, names)
    with store.read() as tx:
        current = store.champions.current(tx, family.name)
        record = store.variants.get(tx, family.name, current.variant) if current else None
    if current is None or record is None:
        raise Conflict(
            f"Family {family.name!r} has no champion to search from yet. The first is made from its file when the"
            f" server or worker starts; see `detent family validate {family.name}`."
        )
    champion_id, champion = current.variant, record.variant
    if definition.move_to is not None:
        definition = _moving(family, champion, names, aim, definition)
    space = definition.space_over(family.space)
    require_searchable(space, family.inputs)
    if kind_of(family).asks_models:
        require_countable(space)
    return CheckedStudyRequest(
        family=family,
        strategy=strategy,
        names=names,
        aim=aim,
        budget=budget,
        values=values,
        definition=definition,
        space=space,
        n_points=most_points(space, champion, max_examples=definition.max_examples),
        is_list_alone=False,
        champion_id=champion_id,
        champion=champion,
    )


def _planned(wish: CheckedStudyRequest, store: Store, models: ModelCatalogue) -> tuple[CheckedStudyRequest, StudyPlan]:
    """The request, with as many points as its caps pay for where it does not say how many; and its plan."""
    kind, calls = study_kind(wish.family), wish.budget.calls
    has_points = wish.n_points < inf or n_listed(wish.space, wish.champion) > 0  # whose number the caps decide
    if has_points and wish.values.get("n_settings") is None and tries_points(wish.names):
        if Budget(calls=calls) != wish.budget:  # what other caps pay for is known once a call has its price
            calls = calls_within(wish.budget, kind.plan(wish, store, models).estimate)
        wish = _with_points(wish, DEFAULT_CALLS if calls is None else calls, store, models)
    return wish, kind.plan(wish, store, models)


def _with_points(wish: CheckedStudyRequest, calls: int, store: Store, models: ModelCatalogue) -> CheckedStudyRequest:
    """The request with as many points as ``calls`` pay for, the confirmation's among them."""
    family, names, definition = wish.family, wish.names, wish.definition
    space, champion = wish.space, wish.champion
    students = students_among(models, [champion], space)
    per_answer = calls_per_answer(champion, space, students=students) if kind_of(family).asks_models else 1
    judging = judge_calls(family, policy_judgements(champion, space))
    with store.read() as tx:  # a set of examples takes no calls where there is none to show
        n_train, counts = len(train_examples(family, store, tx)), store.examples.counts(tx, family.name)
    n_holdout = holdout_size(counts.get("holdout", 0), definition)
    n_confirmation = confirmation_calls(n_holdout, per_answer + ceil(judging.high))
    per_answer += ceil(judging.expected)
    answers = answers_within(calls, n_confirmation=n_confirmation, per_answer=per_answer)
    n_dev = max(1, min(definition.n_dev, counts.get("dev", 0)))
    sized = replace(definition, n_train=min(definition.n_train, n_train), n_dev=n_dev)
    # Without a cap on calls joint does not race, and where other caps end a race it holds back champion's and leader's.
    at_most = None if wish.budget.calls is None else 0
    may_race = is_raced(names, wish.aim, definition, calls=at_most, n_dev=n_dev)
    if may_race and calls != wish.budget.calls:
        answers = max(0, answers - 2 * n_dev)
    within: dict[str, Any] = {"may_race": may_race, "space": space, "champion": champion}
    is_alone = all(wish.values.get(name) is None for name in ("n_candidates", "max_examples")) and is_list_alone(
        answers, names, sized, **within
    )
    if is_alone:
        definition, sized = (replace(one, n_candidates=0, max_examples=0) for one in (definition, sized))
    return replace(
        wish,
        definition=replace(definition, n_settings=n_settings_within(answers, names, sized, **within)),
        n_points=most_points(space, champion, max_examples=definition.max_examples),
        is_list_alone=is_alone,
    )


def _moving(family: Family, champion: Variant, names: Sequence[str], aim: Aim, definition: Definition) -> Definition:
    """The definition of a study that looks for a way to another model, which also writes its instructions.

    Raises InvalidInput where the family asks no model, something else is the aim, or there is nothing to move.
    """
    model = str(definition.move_to)
    detail = None
    if not kind_of(family).asks_models:
        detail = f"Family {family.name!r} is of kind {family.kind}, and its answers come from no model."
    elif aim != "quality":
        detail = (
            f"A move to another model asks whether quality is kept, with dollars and latency beside it; aim {aim} is"
            " another search. Leave the aim out."
        )
    if detail is not None:
        raise InvalidInput(detail, [Fault(pointer="/move_to", detail=detail)])
    check_move(champion, model, unusable=[name for name in names if name in (RACE, REPLAY)])
    space = space_of_move(definition.space_over(family.space), model)
    return replace(definition, space=space, proposer=definition.proposer or model)


def parse_definition(family: Family, values: Mapping[str, Any], strategies: Sequence[str] = ()) -> Definition:
    """The definition with the family's defaults: gates.n holdout examples, its proposer, the examples its
    space allows.
    """
    most = family.space.get("examples", {}).get("max")
    proposer = {"proposer": family.model.proposer} if family.model.proposer is not None else {}
    definition = Definition.parse(values, MOST, **kind_of(family).study_sizes(family, strategies), **proposer)
    return replace(definition, max_examples=min(definition.max_examples, most)) if isinstance(most, int) else definition
