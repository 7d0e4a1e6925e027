"""``detent variant``: the settings of a family that exist, what differs, and new ones by hand."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from optimizer.cli.output import Json, say, show, table, tell_change
from optimizer.cli.session import Session
from optimizer.cli.variant import compare as variant_compare
from optimizer.cli.variant.find import find_variant
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.printable import printable
from optimizer.core.base.strict_json import read_json
from optimizer.core.family.policy_text import shown_policy
from optimizer.core.family.variant import Variant, VariantRecord

app = typer.Typer(name="variant", no_args_is_help=True, help="Variants of a family: list, show, compare, make, export.")

variant_compare.register(app)

FamilyName = Annotated[str, typer.Argument(help="Name of the family.", show_default=False)]
VariantId = Annotated[
    str, typer.Argument(help="Id of the variant, or champion, candidate, or file.", show_default=False)
]


@app.command("list")
def list_variants(family: FamilyName, as_json: Json = False) -> None:
    """Every variant of a family, newest first, with its uses.

    Example: detent variant list triage
    """
    session = Session()
    session.family(family)
    store = session.store
    with store.read() as tx:
        records = store.variants.of_family(tx, family)
        champion = store.champions.current(tx, family)
        active = store.rollouts.active(tx, family)
    uses = {champion.variant: "champion"} if champion else {}
    if active:
        uses[active.candidate] = "candidate"
    rows = [
        {
            "variant": r.variant.id,
            "use": uses.get(r.variant.id, ""),
            "source": r.source,
            "n_examples": len(r.variant.examples),
            "created_at": r.created_at,
            "created_by": r.created_by,
            "note": r.note or (f"version {r.file_version} of the file" if r.file_version else ""),
        }
        for r in sorted(records, key=lambda r: r.created_at, reverse=True)
    ]
    columns = {
        "variant": "Variant", "use": "Use", "source": "Source", "n_examples": "Examples", "created_at": "Made",
        "created_by": "By", "note": "Note",
    }  # fmt: skip
    show(as_json, {"items": rows}, table(rows, columns, empty=f"{family} has no variants yet."))


@app.command("show")
def show_variant(family: FamilyName, variant: VariantId = "champion", as_json: Json = False) -> None:
    """One variant in full: messages, few-shot examples, model settings."""
    session = Session()
    record = find_variant(session, family, variant)
    values = {
        "variant": record.variant.id,
        "family": family,
        "source": record.source,
        "note": record.note,
        **record.variant.content(),
    }
    show(as_json, values, lambda out: out.print(reading(record), markup=False))


@app.command()
def diff(
    family: FamilyName,
    variant: VariantId,
    against: Annotated[str, typer.Option(help="The variant to compare with.")] = "champion",
    as_json: Json = False,
) -> None:
    """What differs between two variants, line by line.

    Example: detent variant diff triage candidate
    """
    session = Session()
    new, old = find_variant(session, family, variant), find_variant(session, family, against)
    lines = differences(old, new)
    values = {"family": family, "variant": new.variant.id, "against": old.variant.id, "diff": lines}

    def view(out: Any) -> None:
        if not lines:
            say(f"{new.variant.id} and {old.variant.id} are the same setting.")
        for line in lines:
            colour = "green" if line.startswith("+") else "red" if line.startswith("-") else None
            out.print(line, style=colour, markup=False)

    show(as_json, values, view)


@app.command()
def create(
    family: FamilyName,
    start: Annotated[str, typer.Option("--from", help="The variant to change.")] = "champion",
    messages: Annotated[Path | None, typer.Option(help="A JSON file with the list of messages.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model setting such as temperature=0.2; may be repeated.")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="A knob of the policy such as accept=0.83, null to take it out; may be repeated."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="quick or thorough: how sure an answer must be, and how often it is tried for; --policy comes on top.",
            show_default=False,
        ),
    ] = None,
    without_examples: Annotated[bool, typer.Option("--without-examples", help="Drop the few-shot examples.")] = False,
    note: Annotated[str, typer.Option(help="What is different, for people.")] = "",
    as_json: Json = False,
) -> None:
    """Make a variant by hand. Nothing is served by it.

    Examples:
      detent variant create triage --from champion --model temperature=0.2 --note "warmer"
      detent variant create triage --policy accept=0.83
    """
    from optimizer.jobs.families.create_variant import VariantDraft

    session = Session()
    session.family(family)
    draft = VariantDraft(
        from_variant=find_variant(session, family, start).variant.id,
        messages=_messages(messages),
        model=_settings("--model", "temperature=0.2", model),
        policy=_settings("--policy", "accept=0.83", policy),
        preset=preset,
        examples=[] if without_examples else None,
        note=note,
    )
    answer = session.operations.create_variant(family, draft)
    made = answer["variant"]
    show(as_json, answer, lambda out: out.print(made))
    tell_change(
        f"{family}: variant {made} {'made' if answer['new'] else 'was there already, with the same content'}.",
        why=note,
        undo="nothing to undo: a variant is served only after a rollout",
        then=f"detent variant diff {family} {made}; detent rollout start {family} {made} --dry-run",
    )


@app.command()
def export(
    family: FamilyName,
    variant: VariantId = "champion",
    format: Annotated[
        str, typer.Option(help="messages, yaml, dspy, mlflow, langchain or that of a package.")
    ] = "messages",
    as_json: Json = False,
) -> None:
    """Print a variant for use elsewhere; yaml is the block to commit to family.yaml.

    Example: detent variant export triage --format yaml
    """
    from optimizer.jobs.families.export_variant import export_variant

    session = Session()
    record = find_variant(session, family, variant)
    text = export_variant(session.family(family), record, format)
    values = {"family": family, "variant": record.variant.id, "format": format, "text": text}
    show(as_json, values, lambda out: print(printable(text) if out.is_terminal else text, end=""))


def _messages(path: Path | None) -> list[dict[str, Any]] | None:
    if path is None:
        return None
    try:
        values = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read as JSON: {error}.") from None
    if not isinstance(values, list) or not all(isinstance(m, dict) for m in values):
        raise InvalidInput(f'{path} must hold a list of messages, such as [{{"role": "user", "content": "..."}}].')
    return values


def _settings(option: str, such_as: str, pairs: list[str] | None) -> dict[str, Any] | None:
    if not pairs:
        return None
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InvalidInput(f"{option} takes NAME=VALUE, such as {such_as}, not {pair!r}.")
        try:
            values[name] = read_json(text)
        except ValueError:
            values[name] = text
    return values


def reading(record: VariantRecord) -> str:
    """All of a variant, in the order the model sees it."""
    origin = f"{record.source}, by {record.created_by}" + (f", from study {record.study}" if record.study else "")
    return "\n".join(
        [f"{record.variant.id}  ({origin}){'  ' + record.note if record.note else ''}", *_lines(record.variant)]
    )


def differences(old: VariantRecord, new: VariantRecord) -> list[str]:
    """A unified diff of two readings without their head lines; empty for the same setting."""
    return list(
        difflib.unified_diff(_lines(old.variant), _lines(new.variant), old.variant.id, new.variant.id, lineterm="", n=2)
    )


def _lines(variant: Variant) -> list[str]:
    lines: list[str] = []
    for message in variant.messages:
        lines += [f"[{message['role']}]", *str(message.get("content") or "").splitlines()]
        if message["role"] == "examples":
            for example in variant.examples:
                inputs = json.dumps(dict(example.input), ensure_ascii=False)
                lines.append(f"  {example.id}: {inputs} -> {example.output}")
    if variant.examples and all(m["role"] != "examples" for m in variant.messages):
        lines.append("[examples, before the last user message]")
        lines += [f"  {e.id}: {json.dumps(dict(e.input), ensure_ascii=False)} -> {e.output}" for e in variant.examples]
    lines += [f"model.{name}: {json.dumps(value)}" for name, value in sorted(variant.model.items())]
    lines += [f"policy.{name}: {json.dumps(value)}" for name, value in sorted(shown_policy(variant.policy).items())]
    for name in ("tools", "response_format"):
        if getattr(variant, name) is not None:
            lines.append(f"{name}: {json.dumps(getattr(variant, name), default=dict)}")
    return lines
