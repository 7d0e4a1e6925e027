"""Creates a study: checks strategy, space and budget, fixes its dataset, and queues it. Or, as a dry run, says what it would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from optimizer.core.budget import require_a_proposal, require_bounded
from optimizer.core.dataset import Example
from optimizer.core.errors import Conflict, DatasetTooSmall, Fault, InvalidInput
from optimizer.core.estimate import (
    Estimate,
    asks_again,
    calls_per_answer,
    confirmation_calls,
    confirmation_usd,
    estimate_study,
    longest_allowed,
    longest_inputs,
    longest_of,
    models_of,
    replay_estimate,
    request_bytes,
    search_budget,
)
from optimizer.core.family import Family
from optimizer.core.family_policy import slot_faults
from optimizer.core.freezes import require_unfrozen
from optimizer.core.language import PROPOSAL_TOKENS, ModelPrice
from optimizer.core.objective import MIN_TIMED
from optimizer.core.policy.faults import space_policy_faults
from optimizer.core.policy.learned import replay_faults
from optimizer.core.rendering import render
from optimizer.core.search_calls import expected_calls, trials_of
from optimizer.core.space import parse_space
from optimizer.core.spending import MonthlyLimits, under
from optimizer.core.spread import Spread
from optimizer.core.strategy import (
    COPRO,
    REPLAY,
    check_kind,
    check_strategy,
    default_strategy,
    may_write,
    searched_tiers,
    writes,
)
from optimizer.core.study import ENOUGH, KEEP, Aim, Budget, Definition, Study, Trigger
from optimizer.core.variant import FewShot, Variant
from optimizer.core.words import count
from optimizer.jobs.aim_of_study import aim_of_study
from optimizer.jobs.build_dataset import build_dataset, load_examples
from optimizer.jobs.check_models import require_known_models
from optimizer.jobs.ids import new_id
from optimizer.jobs.read_spending import monthly_left
from optimizer.ports import Clock, ModelCatalogue, ModelFacts, Store, Transaction

DEFAULT_BUDGET = Budget(calls=1000)  # where nobody names a cap: no study may spend without end
ASKED_OF_TIERS = 1_200  # training examples at most that every tier of a cascade answers, and a third of it in dev and holdout
STEPS_TESTED = 16  # proposals of a cascade that one look may test in sequence: more steps keep hardly more, and each costs time
REPLAYED_ON = 10_000  # recorded items of either split at most, where nothing is paid for one
EMBEDDED_PROMPT_BYTES_PER_S = 235 * 4.0  # one thread of a busy machine: 235 prompt tokens and 100 generated ones a second
EMBEDDED_OUTPUT_TOKENS_PER_S = 100.0
REMOTE_SECONDS = Spread(low=0.5, expected=1.5, high=6.0)  # of a provider nobody has measured here yet


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A study worked out to the last figure, before anything is written."""

    strategy: str
    definition: Definition
    budget: Budget
    champion: str
    dataset: Mapping[str, Any]
    estimate: Estimate


def create_study(
    family: Family,
    *,
    strategy: str | None = None,
    aim: Aim | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    definition: Mapping[str, Any] | None = None,
    actor: str,
    store: Store,
    clock: Clock,
    models: ModelCatalogue,
    dry_run: bool = False,
    trigger: Trigger | None = None,
    usd_per_month: float | None = None,
) -> Study | Estimate:
    """The queued study, or with ``dry_run`` its Estimate (which writes and spends nothing).

    Args:
        aim: None: as ``aim_of_study`` has it.
        trigger: why it starts by itself; None when somebody asks for it.
        usd_per_month: what all families' studies together may spend in a calendar month; the family's own limit is in its file.
    Raises:
        InvalidInput: unknown strategy, one that has another aim, a model without price where cost is the aim, a definition or space that cannot be read, a budget that is no budget.
        InvalidFamily: the family's file names a model that is in no models file. NotFound: the champion does, or the definition.
        Conflict: the family has no champion yet, has a study that has not ended, or is frozen.
        DatasetTooSmall, BudgetTooSmall: with figures, before anything is spent. A monthly limit is a cap in dollars for every study:
            where it is set, a model without a known price is not asked.
    """
    if not 0 <= seed < 2**32:
        raise InvalidInput(f"A seed is a whole number from 0 to 4294967295, not {seed}.")
    if not dry_run:
        with store.read() as tx:
            require_unfrozen(store.freezes.all(tx), family.name, f"start a study of {family.name}")
    limits = MonthlyLimits(family_usd=family.budget.usd_per_month, all_usd=usd_per_month)
    with store.read() as tx:
        caps = under(monthly_left(tx, store, clock, family.name, limits), _checked(budget or DEFAULT_BUDGET))
    aim = aim or aim_of_study(family, definition or {}, store)
    plan = _plan(family, strategy or default_strategy(family), aim, caps, definition or {}, store, models)
    if dry_run:
        return plan.estimate
    now = clock.now()
    study = Study(
        id=new_id("st"),
        family=family.name,
        strategy=plan.strategy,
        aim=aim,
        status="queued",
        seed=seed,
        budget=plan.budget,
        definition={k: v for k, v in asdict(plan.definition).items() if v is not None},
        champion=plan.champion,
        created_at=now,
        created_by=actor,
        dataset=plan.dataset,
        simulated_clock=clock.scale != 1.0,
        trigger=trigger,
        findings={ENOUGH: plan.estimate.enough} if plan.estimate.enough else None,
    )

    def add(tx: Transaction) -> Study:
        under(monthly_left(tx, store, clock, family.name, limits), study.budget)  # another study may have begun meanwhile
        store.studies.add(tx, study)
        detail: dict[str, Any] = {"strategy": study.strategy, "budget": asdict(study.budget), "seed": seed, "dataset": plan.dataset["hash"]}
        if trigger is not None:
            detail |= {"trigger": trigger.kind, "reason": trigger.reason}
        store.audit.add(tx, at=now, actor=actor, action="study_create", family=family.name, subject=study.id, detail=detail)
        return study

    return store.write(add)


def _plan(
    family: Family, strategy: str, aim: Aim, budget: Budget, values: Mapping[str, Any], store: Store, models: ModelCatalogue
) -> _Plan:
    names = check_strategy(strategy, aim)
    check_kind(names, family, aim)
    require_known_models(family, models)
    definition = parse_definition(family, values, names)
    champion_id, champion = _champion(family, store)
    space = definition.space_over(family.space)
    parse_space(space, champion, max_examples=definition.max_examples)
    if family.kind == "policy":
        _check_knobs(space)
        dataset = build_dataset(family, definition, store)
        estimate = replay_estimate(definition, len(dataset["train"]))
        nothing = Budget(usd=0.0, calls=0, minutes=budget.minutes)  # so that it holds no money back from others
        return _Plan(strategy=REPLAY, definition=definition, budget=nothing, champion=champion_id, dataset=dataset, estimate=estimate)
    if kept := [name for name in KEEP if getattr(definition, name) is not None]:
        detail = f"{kept[0]} asks for the knobs of a content pipeline, and {family.name!r} is of kind {family.kind}. Leave it out."
        raise InvalidInput(detail, [Fault(pointer=f"/definition/{kept[0]}", detail=detail)])
    if faults := list(space_policy_faults(definition.space or {}, family, "/definition")):
        raise InvalidInput("The space cannot be searched: " + "; ".join(f.detail for f in faults) + ".", faults)
    if REPLAY in names and (faults := replay_faults(space, "/definition")):
        raise InvalidInput("The space cannot be searched: " + "; ".join(f.detail for f in faults), faults)
    model = str(champion.model["name"])
    facts, price = models.describe(model), models.price(model)
    tiers = searched_tiers(names, family)
    for name in models_of(champion, space, tiers):
        limit = champion.model.get("max_tokens") or models.describe(name).max_output_tokens
        require_bounded(name, models.price(name), limit, budget)
        if aim == "cost":
            comes_from, instead = _source_of(name, champion, family, tiers)
            require_price(name, models.price(name), is_free_allowed=name != model, comes_from=comes_from, instead=instead)
    is_written = writes(names, space)
    if is_written:
        _check_proposer(family, definition.proposer or model, space, budget, models)
    elif values.get("proposer") is not None:
        detail = f"Nobody writes an instruction in a study of strategy {strategy} over this space, so no proposer is asked. Leave it out, or name gepa, mipro, copro or simba."
        raise InvalidInput(detail, [Fault(pointer="/proposer", detail=detail)])
    dataset = build_dataset(family, definition, store)
    train, dev = load_examples(family, dataset, store)
    if is_written and names != (COPRO,) and not any(example.released for example in train):  # copro shows its proposer no example
        raise DatasetTooSmall(
            f"Cannot have an instruction for {family.name!r} written: a proposer sees released training examples only, and none of {len(train)} is. "
            f"Release some: detent review list --family {family.name}, or import with --curated what somebody vouches for."
        )
    if aim == "latency" and len(dev) < MIN_TIMED:
        raise DatasetTooSmall(
            f"Cannot search {family.name!r} for latency: {count(len(dev), 'dev example')} of {definition.n_dev} asked for, and fewer than {MIN_TIMED} timed calls say nothing. "
            "Ask for more in the definition (n_dev), or import more.",
            n_dev=len(dev),
            n_required=MIN_TIMED,
        )
    per_answer = calls_per_answer(champion, space, tiers)
    inputs = longest_inputs(family, [*train, *dev])
    longest = longest_allowed(champion, inputs, definition, is_written=is_written, is_asked_again=asks_again(champion, space))
    n_confirmation = confirmation_calls(len(dataset["holdout"]), per_answer)
    typical = _typical_bytes(champion, train, dev, family, definition)
    max_tokens = int(champion.model.get("max_tokens") or 0)
    seconds = _seconds_per_call(facts, typical, max_tokens) if (known := _measured_seconds(family, model, store)) is None else known
    concurrency = facts.concurrency if not facts.embedded else facts.processes if isinstance(facts.processes, int) else 1
    parts = expected_calls(
        names,
        definition,
        n_train=len(train),
        n_dev=len(dev),
        n_holdout=len(dataset["holdout"]),
        n_champion_examples=len(champion.examples),
        is_written=is_written,
        per_answer=per_answer,
        n_tiers=len(tiers),
    )
    estimate = estimate_study(
        parts,
        budget=budget,
        n_trials=trials_of(names, definition),
        n_confirmation=n_confirmation,
        longest_bytes=longest,
        typical_bytes=typical,
        max_tokens=max_tokens,
        price=price,
        reserved_usd=confirmation_usd(champion, space, n_calls=n_confirmation, longest_bytes=longest, price_of=models.price, tiers=tiers),
        seconds_per_call=seconds,
        concurrency=concurrency,
        proposals_price=models.price(definition.proposer or model) if is_written else None,
    )
    left = search_budget(
        budget,
        n_confirmation=n_confirmation,
        reserved_usd=estimate.reserved_usd,
        n_dev=len(dev),
        seconds_per_call=None if known is None else known.expected / concurrency,
    )
    if is_written:
        proposer = definition.proposer or model
        require_a_proposal(proposer, models.price(proposer), PROPOSAL_TOKENS, left)
    writer = [definition.proposer or model] if is_written else []
    asked = tuple(dict.fromkeys([*models_of(champion, space, tiers), *writer]))
    estimate = replace(estimate, models=asked)
    return _Plan(strategy="+".join(names), definition=definition, budget=budget, champion=champion_id, dataset=dataset, estimate=estimate)


def _check_knobs(space: Mapping[str, Any]) -> None:
    """Raises InvalidInput where a study's own space varies what is no knob of a policy, or leaves its range."""
    faults = [replace(f, pointer=f"/definition{f.pointer}") for slot, entry in space.items() for f in slot_faults(slot, entry)]
    if faults:
        raise InvalidInput("The space cannot be searched: " + "; ".join(f.detail for f in faults), faults)


def _check_proposer(family: Family, name: str, space: Mapping[str, Any], budget: Budget, models: ModelCatalogue) -> None:
    """Raises InvalidInput where nobody may write instructions, NotFound for an unknown model, BudgetTooSmall for one without a bounded price under a cap."""
    if not may_write(space):
        detail = (
            f"The space of {family.name!r} lets nobody write its instruction. Allow it in family.yaml or the study's definition: "
            "space: {instruction: {propose: true}}."
        )
        raise InvalidInput(detail, [Fault(pointer="/definition/space", detail=detail)])
    models.describe(name)
    require_bounded(name, models.price(name), PROPOSAL_TOKENS, budget)


def parse_definition(family: Family, values: Mapping[str, Any], strategies: Sequence[str] = ()) -> Definition:
    """The definition with the family's own defaults: gates.n holdout examples, its proposer, at most the examples its space allows.

    Thresholds of a cascade are found on every example there is, within reason, and so is their loss: each is asked about once per tier, and
    what 80 examples prove is mostly nothing.
    """
    most = family.space.get("examples", {}).get("max")
    proposer = {"proposer": family.model.proposer} if family.model.proposer is not None else {}
    sizes = {"n_holdout": family.rollout.gates.n}
    if family.kind == "policy":  # nothing is paid for an item
        sizes = {"n_train": REPLAYED_ON, "n_dev": REPLAYED_ON, "n_holdout": 2 * family.rollout.gates.n}
    elif tuple(strategies) == (REPLAY,):
        n_holdout = max(ASKED_OF_TIERS // 3, family.rollout.gates.n)
        sizes = {"n_train": ASKED_OF_TIERS, "n_dev": ASKED_OF_TIERS // 3, "n_holdout": n_holdout, "n_settings": STEPS_TESTED}
    definition = Definition.parse(values, **sizes, **proposer)
    return replace(definition, max_examples=min(definition.max_examples, most)) if isinstance(most, int) else definition


def _checked(budget: Budget) -> Budget:
    for name, value in asdict(budget).items():
        if value is not None and not (value >= 0 and value < float("inf")):
            raise InvalidInput(
                f"A budget of {value} {name} is no budget; give a number of 0 or more, or leave it out for no cap of that kind."
            )
    return budget


def _source_of(model: str, champion: Variant, family: Family, tiers: Sequence[str]) -> tuple[str, str]:
    """What names the model in a study, and what to do there in place of giving it a price."""
    if model in models_of(champion, {}):
        return f"the serving champion {champion.id}", serve_another(model, family)
    if model in tiers:
        return "model.tiers of the family's file", "take it out of model.tiers"
    return "the space", "leave it out of the space"


def serve_another(model: str, family: Family) -> str:
    """How a champion that asks ``model`` is followed by one that does not."""
    adopt = f"detent family adopt {family.name} --confirm {family.name}"
    if family.model.default == model:
        return f"name another model.default in the family's file, then: {adopt}"
    return f"serve the file's {family.model.default!r} first{', without model.tiers' if len(family.model.tiers) > 1 else ''}: {adopt}"


def require_price(model: str, price: ModelPrice | None, *, is_free_allowed: bool, comes_from: str, instead: str) -> None:
    """Raises InvalidInput where cost is the aim and cannot be told, or the champion's model leaves nothing to save."""
    if price is None or (not is_free_allowed and price.input_usd_per_mtok + price.output_usd_per_mtok <= 0):
        why = "has no price" if price is None else "costs nothing"
        detail = f"Model {model!r} of {comes_from} {why}, so there are no dollars to save with it. Give it a price in config/models.yaml, or {instead}."
        raise InvalidInput(detail, [Fault(pointer="/aim", detail=detail)])


def _champion(family: Family, store: Store) -> tuple[str, Variant]:
    with store.read() as tx:
        champion = store.champions.current(tx, family.name)
        record = store.variants.get(tx, family.name, champion.variant) if champion else None
    if champion is None or record is None:
        raise Conflict(
            f"Family {family.name!r} has no champion to search from yet. The first is made from its file when the server or worker starts; "
            f"see `detent family validate {family.name}`."
        )
    return champion.variant, record.variant


def _typical_bytes(champion: Variant, train: Sequence[Example], dev: Sequence[Example], family: Family, definition: Definition) -> float:
    """A request of middle length with half of the examples a candidate may carry."""
    n = min(len(train), (definition.max_examples + 1) // 2)
    shots = tuple(FewShot(id=e.id, input=e.input, output="x" * 20) for e in train[:n])
    sizes = sorted(
        request_bytes(render(champion, e.input, declared=family.inputs)) for e in dev[:50] if set(champion.variables) <= set(e.input)
    )
    middle = float(sizes[len(sizes) // 2]) if sizes else 1000.0
    inputs = {name: "" for name in champion.variables}
    try:
        with_examples = longest_of(replace(champion, examples=(*champion.examples, *shots)), inputs) - longest_of(champion, inputs)
    except InvalidInput:  # an example that may not stand in a prompt; the search leaves it out
        with_examples = int(n * middle)
    return middle + with_examples


def _measured_seconds(family: Family, model: str, store: Store) -> Spread | None:
    """What calls took in this family's last study, by the journal; None without one."""
    with store.read() as tx:
        studies, _ = store.studies.page(tx, family=family.name, limit=5)
        for study in studies:
            times = [ms / 1000 for ms in store.journal.latencies(tx, study.id, model)]
            if len(times) >= 20:
                return Spread(low=times[len(times) // 4], expected=sum(times) / len(times), high=times[len(times) * 3 // 4] * 1.5)
    return None


def _seconds_per_call(facts: ModelFacts, typical_bytes: float, max_tokens: int) -> Spread:
    if not facts.embedded:
        return REMOTE_SECONDS
    reading = typical_bytes / EMBEDDED_PROMPT_BYTES_PER_S
    writing = max_tokens / EMBEDDED_OUTPUT_TOKENS_PER_S
    return Spread(low=reading * 0.2, expected=reading * 0.5 + writing * 0.3, high=reading + writing)  # shared prefixes are read once
