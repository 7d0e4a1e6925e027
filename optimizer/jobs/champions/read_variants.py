"""The variants of a family: all of them, those that were champion, one by its id or by its use, what differs between
two, and one for use elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from optimizer.core.base.answers import Page, members_of, page_of
from optimizer.core.base.errors import NotFound
from optimizer.core.family.variant import DRAFT, Source, VariantRecord
from optimizer.core.policy.nearest import nearest_of
from optimizer.core.policy.tiers import TIERS
from optimizer.core.serving.rollout import Champion
from optimizer.core.views.variant import ListedVariant, Use, VariantDiff, VariantView, changes_between, variant_view
from optimizer.jobs.calls.shelves import students_among
from optimizer.jobs.context import Context
from optimizer.jobs.families.export_variant import export_variant
from optimizer.jobs.families.sync_families import file_version_record
from optimizer.jobs.request import FamilyRequest, PageRequest, Request
from optimizer.jobs.studies.read_studies import last_nomination
from optimizer.ports import Store, Transaction

OfFamily = Annotated[str | None, Field(description="Where several families hold the same content: which one is meant")]


class VariantsRequest(PageRequest):
    family: str
    source: Annotated[Source | None, Field(description="Only those of this source, such as person")] = None
    order: Annotated[Literal["oldest", "newest"], Field(description="Which come first")] = "oldest"


def read_variants(context: Context, request: VariantsRequest) -> Page[ListedVariant]:
    """All variants of a family, oldest first, whatever their source; of drafts only those in use."""
    family, store = request.family, context.store
    sources = [request.source] if request.source is not None else None
    with store.read() as tx:
        records = store.variants.of_family(tx, family, sources)
        champion, rollout = store.champions.current(tx, family), store.rollouts.active(tx, family)
    uses: dict[str, Use] = {rollout.candidate: "candidate"} if rollout is not None else {}
    if champion is not None:
        uses = {champion.variant: "champion", **uses}
    if not records:
        context.family(family)
    records = [one for one in records if one.source != DRAFT or one.variant.id in uses]
    page = page_of(records if request.order == "oldest" else records[::-1], request.cursor, request.limit)
    listed_variants = [
        ListedVariant(**members_of(variant_view(record)), use=uses.get(record.variant.id)) for record in page.items
    ]
    return Page(items=listed_variants, next_cursor=page.next_cursor)


def read_history(context: Context, request: FamilyRequest) -> Page[Champion]:
    """Every champion this family has had, oldest first: why, by whom, from when to when."""
    with context.store.read() as tx:
        tenures = context.store.champions.history(tx, request.family)
    if not tenures:
        context.family(request.family)
    return Page(items=tenures)


class VariantByIdRequest(Request):
    variant: str
    family: OfFamily = None


def read_variant(context: Context, request: VariantByIdRequest) -> VariantView:
    """One variant: messages, examples, model settings, tools, response format, policy, and origin."""
    with context.store.read() as tx:
        record = _by_id(tx, context, request.variant, request.family)
    return _with_renderings(context, record)


class DiffRequest(Request):
    variant: str
    against: Annotated[str, Field(description="`champion`, or the id of another variant of the family")] = "champion"
    family: OfFamily = None


def read_diff(context: Context, request: DiffRequest) -> VariantDiff:
    """What differs from the champion (or another variant): each changed part before and after, and a
    unified diff of the whole as text.
    """
    store, other = context.store, request.against
    with store.read() as tx:
        after = _by_id(tx, context, request.variant, request.family)
        if other == "champion":
            champion = store.champions.current(tx, after.family)
            if champion is None:
                raise NotFound(f"Family {after.family!r} has no champion to compare with. Name a variant: ?against=v_…")
            other = champion.variant
        before = _require(store.variants.get(tx, after.family, other), other, after.family)
    return changes_between(before, after)


class NamedVariantRequest(FamilyRequest):
    name: str


def read_named_variant(context: Context, request: NamedVariantRequest) -> VariantView:
    """One variant by its id, by a unique beginning of it, or by its use: champion, candidate (of the active rollout,
    else what would be rolled out next), file.
    """
    return _with_renderings(context, find_variant(context, request.family, request.name))


def _with_renderings(context: Context, record: VariantRecord) -> VariantView:
    view = variant_view(record)
    if nearest_of(record.variant.policy) is None:
        return view
    with context.store.read() as tx:
        return replace(view, renderings=context.store.exposures.renderings(tx, record.family, record.variant.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantExport:
    family: str
    variant: str
    format: str
    text: str


class ExportRequest(NamedVariantRequest):
    format: str = "messages"


def read_export(context: Context, request: ExportRequest) -> VariantExport:
    """A variant, named by id or use, for use elsewhere: as messages, yaml, dspy, mlflow, langchain, or as a package
    writes it.
    """
    record = find_variant(context, request.family, request.name)
    students = students_among(context.models(), [record.variant]) if record.variant.policy.get(TIERS.name) else ()
    text = export_variant(context.family(request.family), record, request.format, students=students)
    return VariantExport(family=request.family, variant=record.variant.id, format=request.format, text=text)


def find_variant(context: Context, family: str, name: str) -> VariantRecord:
    """Raises NotFound where the family has none that is named so."""
    declared, store = context.family(family), context.store
    with store.read() as tx:
        if name == "file":
            # What the family's file says now; whoever serves the file stores it within a second.
            if problem := context.families().problems.get(declared.name):
                raise problem
            if not declared.prompt.versions:
                raise NotFound(
                    f"The file of {declared.name} has no prompt version, so it is no variant by itself.",
                    family=declared.name,
                )
            now = file_version_record(declared, declared.prompt.current, context.clock.now())
            return context.store.variants.get(tx, declared.name, now.variant.id) or now
        id = _in_use(tx, store, family, name)
        match = store.variants.get(tx, family, id)
        if match is None and id.startswith("v_"):
            fitting = [record for record in store.variants.of_family(tx, family) if record.variant.id.startswith(id)]
            match = fitting[0] if len(fitting) == 1 else None
    if match is None:
        raise NotFound(
            f"{family} has no variant {id!r}. See them with: detent variant list {family}.", family=family, variant=id
        )
    return match


def _in_use(tx: Transaction, store: Store, family: str, name: str) -> str:
    if name == "champion":
        champion = store.champions.current(tx, family)
        return champion.variant if champion is not None else name
    if name != "candidate":
        return name
    active = store.rollouts.active(tx, family)
    candidate = active.candidate if active is not None else last_nomination(tx, store, family)
    if candidate is None:
        raise NotFound(
            f"{family} has no candidate: no rollout is active, and no study has nominated a variant. Name one by its"
            f" id; `detent variant list {family}` shows them.",
            family=family,
            variant=name,
        )
    return candidate


def _by_id(tx: Transaction, context: Context, variant: str, family: str | None) -> VariantRecord:
    if family is not None:
        context.require_family(family)
    files = context.families()
    known = sorted(files.families.keys() | files.problems.keys())
    names = [family] if family is not None else filter(context.access.may_see, known)
    records = (context.store.variants.get(tx, name, variant) for name in names)
    return _require(next((record for record in records if record is not None), None), variant, family)


def _require(record: VariantRecord | None, variant: str, family: str | None) -> VariantRecord:
    if record is None:
        where = f"Family {family!r} has" if family is not None else "No family here has"
        raise NotFound(
            f"{where} {'no' if family is not None else 'a'} variant {variant!r}. `detent variant list` shows them.",
            variant=variant,
        )
    return record
