"""Finds models that a family's file names and config/models.yaml does not: a fault of the family in any case."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from optimizer.core.base.errors import Conflict, DetentError, Fault, InvalidFamily, NotFound
from optimizer.core.family.closed_fields import open_field, open_in_words
from optimizer.core.family.family import Family, kind_of
from optimizer.ports import ModelCatalogue, ServedModels


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
