"""Shows a text that a person is editing before it is kept: what differs from the version that it started from, what is
wrong with it, what it would cost, and who saved another one meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from optimizer.core.base.answers import Json
from optimizer.core.base.errors import Conflict, DatasetTooSmall, DetentError, FaultMember, InvalidInput
from optimizer.core.base.values import Spread
from optimizer.core.dataset.examples import Example
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render_open
from optimizer.core.family.variant import DRAFT, Variant
from optimizer.core.models.budget import BYTES_PER_TOKEN, prompt_bytes
from optimizer.core.search.cost_estimate import estimate_evaluation
from optimizer.core.views.edited_prompt import EditedPrompt, edited_prompt
from optimizer.jobs.calls.shelves import students_among
from optimizer.jobs.champions.read_variants import find_variant
from optimizer.jobs.context import Context
from optimizer.jobs.families.create_variant import (
    NONE_SAVED,
    VariantRequest,
    checked_draft,
    draft_content,
    parent_of,
)
from optimizer.jobs.request import Name
from optimizer.jobs.runs.compare_variants import SPLIT
from optimizer.jobs.runs.create_comparison import MOST_NAMED, ComparisonEstimate, plan_comparison
from optimizer.jobs.runs.queue_run import RunBudgetBody
from optimizer.jobs.studies.plan_evaluation import drawn_examples, named_examples
from optimizer.ports import Store, Transaction

N_TRIED = 5
N_OFFERED = 15
MOST_NEWER = 20
OF_LATE = timedelta(hours=1)


class PreviewRequest(VariantRequest):
    """Of a draft as `create_variant` takes it."""

    example_ids: Annotated[
        list[Name] | None,
        Field(max_length=MOST_NAMED, description="Dev examples to try it on; default: the first five offered"),
    ] = None
    seed: Annotated[
        int | None,
        Field(ge=0, le=2**31, description="Another number offers other examples; null: none but those chosen"),
    ] = 0
    budget: Annotated[RunBudgetBody, Field(description="Caps of the comparison, as it takes them")] = RunBudgetBody()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedExample:
    """A dev example; its texts are null where no person has released them. ``is_chosen``: the comparison asks it."""

    example: str
    input: Mapping[str, Json] | None
    expected: Mapping[str, Json] | None
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPrice:
    """``tokens``: estimated, of the prompt without its inputs; ``usd``: of an answer to the examples chosen, without a
    judge. None: not known.
    """

    tokens: float | None
    usd: Spread | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewerVariant:
    """Saved after ``expect``; ``is_saved`` False: somebody else tries it, within an hour."""

    variant: str
    created_by: str
    created_at: datetime
    note: str
    is_saved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantPreview:
    """What a draft would be.

    Args:
        parent: id of the variant that it starts from; None: the family's file.
        variant: the id that it would have; None where ``faults`` say why it cannot be.
        is_listed: whether the family lists this very content already.
        price, price_before: of the draft and of its parent.
        comparison: of the draft beside the champion; None where ``why_no_comparison`` says what is missing.
        newest: what ``expect`` would be now. ``newer``: what was saved since, and what others are trying.
    """

    family: str
    parent: str | None
    variant: str | None
    is_listed: bool
    faults: Sequence[FaultMember]
    edited: EditedPrompt
    price: PromptPrice
    price_before: PromptPrice
    examples: Sequence[OfferedExample]
    comparison: ComparisonEstimate | None
    why_no_comparison: str | None
    newest: str
    newer: Sequence[NewerVariant]


def preview_variant(context: Context, request: PreviewRequest) -> VariantPreview:
    """What a draft would be, before it is kept: what differs, its faults, its price, and what a comparison
    with the champion would cost on some dev examples. Nothing is kept and no model is asked.

    Raises:
        NotFound: the family has no variant to start from. InvalidInput: an example that is no dev example.
    """
    family, store = context.family(request.family), context.store
    variant: Variant | None = None
    faults: Sequence[FaultMember] = ()
    with store.read() as tx:
        parent = parent_of(tx, store, family, request)
        before = parent.variant if parent is not None else family.variant()
        try:
            variant = checked_draft(tx, store, family, request, parent)
        except InvalidInput as refusal:
            faults = refusal.members.get("errors") or [{"pointer": "", "detail": refusal.detail}]
        stored = store.variants.get(tx, family.name, variant.id) if variant is not None else None
        newest, newer = _newer(tx, context, family, request.expect)
    offered, chosen = _examples(family, request, store)
    try:
        if offered and not chosen:
            raise InvalidInput("Choose at least one example.")
        estimate, why_none = _comparison(context, family, variant, chosen, request.budget), None
    except DetentError as refusal:
        estimate, why_none = None, refusal.detail
    try:
        content = draft_content(before, request)
    except InvalidInput:  # of a preset, which stands among the faults
        content = draft_content(before, request.model_copy(update={"preset": None}))
    return VariantPreview(
        family=family.name,
        parent=parent.variant.id if parent is not None else None,
        variant=variant.id if variant is not None else None,
        is_listed=stored is not None and stored.source != DRAFT,
        faults=faults,
        edited=edited_prompt(before.content(), content, list(family.inputs)),
        price=_price(context, family, variant, chosen),
        price_before=_price(context, family, before, chosen),
        examples=offered,
        comparison=estimate,
        why_no_comparison=why_none,
        newest=newest,
        newer=newer,
    )


def _newer(tx: Transaction, context: Context, family: Family, expect: str | None) -> tuple[str, Sequence[NewerVariant]]:
    """The newest that a person saved, and what was saved since ``expect``, or is tried by others of late."""
    saved = context.store.variants.of_family(tx, family.name, sources=["person"])
    known = next((one.created_at for one in saved if one.variant.id == expect), None)
    since = {one.variant.id for one in saved if expect is not None and (known is None or one.created_at > known)}
    of_late = context.clock.now() - OF_LATE
    newer = [
        NewerVariant(
            variant=one.variant.id,
            created_by=one.created_by,
            created_at=one.created_at,
            note=one.note,
            is_saved=one.source != DRAFT,
        )
        for one in context.store.variants.of_family(tx, family.name, sources=["person", DRAFT])
        if one.variant.id in since
        or (one.source == DRAFT and one.created_by != context.actor and one.created_at > of_late)
    ]
    return saved[-1].variant.id if saved else NONE_SAVED, newer[-MOST_NEWER:]


def _examples(
    family: Family, request: PreviewRequest, store: Store
) -> tuple[Sequence[OfferedExample], Sequence[Example]]:
    """Those that are offered, chosen ones first, and those that are chosen; both empty where there is none."""
    ids = request.example_ids
    try:
        is_drawn = not ids or request.seed is not None  # where none is chosen it is asked whether there is any
        drawn = drawn_examples(family, SPLIT, N_OFFERED, store, seed=request.seed or 0) if is_drawn else []
    except DatasetTooSmall:
        return (), ()
    chosen = drawn[:N_TRIED] if ids is None else named_examples(family, ids, store)
    chosen_ids = {one.id for one in chosen}
    return [
        OfferedExample(
            example=one.id,
            input=one.input if one.released else None,
            expected=one.expected if one.released else None,
            is_chosen=one.id in chosen_ids,
        )
        for one in [*(one for one in chosen if one not in drawn), *drawn]
    ], chosen


def _comparison(
    context: Context, family: Family, variant: Variant | None, chosen: Sequence[Example], cap: RunBudgetBody
) -> ComparisonEstimate:
    """Raises DetentError with what is in the way."""
    if variant is None:
        raise InvalidInput("It cannot be tried as it stands.")
    if not chosen:
        raise DatasetTooSmall("There is no dev example to try it on.")
    champion = find_variant(context, family.name, "champion").variant
    if champion.id == variant.id:
        raise Conflict("It is the champion: change something to try it beside.")
    return plan_comparison(context, family, [champion, variant], chosen, cap)


def _price(context: Context, family: Family, variant: Variant | None, chosen: Sequence[Example]) -> PromptPrice:
    if variant is None:
        return PromptPrice(tokens=None, usd=None)
    tokens, usd = None, None
    try:
        tokens = prompt_bytes(render_open(variant), {"tools": variant.tools}) / BYTES_PER_TOKEN
        models = context.models()
        students = students_among(models, [variant])
        _, usd = estimate_evaluation([variant], chosen, family, models.price, are_judged=False, students=students)
    except DetentError:  # an example lacks an input, or config/models.yaml cannot be read: said where a model is asked
        pass
    return PromptPrice(tokens=tokens, usd=usd * (1 / len(chosen)) if usd is not None and chosen else None)
