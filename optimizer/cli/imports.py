"""``detent import``: examples and feedback from a file or an installed source."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from optimizer.cli.output import Json, say, show
from optimizer.cli.reading_progress import told_while
from optimizer.cli.session import Session
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.phrasing import count


def register(app: typer.Typer) -> None:
    app.command("import")(import_)


def import_(
    source: Annotated[str, typer.Argument(help="A file (JSON lines or CSV), or installed-docs.", show_default=False)],
    family: Annotated[str, typer.Option(help="The family it belongs to.", show_default=False)],
    input: Annotated[
        list[str] | None, typer.Option(help="For CSV: FIELD=COLUMN, or the column alone; may be repeated.")
    ] = None,
    output: Annotated[str | None, typer.Option(help="For CSV: FIELD=COLUMN, or the column alone.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a CSV; default: UTF-8, or its byte order mark.")] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Of a CSV: one character or tab; default: told by its first line.")
    ] = None,
    curated: Annotated[
        bool | None, typer.Option(help="Whether a person vouches for the texts: they may be quoted in prompts.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take examples or feedback in; says what was taken, what was not, and why. Safe to repeat.

    Texts become few-shot examples only where a person vouches for them: by --curated, or in `detent review`.

    Examples:
      detent import installed-docs --family summarization
      detent import tickets.csv --family triage --input text=Body --output topic=Category
      detent import feedback.jsonl --family triage
    """
    from optimizer.core.family.family import kind_of
    from optimizer.runtime import wiring

    session = Session()
    declared = session.family(family)
    mapping = columns(list(declared.inputs), declared.output.field, input or [], output)
    session.before_change()
    opened = wiring.open_source(source, declared, mapping, encoding=encoding, delimiter=delimiter)
    if opened.rows is not None:
        from optimizer.jobs.dataset.import_examples import import_examples

        released = opened.curated if curated is None else curated
        with told_while(opened.rows, "rows read", of=opened.n_rows) as rows:
            report = import_examples(
                rows, family=declared, store=session.store, clock=session.clock, actor=session.actor, curated=released
            )
        value = {**asdict(report), "columns": opened.columns, "columns_not_read": opened.not_read}
        show(as_json, value, lambda out: None)
        if opened.columns is not None:
            taken = (name if name == column else f"{name} from {column}" for name, column in opened.columns.items())
            say(
                f"Columns taken: {', '.join(taken)}."
                + (f" Not read: {', '.join(opened.not_read)}." if opened.not_read else "")
            )
            if lacked := [name for name in declared.inputs if name not in opened.columns]:
                say(f"Without a column, so not measured: {', '.join(lacked)}.")
        for sentence in report.sentences():
            say(sentence)
        if not released and report.n_accepted and kind_of(declared).asks_models:
            say(
                "No prompt quotes these texts, and no study takes those of train, until a person releases them. Where"
                " one vouches for all of them, the same import again with --curated releases them."
            )
        if report.n_accepted == report.n_duplicate == 0:
            raise typer.Exit(1)
        return
    assert opened.events is not None
    counts = _import_events(session, family, opened.events)
    show(as_json, counts, lambda out: None)
    say(
        f"{family}: {count(counts['accepted'], 'event')} taken, {counts['duplicates']} there already,"
        f" {len(counts['rejected'])} not taken."
    )
    for rejected in counts["rejected"][:10]:
        say(f"  {rejected['where']}: {rejected['detail']}")
    if counts["accepted"] == counts["duplicates"] == 0:
        raise typer.Exit(1)


def columns(inputs: list[str], output_field: str, given: list[str], output: str | None) -> dict[str, str]:
    """Field of the family > column: ``FIELD=COLUMN`` as said; a column alone means the only input, or the output."""
    mapping: dict[str, str] = {}
    for pair in given:
        name, equals, column = pair.partition("=")
        if not equals and len(inputs) != 1:
            raise InvalidInput(
                f"--input {pair} names no field; the family has {', '.join(inputs)}, so write FIELD=COLUMN."
            )
        mapping[name if equals else inputs[0]] = column if equals else name
    if output is not None:
        name, equals, column = output.partition("=")
        mapping[name if equals else output_field] = column if equals else name
    unknown = [name for name in mapping if name not in (*inputs, output_field)]
    if unknown:
        raise InvalidInput(
            f"The family has no field {', '.join(unknown)}; its inputs are {', '.join(inputs)}, its output is"
            f" {output_field}."
        )
    return mapping


def _import_events(session: Session, family: str, records: Any) -> dict[str, Any]:
    """Feedback from a file goes the way of every event: masked, deduplicated by id, a thousand at a time."""
    from itertools import islice

    total: dict[str, Any] = {"accepted": 0, "duplicates": 0, "rejected": []}
    stream = iter(records)
    while batch := list(islice(stream, session.settings.limits.batch)):
        readable = [(where, {"family": family, **event}) for where, event, _ in batch if event is not None]
        total["rejected"] += [
            {"where": where, "type": "malformed", "detail": why} for where, event, why in batch if event is None
        ]
        if not readable:
            continue
        answer = session.intake.take([event for _, event in readable])
        total["accepted"] += answer["accepted"]
        total["duplicates"] += answer["duplicates"]
        total["rejected"] += [{"where": readable[r["index"]][0], **r} for r in answer["rejected"]]
    return total
