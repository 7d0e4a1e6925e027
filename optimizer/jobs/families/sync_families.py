"""Brings the families' files into the store: prompt versions as Variants, and a first champion where there is none.
Adopting a file takes the same steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from optimizer.core.family.family import Family
from optimizer.core.family.variant import VariantRecord
from optimizer.core.serving import champion
from optimizer.core.serving.rollout import Champion, Decision, is_frozen
from optimizer.jobs.families.read_edit import Edit, read_edit
from optimizer.jobs.record_change import end_active_rollout, log_head, record_tenure
from optimizer.ports import Clock, Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilySync:
    """What the sync of one family found and did.

    ``edit`` is the file's Variant when it has never served, ``behind`` names it when it has, and a rollout or a
    rollback has passed it.
    """

    family: str
    champion: str
    added: tuple[str, ...] = ()  # Variants of the file that the store did not hold
    promoted: bool = False
    edit: Edit | None = None
    behind: str | None = None
    former_of: str | None = None  # the family that this one's name is a former name of: it is not taken

    @property
    def text(self) -> str:
        if self.former_of is not None:
            return (
                f"{self.family}: the file is not taken, since {self.family} is a former name of {self.former_of} and"
                " still leads there; rename this folder and file"
            )
        if self.promoted:
            return f"{self.family}: {self.champion} of the file serves"
        if self.behind is not None:
            return (
                f"{self.family}: {self.champion} serves; the file still names {self.behind}, which served before. "
                f"To write what serves into the file: detent variant export {self.family} --format yaml"
            )
        return f"{self.family}: the file's version {self.champion} serves" if self.edit is None else self.edit.text

    @property
    def edited(self) -> str | None:
        """The Variant that is not served."""
        return None if self.edit is None else self.edit.variant


def sync_families(
    families: Mapping[str, Family], store: Store, clock: Clock, *, serve_file_edits: bool = False
) -> list[FamilySync]:
    """Stores every prompt version; never switches traffic, unless ``serve_file_edits`` (profile dev) is on.

    Safe to repeat.

    Under ``serve_file_edits`` the file's version is champion when its content is new, and as long as the champion came
    from the file; a champion that was promoted or brought back by a person stays until the file says something new. A
    frozen family keeps its champion either way.
    """
    syncs = []
    for family in families.values():
        if family.prompt.versions and family.prompt.current in family.prompt.versions and not _in_step(family, store):
            sync, ended = store.write(lambda tx, family=family: _sync(tx, store, clock, family, serve_file_edits))  # type: ignore[misc]
            log_head(ended)
            syncs.append(sync)
    return syncs


def _in_step(family: Family, store: Store) -> bool:
    """True when nothing has to be written: the usual case, at every reload and in every process."""
    with store.read() as tx:
        current = store.champions.current(tx, family.name)
        if current is None or current.family != family.name or current.variant != family.variant().id:
            return False
        return all(
            store.variants.get(tx, family.name, family.variant(v).id) is not None for v in family.prompt.versions
        )


def _sync(
    tx: Transaction, store: Store, clock: Clock, family: Family, serve_file_edits: bool
) -> tuple[FamilySync, Decision | None]:
    at = clock.now()
    holder = store.family_names.claim(tx, family.name, at)
    if holder is not None:
        return FamilySync(family=family.name, champion="", former_of=holder), None
    added = []
    for version in family.prompt.versions:
        record, new = store_file_version(tx, store, family, version, at)
        if new:
            added.append(record.variant.id)
    if added:
        store.serving_version.bump(tx)
    wanted = family.variant().id
    current = store.champions.current(tx, family.name)
    if current is None:
        why = f"version {family.prompt.current} of the file: the store had no champion"
        record_tenure(
            tx,
            store,
            champion.first(family=family.name, variant=wanted, at=at, by=FILE_ACTOR, why=why),
            action="champion.first",
        )
        return FamilySync(family=family.name, champion=wanted, added=tuple(added), promoted=True), None
    if current.variant == wanted:
        return FamilySync(family=family.name, champion=wanted, added=tuple(added)), None
    if (
        serve_file_edits
        and (wanted in added or current.by == FILE_ACTOR)
        and is_frozen(store.freezes.all(tx), family.name) is None
    ):
        why = f"version {family.prompt.current} of the file was edited, and serve_file_edits is on"
        tenure = champion.next_tenure(current, variant=wanted, at=at, by=FILE_ACTOR, why=why, forced=True)
        ended = promote_file_version(tx, store, clock, tenure)
        return FamilySync(family=family.name, champion=wanted, added=tuple(added), promoted=True), ended
    if any(tenure.variant == wanted for tenure in store.champions.history(tx, family.name)):
        return FamilySync(family=family.name, champion=current.variant, added=tuple(added), behind=wanted), None
    return (
        FamilySync(family=family.name, champion=current.variant, added=tuple(added), edit=read_edit(tx, store, family)),
        None,
    )


FILE_ACTOR = "system:family-file"  # makes champions by the file alone: the first, and edits under serve_file_edits


def file_version_record(family: Family, version: str, at: datetime) -> VariantRecord:
    """The version's Variant as a record with ``source: file``."""
    return VariantRecord(
        family=family.name,
        variant=family.variant(version),
        source="file",
        created_at=at,
        created_by=FILE_ACTOR,
        note=family.prompt.versions[version].description,
        file_version=version,
    )


def store_file_version(
    tx: Transaction, store: Store, family: Family, version: str, at: datetime
) -> tuple[VariantRecord, bool]:
    """The version's record, and whether its content is new to the store."""
    record = file_version_record(family, version, at)
    return record, store.variants.add(tx, record)


def promote_file_version(tx: Transaction, store: Store, clock: Clock, tenure: Champion) -> Decision | None:
    """Lets a tenure of a file's Variant begin; returns the end of the rollout that was active."""
    ended = end_active_rollout(tx, store, clock, tenure.family, at=tenure.since, actor=tenure.by, why=tenure.why)
    record_tenure(tx, store, tenure, action="champion.adopt")
    return ended
