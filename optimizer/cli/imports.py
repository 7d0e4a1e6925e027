"""``detent import``: examples and feedback from a file or an installed source."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from optimizer.cli.output import Json, say, show
from optimizer.cli.progress import told_while
from optimizer.cli.server_option import chosen_server
from optimizer.cli.session import Session
from optimizer.core.base.errors import DetentError, InvalidInput, NotFound, TooMany
from optimizer.core.base.phrasing import count
from optimizer.runtime import wiring
from optimizer.runtime.use_cases import as_json_of

if TYPE_CHECKING:
    from optimizer.adapters.files.sources import Source
    from optimizer.core.family.family import Family
    from optimizer.jobs.dataset.import_examples import ImportReport
    from optimizer.ports import SourceRow
    from optimizer.runtime.api_client import ApiClient

T = TypeVar("T")

# Of one request: below what a server takes, if its limits are not lowered.
PART_ROWS, PART_EVENTS, PART_BYTES, PART_SIGNS = 2000, 1000, 2 * 2**20, 40_000
SIGNS = ",[{"  # each begins a value at most
EVENTS = "/v1/interactions/import"


def import_(
    source: Annotated[
        str,
        typer.Argument(
            help=(
                "A file (JSON lines or CSV), a folder of dialogs, installed-docs, mlflow:EXPERIMENT or langfuse:PROMPT."
            ),
            show_default=False,
        ),
    ],
    family: Annotated[str, typer.Option(help="The family it belongs to.", show_default=False)],
    input: Annotated[
        list[str] | None,
        typer.Option(
            help="For CSV: FIELD=COLUMN, or the column alone; for dialogs FIELD=MEMBER of a prompt. May be repeated."
        ),
    ] = None,
    output: Annotated[str | None, typer.Option(help="For CSV: FIELD=COLUMN, or the column alone.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a CSV; default: UTF-8, or its byte order mark.")] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Of a CSV: one character or tab; default: told by its first line.")
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(help="Of TensorZero's feedback: its tensorzero.toml, which says what of a metric is better."),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="Of MLflow's traces: the prompt that they link; default: one of the family's name."),
    ] = None,
    curated: Annotated[
        bool | None, typer.Option(help="Whether a person vouches for the texts: they may be quoted in prompts.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take examples or feedback in; says what was taken, what was not, and why. Safe to repeat.

    A server is sent what the file holds, in parts, and never its path.

    Texts become few-shot examples only where a person vouches for them: by --curated, or in `detent review`.

    Examples:
      detent import installed-docs --family summarization
      detent import tickets.csv --family triage --input message=Body --output topic=Category
      detent import feedback.jsonl --family triage
      detent import dialogs/ --family triage
      detent import feedback.jsonl --family triage --metrics tensorzero.toml
      detent import mlflow:support --family triage --prompt triage-prompt
      detent import langfuse:triage-prompt --family triage
    """
    session = Session()
    declared = _declared(session, family)
    mapping = columns(list(declared.inputs), declared.output.field, input or [], output)
    session.before_change()
    opened = wiring.open_source(
        source, declared, mapping, encoding=encoding, delimiter=delimiter, metrics=metrics, prompt=prompt
    )
    if opened.rows is not None:
        _import_rows(session, declared, opened, curated, as_json)
        return
    assert opened.events is not None
    with _interruptible():
        counts = _import_events(session, family, opened.events)
    show(as_json, counts)
    say(
        f"{family}: {count(counts['accepted'], 'event')} taken, {counts['duplicates']:,} there already,"
        f" {len(counts['rejected']):,} not taken."
    )
    for rejected in counts["rejected"][:10]:
        say(f"  {rejected['where']}: {rejected['detail']}")
    if counts["accepted"] == counts["duplicates"] == 0:
        raise typer.Exit(1)


def _import_rows(session: Session, declared: Family, opened: Source, curated: bool | None, as_json: bool) -> None:
    """Takes examples in, and says what was read, what was not, and what is still to do."""
    from optimizer.core.family.family import kind_of
    from optimizer.jobs.dataset.import_examples import import_examples

    assert opened.rows is not None
    released = opened.curated if curated is None else curated
    with _interruptible(), told_while(opened.rows, "rows read", of=opened.n_rows) as rows:
        report = _import_examples(session, declared, rows, curated=released)
    value = {**as_json_of(import_examples, report), "columns": opened.columns, "columns_not_read": opened.not_read}
    show(as_json, value)
    if opened.columns is not None:
        columns_read = (name if name == column else f"{name} from {column}" for name, column in opened.columns.items())
        say(
            f"Columns taken: {', '.join(columns_read)}."
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


def columns(inputs: list[str], output_field: str, pairs: list[str], output: str | None) -> dict[str, str]:
    """Field of the family > column: ``FIELD=COLUMN`` as said; a column alone means the only input, or the output."""
    mapping: dict[str, str] = {}
    for pair in pairs:
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


def _declared(session: Session, family: str) -> Family:
    """What the family declares in this home, or on the server that is named."""
    if chosen_server() is None:
        return session.family(family)
    declared = session.family_view(family).definition
    if declared is None:
        raise NotFound(
            f"What {family} declares is not to be read there: its file could never be read, or the key may not read"
            " texts (role read-texts).",
            family=family,
        )
    return declared


@contextmanager
def _interruptible() -> Iterator[None]:
    """Says what Ctrl-C leaves."""
    try:
        yield
    except KeyboardInterrupt:
        say("What was taken stays. The same import again takes the rest.")
        raise


def _import_examples(session: Session, family: Family, rows: Iterable[SourceRow], *, curated: bool) -> ImportReport:
    """What concerns all rows together is found here: who is asked to take them gets parts, and never a path."""
    from optimizer.jobs.dataset.import_examples import (
        ImportedRow,
        TextsWithoutGroup,
        import_examples,
    )

    texts, report = TextsWithoutGroup(family), None
    imported = (
        ImportedRow(**{name: value for name in ImportedRow.model_fields if (value := getattr(row, name))})
        for row in texts.passing(rows)
    )
    for part in parts(imported, lambda row: row.model_dump_json(exclude_unset=True), PART_ROWS):
        try:
            part_report = _in_turn(
                partial(session.ask, import_examples, family=family.name, rows=part, curated=curated)
            )
        except (DetentError, KeyboardInterrupt):
            if report is not None:
                say(f"Before that part: {report.sentences()[0]}")
            raise
        report = part_report if report is None else report.with_next(part_report)
    assert report is not None
    return texts.with_look_alikes(report)


def parts(items: Iterable[T], as_text: Callable[[T], str], n_most: int) -> Iterator[list[T]]:
    """In their order, each small enough for one request; one that is empty where there is none."""
    part: list[T] = []
    n_bytes = n_signs = 0
    for item in items:
        text = as_text(item)
        size, signs = len(text.encode()), sum(map(text.count, SIGNS))
        if part and (len(part) == n_most or n_bytes + size > PART_BYTES or n_signs + signs > PART_SIGNS):
            yield part
            part, n_bytes, n_signs = [], 0, 0
        part.append(item)
        n_bytes, n_signs = n_bytes + size, n_signs + signs
    yield part


def _import_events(session: Session, family: str, records: Iterable[Any]) -> dict[str, Any]:
    """Feedback from a file goes the way of every event: masked, deduplicated by id, a thousand at a time."""
    from optimizer.jobs.feedback.ingest_feedback import intake_of

    total: dict[str, Any] = {"accepted": 0, "duplicates": 0, "rejected": []}
    server = session.asked_server
    take = intake_of(session.context).take if server is None else partial(_send_lines, server)
    for batch in parts(records, json.dumps, PART_EVENTS):
        readable = [(where, {"family": family, **event}) for where, event, _ in batch if event is not None]
        total["rejected"] += [
            {"where": where, "type": "malformed", "detail": why} for where, event, why in batch if event is None
        ]
        if not readable:
            continue
        events = [event for _, event in readable]
        answer = _in_turn(partial(take, events))
        total["accepted"] += answer["accepted"]
        total["duplicates"] += answer["duplicates"]
        total["rejected"] += [
            {"where": readable[rejected["index"]][0], **{name: rejected[name] for name in ("index", "type", "detail")}}
            for rejected in answer["rejected"]
        ]
    return total


def _in_turn(send: Callable[[], T]) -> T:
    """A file may hold more than a server takes from one sender in a minute, and an import that is repeated begins with
    its first row: a part that was refused is sent again when the server said.
    """
    while True:
        try:
            return send()
        except TooMany as full:
            wait_s = full.members.get("retry_after_s")
            if wait_s is None:
                raise
            say(f"The server takes no more from one sender now; the import goes on in {wait_s} s.")
            sleep(wait_s)


def _send_lines(server: ApiClient, events: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Sends the events as the lines that the route takes; its body is no JSON, so it is no use case."""
    lines = "\n".join(map(json.dumps, events))
    answer: Mapping[str, Any] = json.loads(
        server.content("POST", EVENTS, content=lines, headers={"Content-Type": "application/x-ndjson"})
    )
    return answer
