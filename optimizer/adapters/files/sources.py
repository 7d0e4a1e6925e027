"""The one way into everything that can be imported.

``open_source`` turns a name or path into rows for the import job; ``read_sheet`` gives a person's examples as columns
and rows, from which a new family is drafted. JSON lines are read as a stream, tables by ``table_files``.
"""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from optimizer.adapters.files.installed_docs import clean_prose, cut_at_sentence, docs_for, installed_docstrings
from optimizer.adapters.files.table_files import NUL, Table, open_table
from optimizer.core.base.canonical import read_json
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.declaration.draft import Sheet
from optimizer.core.family.family import Family, kind_of
from optimizer.core.feedback.dialogs import TEXT, events_of_dialog, is_dialog
from optimizer.core.feedback.langfuse_rows import event_of_generation, event_of_score
from optimizer.core.feedback.mlflow_traces import events_of_trace, is_mlflow_trace
from optimizer.core.feedback.tensorzero_rows import directions_of, event_of, is_tensorzero_row
from optimizer.ports import SourceRow

Kind = Literal["examples", "feedback", "dialogs", "csv", "tensorzero", "mlflow"]
Record = tuple[str, Mapping[str, Any] | None, str | None]  # (where, the object, or None and why it is none)
_EVENT_FIELDS = {"score", "success", "label", "output", "assignment", "interaction", "error", "latency_ms"}
_EXAMPLE_FIELDS = {"id", "group", "input"}
_OTHER_DIALOG_FIELDS = {"turns", "messages"}  # of forms that are not read
DIALOG_FILES = (".json", ".jsonl")  # of a folder of dialogs
TABLES = (".csv", ".tsv", ".tab", ".xlsx", ".xls")  # a workbook is told from a table by what it holds, with what to do
MAX_LINE_CHARS = 4_000_000
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # as JSON escapes it: no other backslash stands before its own
NO_OBJECTS = '"input" and "expected" have to be objects'


def format_of(path: Path) -> Kind:
    """What a file holds, told by its name and its first readable line.

    Raises:
        NotFound: there is no such file, or it is a folder.
        InvalidInput: it is neither CSV nor JSON lines of a known shape; the sentence shows the shapes.
    """
    if path.is_dir():
        if dialog_files(path):
            return "dialogs"
        raise NotFound(
            f"Cannot import {str(path)!r}: it is a folder without dialogs ({' or '.join(DIALOG_FILES)}). Name one of"
            " its files."
        )
    if not path.is_file():
        raise NotFound(f"Cannot import {str(path)!r}: there is no such file. The other source is 'installed-docs'.")
    if path.suffix.lower() in TABLES:
        return "csv"
    if (whole := _whole_object(path)) is not None and is_dialog(whole):
        return "dialogs"
    first = next((record for _, record, _ in read_json_lines(path) if record is not None), None)
    if first is not None:
        if is_tensorzero_row(first):
            return "tensorzero"
        if is_mlflow_trace(first):
            return "mlflow"
        if "input" in first and "expected" in first and not _EVENT_FIELDS & first.keys():
            return "examples"
        if "input" in first and first.keys() <= _EXAMPLE_FIELDS:  # of open answers, which a judge scores
            return "examples"
        if is_dialog(first):
            return "dialogs"
        if _OTHER_DIALOG_FIELDS & first.keys():
            raise InvalidInput(
                f'{path.name!r} holds conversations of a form that is not read. A dialog looks like {{"dialog_id":'
                ' "001", "user_id": "...", "prompts": [{"text": "...", "response_time_ms": 3200}]}.'
            )
        if _EVENT_FIELDS & first.keys() or "expected" in first:
            return "feedback"
    if next(read_json_lines(path), None) is None:
        raise InvalidInput(f"{path.name!r} is empty.")
    raise InvalidInput(
        f'Cannot tell what {path.name!r} holds. Examples look like {{"input": {{...}}, "expected": {{...}}}}, feedback'
        ' events like {"id": "...", "unit": "...", "score": 0.8}, one JSON object per line; a table ends in .csv and'
        " needs --input and --output."
    )


def read_json_lines(path: Path) -> Iterator[Record]:
    """Every line that is not blank: (line n, object, None) or (line n, None, why).

    Raises InvalidInput for UTF-16 and UTF-32, whose lines are not told by their bytes.
    """
    with path.open("rb") as file:
        encoding = json.detect_encoding(file.read(4))
        if not encoding.startswith("utf-8"):
            raise InvalidInput(f"{path.name!r} is {encoding[:6].upper()} text. Save its lines of JSON as UTF-8.")
        file.seek(0)
        for n, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            where = f"line {n}"
            if len(raw) > MAX_LINE_CHARS:
                yield where, None, f"longer than {MAX_LINE_CHARS:,} characters"
                continue
            try:
                record = read_json(raw)
            except ValueError:
                yield where, None, "no JSON object in one line"
                continue
            if b"\\u0000" in raw and _NUL.search(raw):  # the pattern alone takes longer than all else
                yield where, None, NUL
            elif isinstance(record, dict):
                yield where, record, None
            else:
                yield where, None, "no JSON object in one line"


def _whole_object(path: Path) -> Mapping[str, Any] | None:
    """Of a file that is one JSON object, which may have several lines."""
    if path.stat().st_size > MAX_LINE_CHARS:
        return None
    try:
        whole = read_json(path.read_bytes())
    except ValueError:
        return None
    return whole if isinstance(whole, dict) else None


def dialog_files(folder: Path) -> list[Path]:
    """In the order of their names."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in DIALOG_FILES and file.is_file())


def read_dialogs(path: Path) -> Iterator[Record]:
    """Of a folder, of JSON lines, or of one object in a file: (where, dialog, None) or (where, None, why)."""
    if path.is_dir():
        for file in dialog_files(path):
            yield from ((f"{file.name} {where}".strip(), record, why) for where, record, why in read_dialogs(file))
        return
    whole = _whole_object(path)
    records: Iterable[Record] = [("", whole, None)] if whole is not None else read_json_lines(path)
    for where, record, why in records:
        if record is not None and not is_dialog(record):
            record, why = None, "no dialog: it has no list of prompts"
        yield where, record, why


def dialog_events(dialogs: Iterable[Record], family: Family, columns: Mapping[str, str]) -> Iterator[Record]:
    """An event of each prompt. ``columns``: input of the family > member of a prompt; a single input takes its text.

    Raises InvalidInput where it is not said what fills an input.
    """
    inputs = dict(columns) or (dict.fromkeys(family.inputs, TEXT) if len(family.inputs) == 1 else {})
    inputs.pop(family.output.field, None)
    if missing := [name for name in family.inputs if name not in inputs]:
        raise InvalidInput(
            f"A prompt of a dialog has one text, and {family.name} has the inputs {', '.join(family.inputs)}. Say"
            f" which member of a prompt fills each: {' '.join(f'--input {name}=MEMBER' for name in missing)}."
        )
    return _prompt_events(dialogs, family.name, inputs)


def _prompt_events(dialogs: Iterable[Record], family: str, inputs: Mapping[str, str]) -> Iterator[Record]:
    for where, dialog, why in dialogs:
        if dialog is None:
            yield where, None, why
            continue
        for prompt, (event, reason) in events_of_dialog(dialog, family, inputs):
            yield f"{where} {prompt}".strip(), event, reason


def column_mapping(
    columns: Sequence[str], inputs: Sequence[str], output: str, named: Mapping[str, str], *, may_lack: bool = False
) -> dict[str, str]:
    """Field of the family > column of the file: as given, else the column of the same name.

    Args:
        named: from --input FIELD=COLUMN and --output FIELD=COLUMN (or the column alone).
        may_lack: inputs without a column are left out, as not measured; one at least has to be there.
    Raises:
        InvalidInput: a field has no column, a column named does not exist, or a name stands twice in the first line.
    """
    _refuse_twice(columns, "The first line")
    mapping = {name: named.get(name, name) for name in (*inputs, output)}
    missing = {field: column for field, column in mapping.items() if column not in columns}
    lacked = (
        [field for field in missing if may_lack and field != output and field not in named]
        if set(inputs) - set(missing)
        else []
    )
    if set(missing) - set(lacked):
        shown = {field: column for field, column in missing.items() if field not in lacked}
        known = f"its columns are {', '.join(map(repr, columns)) or 'none'}"
        if may_lack and len(shown) > 1 and not any(field in named for field in inputs):
            raise InvalidInput(
                f"None of the file's columns is an input of the family; {known}. Name one at least with --input"
                f" FIELD=COLUMN, of the fields {', '.join(inputs)}"
                + (f", and the output with --output {output}=COLUMN." if output in shown else ".")
            )
        options = " ".join(f"--{'output' if f == output else 'input'} {f}=COLUMN" for f in shown)
        raise InvalidInput(
            f"The file has no column {', '.join(map(repr, shown.values()))}; {known}. Name the right ones with"
            f" {options}."
        )
    return {field: column for field, column in mapping.items() if field not in lacked}


def _refuse_twice(names: Iterable[str], where: str) -> None:
    """Raises InvalidInput where one of these names of columns stands there twice."""
    if twice := sorted(name for name, n in Counter(names).items() if name and n > 1):
        raise InvalidInput(
            f"{where} names {', '.join(map(repr, twice))} more than once, so it is unclear which column is meant."
            " Rename one."
        )


def json_or_text(text: str) -> Any:
    """The JSON value that a cell holds, else its text."""
    try:
        return read_json(text)
    except ValueError:
        return text


INSTALLED_DOCS = "installed-docs"
OWN_COLUMNS = ("id", "group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What was opened. ``rows`` for examples, ``events`` for feedback: (where, event or None, why not)."""

    curated: bool  # released for few-shot examples unless the person says otherwise
    rows: Iterator[SourceRow] | None = None
    events: Iterator[Record] | None = None
    columns: Mapping[str, str] | None = None  # of a table: field > its column
    not_read: Sequence[str] = ()  # columns of a table that no field takes
    n_rows: int | None = None  # where it is known beforehand


def open_source(
    source: str,
    family: Family,
    columns: Mapping[str, str] | None = None,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    metrics: Path | None = None,
    prompt: str | None = None,
) -> Source:
    """Opens ``installed-docs`` or a file.

    Args:
        columns: field of the family > column, for CSV; of dialogs > member of a prompt.
        encoding, delimiter: of a CSV; None: told by the file.
        metrics: TensorZero's configuration, for its feedback.
        prompt: the one that traces of MLflow link; None: of the family's name.
    Raises:
        NotFound: no such file.
        InvalidInput: a file of no known shape, a CSV without the columns, dialogs whose text fills no input, or a
            family that the source cannot serve.
    """
    if source == INSTALLED_DOCS:
        return Source(curated=True, rows=_installed_docs(family))
    path = Path(source).expanduser()
    kind = format_of(path)
    if kind == "dialogs":
        return Source(curated=False, events=dialog_events(read_dialogs(path), family, columns or {}))
    if kind == "feedback":
        return Source(curated=False, events=read_json_lines(path))
    if kind == "tensorzero":
        directions = {}
        if metrics is not None:
            try:
                directions = directions_of(tomllib.loads(metrics.read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                raise InvalidInput(f"{metrics} cannot be read as a configuration of TensorZero: {error}.") from None
        return Source(curated=False, events=_tensorzero_events(path, family, directions))
    if kind == "mlflow":
        return Source(curated=False, events=trace_events(read_json_lines(path), family, prompt))
    if kind == "csv":
        table = open_table(path, encoding=encoding, delimiter=delimiter)
        names = list(table.columns)
        mapping = column_mapping(
            names, list(family.inputs), family.output.field, columns or {}, may_lack=kind_of(family).may_lack_inputs
        )
        used = {*mapping.values(), *OWN_COLUMNS}
        return Source(
            curated=False,
            rows=_csv_rows(table, family, mapping),
            columns=mapping,
            not_read=tuple(name for name in names if name not in used),
            n_rows=table.n_rows,
        )
    return Source(curated=False, rows=_json_rows(path))


def _installed_docs(family: Family) -> Iterator[SourceRow]:
    texts = [name for name, declared in family.inputs.items() if declared.type == "text"]
    if len(family.inputs) != 1 or not texts:
        raise InvalidInput(
            f"The source 'installed-docs' fills one text input, and {family.name!r} has {', '.join(family.inputs)}."
            " Import a file of your own."
        )
    output, labels = family.output, tuple(family.output.labels or ())
    if output.parser == "label" and labels and set(labels) <= set(TYPES):
        return parameters_for(input_field=texts[0], output_field=output.field, labels=labels)
    return docs_for(input_field=texts[0], output_field=output.field, parser=output.parser, labels=labels)


def _tensorzero_events(path: Path, family: Family, directions: Mapping[str, str]) -> Iterator[Record]:
    for where, record, why in read_json_lines(path):
        if record is None or not is_tensorzero_row(record):
            yield where, None, why or "no row of TensorZero's inferences or feedback"
        else:
            event, why = event_of(record, family.name, list(family.inputs), family.output.field, directions)
            yield where, event, why or None


def trace_events(traces: Iterable[Record], family: Family, prompt: str | None) -> Iterator[Record]:
    """The events of MLflow's traces that link the prompt; None: one of the family's name, or as Detent exports it."""
    prompts = {prompt} if prompt is not None else {family.name, f"detent-{family.name}"}
    for where, record, why in traces:
        if record is None or not is_mlflow_trace(record):
            yield where, None, why or "no trace of MLflow"
            continue
        for event, reason in events_of_trace(record, prompts, list(family.inputs), family.output.field):
            yield where, event, reason or None


def langfuse_events(
    generations: Iterable[Mapping[str, Any]], scores: Iterable[Mapping[str, Any]], family: Family, prompt: str
) -> Iterator[Record]:
    """The events of Langfuse's generations that link the prompt, and their scores; a trace's belong to its last
    generation.
    """
    interactions: dict[str, str] = {}
    newest: dict[str, str] = {}  # trace -> start of its last generation; pages may come in any order
    for observation in generations:
        id, trace, start = (str(observation.get(name) or "") for name in ("id", "traceId", "startTime"))
        where, linked = f"observation {id}", observation.get("promptName")
        if linked != prompt or not id:
            yield where, None, f"it links {linked or 'no prompt'}, and not {prompt}" if id else "it has no id"
            continue
        interactions[id] = id
        if start >= newest.get(trace, ""):
            newest[trace], interactions[trace] = start, id
        yield where, event_of_generation(observation, list(family.inputs), family.output.field), None
    for score in scores:
        outcome, why = event_of_score(score, interactions, family.output.field)
        yield f"score {score.get('id')}", outcome, why or None


def _json_rows(path: Path) -> Iterator[SourceRow]:
    for where, record, why in read_json_lines(path):
        if record is None:
            yield SourceRow(where=where, rejected=why)
        elif not isinstance(record.get("input"), dict) or not isinstance(record.get("expected", {}), dict):
            yield SourceRow(where=where, rejected=NO_OBJECTS)
        else:
            id, group = (None if record.get(k) in (None, "") else str(record[k]) for k in ("id", "group"))
            yield SourceRow(where=where, input=record["input"], expected=record.get("expected", {}), id=id, group=group)


def _csv_rows(table: Table, family: Family, mapping: Mapping[str, str]) -> Iterator[SourceRow]:
    field = family.output.field
    for where, record, why in table.rows():
        if record is None:
            yield SourceRow(where=where, rejected=why)
            continue
        input = {
            name: _cell(record.get(mapping[name]), family.inputs[name].type)
            for name in family.inputs
            if name in mapping
        }
        text = record.get(mapping[field])
        expected = {field: (text if text is None or family.output.parser in ("text", "label") else json_or_text(text))}
        id, group = ((record.get(k) or None) if k not in mapping.values() else None for k in OWN_COLUMNS)
        yield SourceRow(where=where, input=input, expected=expected, id=id, group=group)


def _cell(text: str | None, type: str) -> Any:
    """A table holds text only: numbers, truth values and JSON are read as such where the family declares them."""
    if text is None or type == "text":
        return text
    if not text.strip():
        return None  # an empty cell holds no number
    return json_or_text(text)


MAX_CHARS = 300
MIN_CHARS = 20  # of a description
# How an author's words begin for each type; what may be of several types, or None, is left out.
TYPES = {
    "array": re.compile(r"(?:\([^)]*\)\s*)?(?:array|ndarray|array_like|array-like|sequence)\b"),
    "bool": re.compile(r"(?:bool|boolean)\b"),
    "callable": re.compile(r"(?:callable|function)\b"),
    "float": re.compile(r"float\b"),
    "int": re.compile(r"(?:int|integer)\b"),
    "str": re.compile(r"(?:str|string)\b"),
}
_SECTION = re.compile(r"^Parameters\n-{3,}\n(.*?)(?=^\S[^\n]*\n[-=]{3,}$|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^(\w+) ?: ([^\n]+)\n((?:(?:[ \t]+[^\n]*)?(?:\n|\Z))+)", re.MULTILINE)
_SEVERAL = re.compile(r"\bor\b|\bNone\b")


def parameters_for(*, input_field: str, output_field: str, labels: tuple[str, ...]) -> Iterator[SourceRow]:
    """Each parameter once per text, with its name in front.

    Parameters of one name are one group, so that no split has what another has.

    Raises:
        InvalidInput: SciPy is not installed.
    """
    seen: set[str] = set()
    for place, function, doc in installed_docstrings():
        for name, written, description in _parameters(doc):
            text = cut_at_sentence(f"{name}. {description}", MAX_CHARS)
            if text in seen:
                continue
            seen.add(text)
            if _SEVERAL.search(written):
                type = None
            else:
                type = next((name for name, begins in TYPES.items() if begins.match(written)), None)
            reason = None
            if type is None:
                reason = "of several types, or of one that is not told apart here"
            elif type not in labels:
                reason = f"type {type!r} is no label of this family"
            elif len(description) < MIN_CHARS:
                reason = f"description shorter than {MIN_CHARS} characters"
            yield SourceRow(
                where=f"scipy.{place}.{function}, {name}",
                input={input_field: text},
                expected={output_field: type},
                group=name,
                rejected=reason,
            )


def _parameters(doc: str) -> Iterator[tuple[str, str, str]]:
    """(name, type as written, description as prose) of a docstring's parameters."""
    section = _SECTION.search(doc)
    for entry in _ENTRY.finditer(section.group(1)) if section is not None else ():
        name, written, description = entry.groups()
        yield name, written.strip(), clean_prose(inspect.cleandoc(description))


def read_sheet(path: Path, *, encoding: str | None = None, delimiter: str | None = None) -> Sheet:
    """The rows of a CSV file or of JSON lines; an example is flattened into its inputs and expected fields.

    Raises InvalidInput where a line is no JSON object, or its input or expected output is none, or a column's name
    stands twice; ``refused`` has what cannot be read of a CSV file.
    """
    if format_of(path) == "csv":
        table = open_table(path, encoding=encoding, delimiter=delimiter)
        _refuse_twice(table.columns, "The first line")
        read = list(table.rows())
        return Sheet(
            columns=table.columns,
            rows=tuple((where, row) for where, row, _ in read if row is not None),
            refused=tuple((where, why) for where, _, why in read if why is not None),
        )
    rows: list[tuple[str, dict[str, Any]]] = []
    for where, record, why in read_json_lines(path):
        if record is None:
            raise InvalidInput(f"{path}, {where}: {why}.")
        input, expected = record.get("input") or {}, record.get("expected") or {}
        if not isinstance(input, dict) or not isinstance(expected, dict):
            raise InvalidInput(f"{path}, {where}: {NO_OBJECTS}.")
        others = {name: value for name, value in record.items() if name not in ("input", "expected")}
        _refuse_twice([*others, *input, *expected], f"{path}, {where}, with its input and expected output,")
        rows.append((where, {**others, **input, **expected}))
    names = dict.fromkeys(name for _, row in rows for name in row)
    return Sheet(columns=tuple(names), rows=tuple(rows))
