"""Finds models that a family's file names and config/models.yaml does not: a fault of the family in any case. Warns of
those that their provider retires, as long before as a search and a rollout with another one take.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date, timedelta
from typing import Literal

from optimizer.core.base.errors import Conflict, DetentError, Fault, InvalidFamily, NotFound
from optimizer.core.family.closed_fields import open_field, open_in_words
from optimizer.core.family.family import Family, kind_of
from optimizer.core.models.settings import ModelSettings
from optimizer.core.policy.policy import parse_policy
from optimizer.jobs.ids import new_id
from optimizer.ports import Alert, Clock, ModelCatalogue, ServedModels, Store, Transaction

ALERT = "model_retires"
AHEAD = timedelta(days=60)
CRITICAL = timedelta(days=10)


def require_known_models(family: Family, models: ModelCatalogue) -> None:
    """Raises InvalidFamily with every name that is unknown and where it stands; starts and asks no model."""
    if (fault := unknown_models(family, models)) is not None:
        raise fault


def unknown_models(family: Family, models: ModelCatalogue) -> InvalidFamily | None:
    """None where all are known."""
    faults = [
        Fault(pointer=pointer, detail=why)
        for pointer, name in named_models(family)
        if (why := _unknown(name, models) or _misplaced_student(family, pointer, name, models)) is not None
    ]
    if not faults:
        return None
    listed = "\n".join(f"  {fault.pointer}: {fault.detail}" for fault in faults)
    return InvalidFamily(
        f"Cannot use the family {family.name}: its file names a model that cannot be used.\n{listed}", faults
    )


def with_unknown_model(models: Callable[[], ModelCatalogue], families: Iterable[Family]) -> dict[str, InvalidFamily]:
    """Family -> its unknown models; empty where config/models.yaml cannot be read, which is reported
    where it is used.
    """
    try:
        catalogue = models()
    except DetentError:
        return {}
    return {family.name: fault for family in families if (fault := unknown_models(family, catalogue)) is not None}


def named_models(family: Family) -> Iterator[tuple[str, str]]:
    """(JSON pointer, name) of each model in the file; none of a family whose answers come from no model."""
    if not kind_of(family).asks_models:
        return
    yield "/model/default", family.model.default
    if family.model.proposer is not None:
        yield "/model/proposer", family.model.proposer
    yield from ((f"/model/tiers/{i}", name) for i, name in enumerate(family.model.tiers))
    if (judge := family.judge) is not None:
        if judge.model is not None:
            yield "/judge/model", judge.model
        yield from ((f"/judge/committee/{i}", name) for i, name in enumerate(judge.committee))


def require_models(names: Collection[str], served: ServedModels, *, cannot: str) -> None:
    """Whether models would answer if they were asked from now on.

    Args:
        cannot: what cannot be done with a model that is not known: the beginning of the error.
    Raises:
        NotFound: config/models.yaml has no such model.
        Conflict: the running gateway does not know it.
    """
    for name in names:
        if served.catalogue is not None and (why := _unknown(name, served.catalogue)) is not None:
            raise NotFound(f"{cannot}: {why}", model=name)
        if served.loaded is not None and name not in served.loaded:
            raise Conflict(
                f"{cannot}: the running server does not know its model {name!r} yet, so every request would"
                " fail. It reads config/models.yaml again within a second of a change. Try again; where it stays so,"
                " var/logs/gateway.log says why.",
                model=name,
            )


def teaching_fault(student: str, teacher: str, models: ModelCatalogue) -> str | None:
    """Why the student cannot learn from the answers of the model that stands last behind it; None where it can, or is
    not to.
    """
    teach = models.describe(student).teach
    if teach == "labels" or models.describe(teacher).may_teach:
        return None
    return (
        f"{student!r} is to learn from the answers of {teacher!r} (teach: {teach}), which may not teach: some"
        f" providers' terms forbid it. Where these allow it, write may_teach: true at {teacher!r} in"
        f" config/models.yaml, else teach: labels at {student!r} there"
    )


def _misplaced_student(family: Family, pointer: str, name: str, models: ModelCatalogue) -> str | None:
    """Why no student can stand there; None where one can, and for a model."""
    if not models.describe(name).student:
        return None
    tiers = family.model.tiers
    if not pointer.startswith("/model/tiers/"):
        return f"{name!r} is a student, which answers as a tier alone; name a model here"
    if name == tiers[-1] and len(tiers) > 1:
        return (
            f"{name!r} is a student, and a model has to stand behind it for what it is not sure of; put it first, or"
            " alone, to refuse that"
        )
    if any(models.describe(tier).student for tier in tiers[: int(pointer.rpartition("/")[2])] if tier != name):
        return f"{name!r} is a second student; one is enough, since both would learn the same"
    if family.output.parser == "text":
        return f"{name!r} is a student and gives labels that it has seen, and {family.name} answers in free texts"
    if (field := open_field(family.output)) is not None:
        return f"{name!r} is a student and gives values that it has seen, and {open_in_words(field)}"
    # Where the last tier is unknown, or a student itself, that is said at its own place.
    teacher = family.searched_tiers[-1]
    if _unknown(teacher, models) is not None or models.describe(teacher).student:
        return None
    return teaching_fault(name, teacher, models)


def _unknown(name: str, models: ModelCatalogue) -> str | None:
    try:
        models.describe(name)
    except NotFound as unknown:
        return unknown.detail
    return None


def watch_retirements(store: Store, clock: Clock, families: Iterable[Family], models: ModelCatalogue) -> None:
    """Opens ``model_retires`` for each family and model whose day is near; critical in the last ten days.

    Of the models that its file, its champion and the candidate of its rollout ask, as tiers and votes, too, and of
    those that stand in for one of them. It closes where none is such a model any more, or the day is no longer near.
    """

    def look(tx: Transaction) -> None:
        now, near = clock.now(), dict[tuple[str, str], tuple[date, str]]()
        for family in families:
            asked_as = _asked_as(tx, store, family)
            known = {name: facts for name in asked_as if (facts := _facts(models, name)) is not None}
            stands_in = {
                other: f"asks it where {name} fails. Name another one under fallbacks of {name} in config/models.yaml."
                for name, facts in known.items()
                for other in facts.fallbacks
            }
            for name, why in {**stands_in, **asked_as}.items():
                facts = _facts(models, name)
                day = facts.retires_on if facts is not None else None
                if day is not None and day - now.date() <= AHEAD:
                    near[family.name, name] = day, why
        for alert in store.alerts.all(tx, open_only=True, kind=ALERT):
            day, _ = near.get((alert.family or "", alert.subject), (None, ""))
            if day is None or alert.level != _level(day, now.date()):
                store.alerts.close(tx, ALERT, alert.family, alert.subject, now)
        for (family_name, name), (day, why) in near.items():
            alert = Alert(
                id=new_id("al"),
                kind=ALERT,
                level=_level(day, now.date()),
                family=family_name,
                subject=name,
                opened_at=now,
                detail=f"The provider retires {name} on {day}, and {family_name} {why}",
            )
            if not store.alerts.reword(tx, alert):
                store.alerts.open(tx, alert)

    store.write(look)


def _asked_as(tx: Transaction, store: Store, family: Family) -> dict[str, str]:
    """Of each model that the file, the champion or the candidate of a rollout names, for what the family asks it, and
    what to do: ``--move-to`` moves the champion's own model, and no other.
    """
    if not kind_of(family).asks_models:
        return {}
    file, study = f"families/{family.name}/family.yaml", f"detent study run {family.name}"
    by_part = {
        "judge": f"lets it judge. Name another one under judge in {file}, then: detent judge calibrate {family.name}.",
        "proposer": f"lets it write instructions. Name another one under model.proposer in {file}.",
        "tiers": f"asks it as a tier or a vote. Name another one under model.tiers in {file}, then: {study}.",
        "default": f"names it under model.default in {file}. Name there what its champion asks.",
    }
    asked_as = {
        name: text for part, text in by_part.items() for pointer, name in named_models(family) if part in pointer
    }
    champion, rollout = store.champions.current(tx, family.name), store.rollouts.active(tx, family.name)
    own, served = family.model.default, [rollout.candidate] if rollout is not None else []
    for id in (*served, *([champion.variant] if champion is not None else [])):
        record = store.variants.get(tx, family.name, id)
        if record is not None:
            own = str(record.variant.model["name"])
            asked_as |= dict.fromkeys({own, *parse_policy(record.variant.policy).models}, by_part["tiers"])
    asked_as[own] = (
        f"asks it. A rollout takes days, so begin now: {study} --move-to NEW --dry-run. NEW is its successor's name in"
        " config/models.yaml."
    )
    return asked_as


def _facts(models: ModelCatalogue, name: str) -> ModelSettings | None:
    try:
        return models.describe(name)
    except NotFound:  # told as a fault of the family
        return None


def _level(day: date, today: date) -> Literal["warning", "critical"]:
    return "critical" if day - today <= CRITICAL else "warning"
