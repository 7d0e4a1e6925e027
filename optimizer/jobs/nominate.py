"""Nominates a Variant of a study as the candidate of a rollout.

What the study itself has confirmed is nominated as it stands. Any other point of its search, or the same one for another aim, needs a look
at the sealed holdout of its own: a study that searches nothing and only confirms, with all that makes studies safe (budget, journal,
resume, one at a time).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from optimizer.core.errors import Conflict, GateNotMet, InvalidInput, NotFound
from optimizer.core.estimate import confirmation_calls, confirmation_usd, longest_allowed, longest_inputs
from optimizer.core.family import Family
from optimizer.core.freezes import require_unfrozen
from optimizer.core.spending import MonthlyLimits, under
from optimizer.core.strategy import CONFIRM
from optimizer.core.study import UNFINISHED, Aim, Budget, Definition, Study
from optimizer.jobs.build_dataset import build_dataset, load_examples
from optimizer.jobs.create_study import require_price
from optimizer.jobs.ids import new_id
from optimizer.jobs.read_spending import monthly_left
from optimizer.jobs.study_run import variant_of
from optimizer.ports import Clock, ModelCatalogue, Store, Transaction

CALLS_TO_SPARE = 0.2  # of the confirmation: a kill may lose calls in flight, and each counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one more look costs: calls, at most so many dollars (None: a model has no price), and which look at the holdout it is."""

    study: str
    variant: str
    aim: Aim
    n_calls: int
    usd_at_most: float | None
    look: int


def nominate(
    study_id: str,
    *,
    variant: str,
    aim: Aim,
    family: Family,
    actor: str,
    store: Store,
    clock: Clock,
    models: ModelCatalogue,
    dry_run: bool = False,
    usd_per_month: float | None = None,
) -> Study | Price:
    """The study that speaks for ``variant``: this one where it has confirmed it for ``aim``, else a new one that confirms it.

    Safe to repeat. With ``dry_run`` the Price of a new one, which writes and spends nothing.

    Raises:
        NotFound: no such study, or the variant is none of its trials.
        Conflict: the study or another of the family has not ended, the family is frozen, or the variant is its champion.
        GateNotMet: this study has confirmed the variant for this aim, and a gate is not met.
        InvalidInput: the variant has not met every dev example of the study, or cost is the aim and its model has no price.
        DatasetTooSmall, BudgetTooSmall: with figures, before anything is spent.
    """
    with store.read() as tx:
        study = store.studies.get(tx, study_id)
        trials = store.studies.trials(tx, study_id) if study else []
    if study is None:
        raise NotFound(f"There is no study {study_id!r}; `detent study list` shows those that exist.")
    if study.status in UNFINISHED:
        raise Conflict(f"Study {study_id} is {study.status}; what it nominates is decided when it ends.", status=study.status)
    if variant == study.winner and aim == study.aim and study.confirmation:
        return _as_confirmed(study, variant)
    trial = next((t for t in trials if t.variant == variant), None)
    if trial is None:
        raise NotFound(f"{variant} is no trial of study {study_id}; `detent study show {study_id}` lists its trials.")
    if trial.status != "complete" or trial.score is None:
        raise InvalidInput(
            f"{variant} has not been measured on every dev example of study {study_id}; only a variant that has can be nominated."
        )
    return _look(study, variant, aim, family, actor, store, clock, models, dry_run, usd_per_month)


def _as_confirmed(study: Study, variant: str) -> Study:
    if study.outcome != "nominated":
        failed = [g["name"] for g in (study.confirmation or {}).get("gates", []) if g["verdict"] != "pass"]
        raise GateNotMet(
            f"{variant} was confirmed on the holdout and did not pass: {', '.join(failed)}. A person may start it as forced: "
            f"detent rollout start {study.family} {variant} --confirm {study.family}.",
            gates=failed,
        )
    return study


def _look(
    searched: Study,
    variant: str,
    aim: Aim,
    family: Family,
    actor: str,
    store: Store,
    clock: Clock,
    models: ModelCatalogue,
    dry_run: bool,
    usd_per_month: float | None,
) -> Study | Price:
    definition = Definition.parse(searched.definition)
    candidate = variant_of(store, family.name, variant)
    with store.read() as tx:
        reigning = store.champions.current(tx, family.name)
    if reigning is None or reigning.variant == variant:
        raise Conflict(
            f"{variant} is the champion of {family.name} already." if reigning else f"{family.name} has no champion to compare with."
        )
    champion = variant_of(store, family.name, reigning.variant)
    if aim == "cost":
        for name in {str(champion.model["name"]), str(candidate.model["name"])}:
            require_price(name, models.price(name))
    dataset = build_dataset(family, definition, store)
    train, dev = load_examples(family, dataset, store)
    inputs = longest_inputs(family, [*train, *dev])
    longest = max(longest_allowed(one, inputs, definition) for one in (champion, candidate))
    n_calls, space = confirmation_calls(len(dataset["holdout"])), family.space if definition.space is None else definition.space
    usd = confirmation_usd(champion, space, n_calls=n_calls, longest_bytes=longest, price_of=models.price)
    with store.read() as tx:
        look = store.examples.looks(tx, family.name, dataset["holdout"]) + 1
    if dry_run:
        return Price(study=searched.id, variant=variant, aim=aim, n_calls=n_calls, usd_at_most=usd, look=look)
    now = clock.now()
    spare = 1 + CALLS_TO_SPARE
    budget = Budget(calls=int(n_calls * spare), usd=None if usd is None else usd * spare)
    limits = MonthlyLimits(family_usd=family.budget.usd_per_month, all_usd=usd_per_month)
    study = Study(
        id=new_id("st"), family=family.name, strategy=CONFIRM, aim=aim, status="confirming", seed=searched.seed, budget=budget,
        definition=searched.definition, champion=reigning.variant, winner=variant, created_at=now, created_by=actor, dataset=dataset,
        simulated_clock=clock.scale != 1.0,
    )  # fmt: skip

    def add(tx: Transaction) -> None:
        require_unfrozen(store.freezes.all(tx), family.name, f"nominate {variant}")
        under(monthly_left(tx, store, clock, family.name, limits), study.budget)
        store.studies.add(tx, study)
        detail = {"study": searched.id, "variant": variant, "aim": aim, "budget": asdict(budget), "look": look}
        store.audit.add(tx, at=now, actor=actor, action="study_nominate", family=family.name, subject=study.id, detail=detail)

    store.write(add)
    return study
