"""The workbench: a form with the text of a variant, which previews, tries and saves what was typed.

A text stands in the form alone until it is tried or saved, so every answer to the form is its page with that text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count as counted, takewhile
from secrets import token_urlsafe
from typing import Any

from api.dashboard.confirmations import cap_text, run_page, variant_page
from api.dashboard.figures import LastDays
from api.dashboard.visitors import PageVisit
from optimizer.core.base.canonical import canonical_json, json_of
from optimizer.core.base.errors import Conflict, DetentError, InvalidInput, StaleVersion
from optimizer.core.family.variant import Message

SETTINGS = ("temperature", "max_tokens")  # that this page changes
MARKERS = ("examples", "history")  # roles of messages without a text
TEXT_ROLES = ("system", "user", "assistant")
NOTHING: Message = {"role": "user", "content": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkbenchForm:
    """``parent``: id of the variant that it started from; ``messages`` None: as they are there; ``settings``: as they
    stand in the fields; ``expect``: the newest saved variant as its page knew it; ``example_ids`` None: nobody has
    chosen yet; ``nonce``: of the page that it was typed on, so that a button pressed twice there acts once.
    """

    parent: str
    messages: Sequence[Message] | None
    settings: Mapping[str, str]
    note: str = ""
    usd: str = ""
    expect: str | None = None
    example_ids: Sequence[str] | None = None
    seed: int | None = 0  # None: no other examples are offered
    nonce: str = ""


def workbench(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """A variant's text as it is, to be edited; the champion's where the address names none."""
    query, family = visit.request.query, visit.request.path_params["family"]
    visit.require("preview variant")
    parent = visit.ask("named_variant", family=family, name=query.get("from") or "champion")
    if not parent.messages:
        raise Conflict(
            f"{parent.variant} of {family} has no prompt, so there is no text to edit. Its rules and limits stand in"
            " the family's file: ask whoever runs Detent."
        )
    form = WorkbenchForm(parent=parent.variant, messages=parent.messages, settings=_settings_of(parent))
    return form_values(visit, form)


def form_values(visit: PageVisit, form: WorkbenchForm, refusal: DetentError | None = None) -> Mapping[str, Any]:
    """What the page shows of a form; who was refused for the others' text is told of it and may save beside it. Raises
    DetentError where not even a preview can be made of it.
    """
    family = visit.request.path_params["family"]
    if form.messages is None:
        form = replace(form, messages=visit.ask("named_variant", family=family, name=form.parent).messages or [])
    preview = visit.ask(
        "preview variant",
        **_draft(visit, family, form),
        expect=form.expect,
        example_ids=form.example_ids,
        seed=form.seed,
        budget=_cap(form),
    )
    expect = preview.newest if isinstance(refusal, StaleVersion) else form.expect or preview.newest
    return {
        "family": family,
        "form": replace(form, expect=expect, nonce=token_urlsafe(12)),
        "preview": preview,
        "cap": cap_text(preview.comparison.budget) if preview.comparison is not None else None,
        "roles": TEXT_ROLES,
        "markers": MARKERS,
        "refusal": refusal.detail if refusal is not None else None,
    }


def form_in(fields: Mapping[str, str]) -> WorkbenchForm:
    """What was typed, as browsers send it. A message without text is left out."""
    seed = fields.get("seed", "")
    messages = [_message(fields, str(i)) for i in takewhile(lambda i: f"role_{i}" in fields, counted())]
    more = _message(fields, "new")
    messages = [more, *messages] if more["role"] == "system" else [*messages, more]
    left = [one for one in messages if one["role"] in MARKERS or one["content"]]
    return WorkbenchForm(
        parent=fields.get("from", ""),
        messages=(left or [NOTHING]) if "role_0" in fields else None,
        settings={name: fields.get(name, "").strip() for name in SETTINGS},
        note=fields.get("note", "").strip(),
        usd=fields.get("usd", "").strip(),
        expect=fields.get("expect") or None,
        example_ids=[value for name, value in fields.items() if name.startswith("example_")],
        seed=int(seed) if seed.isascii() and seed.isdigit() and len(seed) < 9 else 0,
        nonce=fields.get("nonce", ""),
    )


def carry_out_form(visit: PageVisit, form: WorkbenchForm, act: str) -> str:
    """Saves or tries what was typed; the page that it leads to. Raises as the use cases do."""
    family = visit.request.path_params["family"]
    typed = _draft(visit, family, form)
    if act == "save":
        saved = visit.act("create_variant", **typed, note=form.note, expect=form.expect)
        return f"{variant_page(family, saved.variant)}?done={visit.notice('save')}"
    visit.require("compare variants")
    planned = visit.ask("preview variant", **typed, example_ids=form.example_ids, seed=None, budget=_cap(form))
    if planned.variant is not None and planned.comparison is None:  # of no variant create_variant says what is wrong
        raise InvalidInput(planned.why_no_comparison)
    draft = visit.act("create_variant", **typed, note=form.note, listed=False)
    run = visit.act(
        "compare variants",
        nonce=form.nonce,
        family=family,
        variants=["champion", draft.variant],
        example_ids=form.example_ids,
        budget=_cap(form),
    )
    return f"{run_page(run)}?expect={form.expect}" if form.expect else run_page(run)


def _message(fields: Mapping[str, str], place: str) -> Message:
    role = fields.get(f"role_{place}", "user")
    if role in MARKERS:
        return {"role": role}
    name = fields.get(f"name_{place}")
    text = fields.get(f"content_{place}", "").replace("\r\n", "\n")
    return {"role": role, "content": text, **({"name": name} if name else {})}


def _draft(visit: PageVisit, family: str, form: WorkbenchForm) -> dict[str, Any]:
    """Members of a draft: of the settings those alone that differ from the parent's."""
    parent = visit.ask("named_variant", family=family, name=form.parent)
    before = _settings_of(parent)
    changes = {name: json_of(text) for name, text in form.settings.items() if text and text != before[name]}
    return {"family": family, "from_": parent.variant, "messages": form.messages, "model": changes or None}


def _settings_of(variant: Any) -> dict[str, str]:
    return {name: canonical_json(variant.model[name]).decode() if name in variant.model else "" for name in SETTINGS}


def _cap(form: WorkbenchForm) -> dict[str, Any]:
    try:
        return {"usd": float(form.usd)} if form.usd else {}  # a field of numbers may send .5, which is no JSON
    except ValueError:
        raise InvalidInput(f"Dollars are a number, not {form.usd[:40]!r}.") from None
