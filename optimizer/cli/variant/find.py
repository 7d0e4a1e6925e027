"""Finds the variant that a person names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.cli.server_option import server_asked
from optimizer.cli.session import Session
from optimizer.core.base.errors import NotFound

if TYPE_CHECKING:
    from optimizer.core.family.family import Family
    from optimizer.core.family.variant import VariantRecord


def variant_id(session: Session, family: str, name: str) -> str:
    """The id of the variant that a person names; a server that was named knows it by its whole id."""
    return find_variant(session, family, name).variant.id if server_asked() is None else name


def find_variant(session: Session, family: str, name: str) -> VariantRecord:
    """By id, by a unique beginning of it, or by use: champion, candidate (of the active rollout,
    else what would be rolled out next), file.
    """
    from optimizer.jobs.studies.confirming_study import last_nominated

    declared = session.family(family)
    store = session.store
    if name == "file":
        return _of_file(session, declared)
    with store.read() as tx:
        if name == "champion":
            champion = store.champions.current(tx, family)
            name = champion.variant if champion else name
        elif name == "candidate":
            active = store.rollouts.active(tx, family)
            candidate = active.candidate if active else last_nominated(tx, store, family)
            if candidate is None:
                raise NotFound(
                    f"{family} has no candidate: no rollout is active, and no study has nominated a variant. Name one"
                    f" by its id; `detent variant list {family}` shows them.",
                    family=family,
                    variant=name,
                )
            name = candidate
        found = store.variants.get(tx, family, name)
        if found is None and name.startswith("v_"):
            fitting = [r for r in store.variants.of_family(tx, family) if r.variant.id.startswith(name)]
            found = fitting[0] if len(fitting) == 1 else None
    if found is None:
        raise NotFound(
            f"{family} has no variant {name!r}. See them with: detent variant list {family}.",
            family=family,
            variant=name,
        )
    return found


def _of_file(session: Session, declared: Family) -> VariantRecord:
    """What the family's file says now; stored where it was not yet, which serves nothing."""
    from optimizer.jobs.families.file_versions import store_file_version

    if family_problem := session.families.problems.get(declared.name):
        raise family_problem
    if not declared.prompt.versions:
        raise NotFound(
            f"The file of {declared.name} has no prompt version, so it is no variant by itself.", family=declared.name
        )
    store, at = session.store, session.clock.now()
    store.write(lambda tx: store_file_version(tx, store, declared, declared.prompt.current, at))
    with store.read() as tx:
        found = store.variants.get(tx, declared.name, declared.variant().id)
    assert found is not None
    return found
