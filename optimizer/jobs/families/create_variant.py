"""Stores a variant that a person made: from messages, or from another variant with changes. Nothing is served by it.

A draft is one that a person tries before it is saved: it is stored and no list shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from optimizer.core.base.answers import members_of
from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import Fault, InvalidInput, NotFound, StaleVersion, pointer_of
from optimizer.core.base.phrasing import when
from optimizer.core.base.values import grouped
from optimizer.core.dataset.examples import group_of
from optimizer.core.declaration.prompt_kind import own_function_faults
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.rendering import PromptTooLong, render_open
from optimizer.core.family.variant import DRAFT, Variant, VariantRecord, model_faults, only_settings
from optimizer.core.models.wire import format_faults
from optimizer.core.policy.nearest import INDEX, SCOPE, nearest_of
from optimizer.core.policy.policy import preset_named
from optimizer.core.policy.tiers import STUDENTS
from optimizer.core.views.variant import VariantView, variant_view
from optimizer.jobs.context import Context
from optimizer.jobs.dataset.golden_scenarios import asks
from optimizer.jobs.request import FamilyRequest, Name, Objects, StrictModel
from optimizer.ports import Clock, Store, Transaction

MANY = 1000  # examples of a request
NONE_SAVED = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedVariant(VariantView):
    """``new`` is False when the family held this content already, as more than a draft."""

    new: bool


class FewShotBody(StrictModel):
    id: Name
    input: dict[str, Any]
    output: str


class VariantRequest(FamilyRequest):
    """Either whole messages, or another variant to start from; what is not given stays as it is there."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    messages: Annotated[Objects, Field(min_length=1)] | None = None
    from_: Annotated[Name | None, Field(alias="from")] = None
    examples: Annotated[list[FewShotBody], Field(max_length=MANY)] | None = None
    model: dict[str, Any] | None = None
    policy: dict[str, Any] | None = None
    preset: Annotated[
        str | None, Field(max_length=40, description="quick or thorough; `policy` is laid over what it sets")
    ] = None
    response_format: Annotated[
        dict[str, Any] | None,
        Field(description="OpenAI's: type, and json_schema where the type is json_schema; {} takes it out"),
    ] = None
    note: Annotated[str, Field(max_length=2000)] = ""
    expect: Annotated[
        Name | None,
        Field(description="The newest variant that a person saved, as you know it, or none; 412 where it is another"),
    ] = None
    listed: Annotated[
        bool, Field(description="false: a draft to try, which no list shows until it is saved or rolled out")
    ] = True

    @model_validator(mode="after")
    def _starts_somewhere(self) -> VariantRequest:
        if self.messages is None and self.from_ is None:
            raise ValueError("give `messages`, or `from` with the variant to start from")
        return self


def create_variant(context: Context, request: VariantRequest) -> CreatedVariant:
    """A variant made by a person; nothing is served by it.

    200 instead of 201 when the family holds this content already. `model` takes settings of generation alone; an
    example of the sealed holdout, or of production text that no person released, is 422. With `expect`, 412 where
    another person saved one meanwhile.
    """
    return store_draft(
        context.family(request.family), request, actor=context.actor, store=context.store, clock=context.clock
    )


def store_draft(family: Family, draft: VariantRequest, *, actor: str, store: Store, clock: Clock) -> CreatedVariant:
    """Checks and stores the variant.

    Raises:
        InvalidInput: unknown variables, a malformed message, an example of the sealed holdout or not released, a model
            setting or preset that is none, or a function that the family's file does not name.
        NotFound: the family has no variant ``from_``.
        StaleVersion: a person saved another variant than ``expect`` last.
    """

    def change(tx: Transaction) -> CreatedVariant:
        parent = parent_of(tx, store, family, draft)
        variant = checked_draft(tx, store, family, draft, parent)
        if draft.expect is not None and draft.listed:
            saved = store.variants.of_family(tx, family.name, sources=["person"])
            if saved and (id := saved[-1].variant.id) not in (draft.expect, variant.id):
                by, saved_at = saved[-1].created_by, when(saved[-1].created_at)
                raise StaleVersion(
                    f"{by} saved {id} of {family.name} on {saved_at}, after you had looked, so yours was not saved. See"
                    f" what theirs changes (detent variant diff {family.name} {id}), then save yours beside it with"
                    f" expect = {id}.",
                    variant=id,
                    by=by,
                )
        at, is_itself = clock.now(), parent is not None and parent.variant.id == variant.id
        record = VariantRecord(
            family=family.name,
            variant=variant,
            source="person" if draft.listed else DRAFT,
            created_at=at,
            created_by=actor,
            note=draft.note,
            parent=parent.parent if parent is not None and is_itself else draft.from_,
        )
        new = store.variants.add(tx, record)
        if new:
            action = "variant.create" if draft.listed else "variant.try"
            detail = {"from": draft.from_, "note": draft.note}
            store.audit.add(
                tx, at=at, actor=actor, action=action, family=family.name, subject=variant.id, detail=detail
            )
        stored = store.variants.get(tx, family.name, variant.id) or record
        return CreatedVariant(**members_of(variant_view(stored)), new=new)

    return store.write(change)


def draft_content(parent: Variant, draft: VariantRequest) -> dict[str, Any]:
    """The content that a draft asks for, unchecked. Raises InvalidInput for a preset that is none."""
    content = parent.content()
    if draft.messages is not None:
        content["messages"] = [dict(m) for m in draft.messages]
    if draft.examples is not None:
        content["examples"] = [example.model_dump() for example in draft.examples]
    settings = dict(draft.model or {})
    response_format = (
        draft.response_format if draft.response_format is not None else settings.pop("response_format", None)
    )
    if response_format is not None:
        content["response_format"] = response_format or None
    content["model"] = only_settings({**content["model"], **settings})
    preset = preset_named(draft.preset).policy(content["policy"]) if draft.preset is not None else {}
    content["policy"] = {**content["policy"], **preset, **(draft.policy or {})}
    return content


def checked_draft(
    tx: Transaction, store: Store, family: Family, draft: VariantRequest, parent: VariantRecord | None
) -> Variant:
    """The variant that a draft asks for, of ``parent_of`` it. Raises InvalidInput as ``store_draft`` does."""
    _check_settings(draft)
    # Infinite numbers and broken Unicode have no canonical JSON, and so no id.
    variant = Variant.from_content(draft_content(parent.variant if parent else family.variant(), draft))
    try:
        canonical_json(variant.content())
    except (ValueError, TypeError) as broken:
        fault = Fault(pointer="", detail=f"a value in it cannot be written as JSON: {broken}")
        raise InvalidInput(f"This is no servable variant: {fault.detail}.", [fault]) from None
    try:
        render_open(variant)
    except PromptTooLong:
        raise
    except InvalidInput:  # an example that does not fit these messages: said below, or where it is served
        pass
    known = ", ".join(family.inputs)
    faults = [
        Fault(pointer="/messages", detail=f"{{{{{name}}}}} is no input of {family.name}; its inputs: {known}")
        for name in variant.variables
        if name not in family.inputs
    ]
    faults += kind_of(family).variant_faults(family, variant)
    faults += own_function_faults(variant.policy, family)
    faults += _student_faults(tx, store, family, variant)
    faults += _nearest_faults(tx, store, family, variant)
    if faults:
        raise InvalidInput(f"This is no variant of {family.name}: " + "; ".join(f.detail for f in faults) + ".", faults)
    _check_examples(tx, store, family, variant, quoted={e.id for e in draft.examples or ()})
    return variant


def _student_faults(tx: Transaction, store: Store, family: Family, variant: Variant) -> list[Fault]:
    """Students that no study of this family taught, or that are gone."""
    named = variant.policy.get(STUDENTS.name)
    if not isinstance(named, Mapping) or not named:
        return []
    there = store.students.ids(tx, family.name)
    return [
        Fault(
            pointer=pointer_of(["policy", STUDENTS.name, tier]),
            detail=f"{family.name} has no student {id!r:.60}; a study of strategy replay teaches one",
        )
        for tier, id in named.items()
        if id not in there
    ]


def _nearest_faults(tx: Transaction, store: Store, family: Family, variant: Variant) -> list[Fault]:
    """A list of examples that no study of this family made, or that is gone; a scope that is no input, and examples
    that are shown in every scope although they have a value of it.
    """
    nearest, faults = nearest_of(variant.policy), list[Fault]()
    if nearest is not None and nearest.index not in store.example_indexes.ids(tx, family.name):
        detail = f"{family.name} has no list of examples {nearest.index!r:.60}; a study of strategy nearest makes one"
        faults.append(Fault(pointer=pointer_of(["policy", INDEX.name]), detail=detail))
    if nearest is not None and nearest.scope is not None and nearest.scope not in family.inputs:
        detail = f"{nearest.scope!r:.60} is no input of {family.name}; its inputs: {', '.join(family.inputs)}"
        faults.append(Fault(pointer=pointer_of(["policy", SCOPE.name]), detail=detail))
    elif nearest is not None and nearest.scope is not None and family.inputs[nearest.scope].max_chars is not None:
        detail = (
            f"{nearest.scope!r:.60} is cut at its max_chars, so that two values may become one; take an uncut input"
        )
        faults.append(Fault(pointer=pointer_of(["policy", SCOPE.name]), detail=detail))
    if nearest is not None and nearest.scope is not None:
        detail = f"has a {nearest.scope}, and is shown to all where nothing is near; leave it out (--without-examples)"
        faults += [
            Fault(pointer=f"/examples/{i}", detail=f"example {example.id!r:.80} {detail}")
            for i, example in enumerate(variant.examples)
            if example.input.get(nearest.scope) not in (None, "")
        ]
    return faults


def parent_of(tx: Transaction, store: Store, family: Family, draft: VariantRequest) -> VariantRecord | None:
    """What a draft starts from; None: the family's file. Raises NotFound."""
    if draft.from_ is None:
        return None
    record = store.variants.get(tx, family.name, draft.from_)
    if record is None:
        raise NotFound(
            f"Family {family.name!r} has no variant {draft.from_!r} to start from. See them with: detent variant"
            f" list {family.name}.",
            family=family.name,
            variant=draft.from_,
        )
    return record


def _check_settings(draft: VariantRequest) -> None:
    """Raises InvalidInput for what a call must not take from a variant.

    ``response_format`` may stand among the model's settings too.
    """
    model = dict(draft.model or {})
    named = [
        (model.pop("response_format", None), "/model/response_format"),
        (draft.response_format, "/response_format"),
    ]
    faults = model_faults(model)
    for settings, pointer in named:
        faults += format_faults(settings or None, pointer)
    for i, message in enumerate(draft.messages or ()):
        strange = [name for name in message if name not in ("role", "content", "name")]
        faults += [
            Fault(pointer=pointer_of(["messages", i, name]), detail=f"a message has role and content, not {name!r:.80}")
            for name in strange
        ]
    if faults:
        raise InvalidInput("This is no servable variant: " + "; ".join(f.detail for f in faults) + ".", faults)


def _check_examples(tx: Transaction, store: Store, family: Family, variant: Variant, *, quoted: set[str]) -> None:
    """No example is of the sealed holdout, under whatever id; and a person has released each that this draft brings."""
    groups = [group_of(e.input, None) for e in variant.examples]
    known = store.examples.standing(tx, family.name, ids=[e.id for e in variant.examples], groups=groups)
    # Also by what they ask: a row with a group of its own has no input's hash, and an id may be another's.
    questions = [(family.name, asks(family, e.input)) for e in variant.examples]
    sealed = store.examples.sealed_among(tx, grouped(questions), partial(asks, family))
    is_checked = [e.id in quoted and family.privacy.examples_from != "any" for e in variant.examples]
    unreleased = store.examples.unreleased_among(tx, grouped(compress(questions, is_checked)), partial(asks, family))
    faults = []
    for i, (example, group) in enumerate(zip(variant.examples, groups, strict=True)):
        same = [row for row in known if row.id == example.id] or [row for row in known if row.group == group]
        is_sealed = any(row.split == "holdout" for row in known if row.id == example.id or row.group == group)
        if is_sealed or questions[i] in sealed:
            detail = (
                f"example {example.id!r} belongs to the sealed holdout, which only confirmation may read; choose"
                " another one"
            )
        elif is_checked[i] and (questions[i] in unreleased or (same and not any(row.released for row in same))):
            detail = f"example {example.id!r} comes from production and is not released; see detent review list"
        else:
            continue
        faults.append(Fault(pointer=f"/examples/{i}", detail=detail))
    if faults:
        raise InvalidInput("This variant may not be made: " + "; ".join(f.detail for f in faults) + ".", faults)
