"""``detent variant``: the settings of a family that exist, what differs, and new ones by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.output import FamilyName, Json, say, show_report, table, tell_change
from optimizer.cli.session import Session
from optimizer.cli.variant.compare import compare
from optimizer.core.base.canonical import read_json
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.phrasing import printable

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.views.variant import VariantDiff, VariantView
    from optimizer.jobs.families.create_variant import CreatedVariant

app = typer.Typer(name="variant", no_args_is_help=True, help="Variants of a family: list, show, compare, make, export.")

app.command()(compare)

VariantId = Annotated[
    str, typer.Argument(help="Id of the variant, or champion, candidate, or file.", show_default=False)
]


@app.command("list")
def list_variants(family: FamilyName, as_json: Json = False) -> None:
    """Every variant of a family, newest first, with its uses.

    Example: detent variant list triage
    """
    from optimizer.jobs.champions.read_variants import read_variants

    page = Session().whole(read_variants, family=family)
    rows = [
        {
            "variant": item.variant,
            "use": item.use or "",
            "source": item.source,
            "n_examples": len(item.examples or ()),
            "created_at": item.created_at,
            "created_by": item.created_by,
            "note": item.note or (f"version {item.file_version} of the file" if item.file_version else ""),
        }
        for item in sorted(page.items, key=lambda item: item.created_at, reverse=True)
    ]
    columns = {
        "variant": "Variant",
        "use": "Use",
        "source": "Source",
        "n_examples": "Examples",
        "created_at": "Made",
        "created_by": "By",
        "note": "Note",
    }
    show_report(as_json, read_variants, page, table(rows, columns, empty=f"{family} has no variants yet."))


@app.command("show")
def show_variant(family: FamilyName, variant: VariantId = "champion", as_json: Json = False) -> None:
    """One variant in full: messages, few-shot examples, model settings.

    An id may be shortened. candidate is that of the active rollout, else the winner of the last study that nominated
    one; file is what family.yaml says now.
    """
    from optimizer.jobs.champions.read_variants import read_named_variant

    Session().show(
        as_json,
        read_named_variant,
        lambda out, view: out.print(reading(view), markup=False),
        family=family,
        name=variant,
    )


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
    from optimizer.jobs.champions.read_variants import read_diff, read_named_variant

    session = Session()
    new, old = (session.ask(read_named_variant, family=family, name=name).variant for name in (variant, against))
    session.show(as_json, read_diff, _print_diff, variant=new, against=old, family=family)


def _print_diff(out: Console, diff: VariantDiff) -> None:
    if diff.same:
        say(f"{diff.variant} and {diff.against} are the same setting.")
    for line in diff.diff.splitlines():
        colour = "green" if line.startswith("+") else "red" if line.startswith("-") else None
        out.print(line, style=colour, markup=False)


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
    from optimizer.jobs.families.create_variant import create_variant

    session = Session()
    created = session.show(
        as_json,
        create_variant,
        lambda out, created: out.print(created.variant),
        family=family,
        from_=session.named_variant(family, start),
        messages=_messages(messages),
        model=_settings("--model", "temperature=0.2", model),
        policy=_settings("--policy", "accept=0.83", policy),
        preset=preset,
        examples=[] if without_examples else None,
        note=note,
    )
    _tell_variant(family, created, "made", note)


@app.command()
def export(
    family: FamilyName,
    variant: VariantId = "champion",
    format: Annotated[
        str, typer.Option(help="messages, yaml, dspy, mlflow, langchain, litellm or that of a package.")
    ] = "messages",
    as_json: Json = False,
) -> None:
    """Print a variant for use elsewhere; yaml is the block to commit to family.yaml.

    Example: detent variant export triage --format yaml
    """
    from optimizer.jobs.champions.read_variants import read_export

    Session().show(
        as_json,
        read_export,
        lambda out, export: print(printable(export.text) if out.is_terminal else export.text, end=""),
        family=family,
        name=variant,
        format=format,
    )


@app.command("import")
def import_variant(
    family: FamilyName,
    file: Annotated[
        Path,
        typer.Argument(
            help="What `variant export` or `data export` wrote: messages (JSON) or yaml.", show_default=False
        ),
    ],
    note: Annotated[str, typer.Option(help="Where it comes from, for people; default: the file's name.")] = "",
    as_json: Json = False,
) -> None:
    """Take a variant that was exported elsewhere. It arrives as one that could be rolled out; nothing is served by it.

    Its messages take the place of the family's own; settings that the file lacks stay as the family's file has them.

    Example: detent variant import triage leaving/prompts/triage/v_0123456789ab.yaml
    """
    from optimizer.host.yaml_files import load_file
    from optimizer.jobs.families.create_variant import create_variant

    try:
        data = read_json(file.read_text(encoding="utf-8")) if file.suffix == ".json" else None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file} cannot be read as an export: {error}.") from None
    if data is None:
        data = load_file(file, "Export it anew: detent variant export FAMILY --format yaml.")
    prompt = data.get("prompt") if isinstance(data, dict) else None
    if isinstance(prompt, dict):
        versions, current, settings = prompt.get("versions"), prompt.get("current"), data.get("model") or {}
        version = versions.get(current) if isinstance(versions, dict) and isinstance(current, str) else None
        if not isinstance(version, dict):
            raise InvalidInput(f"{file} names no version of its own under prompt.current.")
        if not isinstance(settings, dict):
            raise InvalidInput(f"{file} has a model that is no mapping: {settings!r:.80}.")
        model = {"name" if name == "default" else name: value for name, value in settings.items()}
        data = {**version, "messages": version.get("content"), "model": model}
    messages = data.get("messages") if isinstance(data, dict) else None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise InvalidInput(
            f"{file} holds no messages. Export it anew: detent variant export FAMILY --format messages (or yaml)."
        )
    created = Session().show(
        as_json,
        create_variant,
        lambda out, created: out.print(created.variant),
        family=family,
        messages=messages,
        examples=[],
        model=data.get("model"),
        policy=data.get("policy"),
        response_format=data.get("response_format"),
        note=note or f"from {file.name}",
    )
    tools = data.get("tools")
    if tools and [dict(tool) for tool in created.tools or ()] != tools:
        say("Not carried over: tools, which are the family's own; write them into its file.")
    _tell_variant(family, created, "has come", note)


def _tell_variant(family: str, variant: CreatedVariant, if_new: str, note: str) -> None:
    """``if_new``: the words for how a new one came about."""
    id = variant.variant
    tell_change(
        f"{family}: variant {id} {if_new if variant.new else 'was there already, with the same content'}.",
        why=note,
        undo="nothing to undo: a variant is served only after a rollout",
        then=f"detent variant diff {family} {id}; detent rollout start {family} {id} --dry-run",
    )


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


def reading(view: VariantView) -> str:
    """All of a variant, under where it comes from."""
    from optimizer.core.views.variant import variant_text

    origin = f"{view.source}, by {view.created_by}" + (f", from study {view.study}" if view.study else "")
    lines = [f"{view.variant}  ({origin}){'  ' + view.note if view.note else ''}"]
    if (renderings := view.renderings) is not None:
        n = renderings.n_nearest + renderings.n_fixed
        lines.append(f"fetched {n:,} times, {renderings.n_fixed:,} of them with its fixed examples")
    return "\n".join([*lines, variant_text(view)])
