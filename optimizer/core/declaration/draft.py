"""A family file from what people have: a prompt as text and a sheet of examples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from string import Formatter
from typing import Any

from optimizer.core.base.canonical import read_json
from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.phrasing import count
from optimizer.core.dataset.labels import LookAlike, look_alikes
from optimizer.core.family.family import STUDENT
from optimizer.core.family.parsers import PARSERS, plain_text, unknown_parser
from optimizer.core.family.rendering import value_text
from optimizer.core.family.settings import JUDGE_METRIC
from optimizer.core.family.variant import VARIABLE

MAX_LABELS = 30
MAX_LABEL_CHARS = 60
LONG_TOKENS = 512  # of an answer, where no example shows how long one is
LEAST_TOKENS, MOST_TOKENS = 8, 4096  # of an answer; models in use refuse to be asked for more than they can write
PYTHON_QUOTES = re.compile(  # around a whole prompt: a literal with its prefix, or in triple quotes
    r"""\A\s*(?:\w+\s*=\s*\(?\s*)?(?:[fFrR]{1,2}(\"{3}|'{3}|"|')|(\"{3}|'{3})).*(?:\1|\2)[\s)]*\Z""", re.DOTALL
)
ONE_BRACE = re.compile(r"(?<!\{)\{([A-Za-z_]\w*)[^{}]*\}(?!\})")  # a placeholder of Python's f-strings and str.format


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table as it was read: the rows that could be read, and (where, why) of the others."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Mapping[str, Any]]]  # (where, cells by column)
    refused: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyDraft:
    """What a person gives. ``inputs`` and ``output`` are columns, or FIELD=COLUMN; empty and None: told by names.

    ``f_string``: whether {name} in the prompt is a placeholder; None: not said. ``merge``: label of the sheet > the
    family's label. ``judge``: the model that scores the answers, which then need no column of outputs. ``messages``: of
    another system, in the place of a prompt that is one text; ``settings``: of the model, as it had them.
    """

    name: str
    prompt: str
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    inputs: Sequence[str] = ()
    output: str | None = None
    parser: str | None = None
    model: str = "embedded"
    judge: str | None = None
    description: str = ""
    f_string: bool | None = None
    merge: Mapping[str, str] = field(default_factory=dict)
    messages: Sequence[Mapping[str, str]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFamily:
    """``data`` is the content of family.yaml, ``examples`` the lines of examples.jsonl."""

    data: dict[str, Any]
    examples: list[dict[str, Any]]
    skipped: list[int]  # positions in the draft's rows of those without an output or an input
    labels: Mapping[str, int]  # for a family of labels: how many examples have each

    @property
    def look_alikes(self) -> list[LookAlike]:
        return look_alikes(self.labels)

    @property
    def why_cut(self) -> str | None:
        """A sentence on answers of the sheet that may be longer than a model is let write; None where none is."""
        limit, field = self.data["model"]["max_tokens"], self.data["output"]["field"]
        n = sum(_most_tokens(e["expected"][field]) > limit for e in self.examples if field in e["expected"])
        if limit < MOST_TOKENS or not n:  # below, another system said so, whose answers need not be cut off
            return None
        return (
            f"{count(n, 'answer')} may need more than the {limit:,} tokens of model.max_tokens, where a model is cut"
            " off. Raise it in the file if your model writes more."
        )


def draft_family(draft: FamilyDraft, *, today: date) -> NewFamily:
    """Raises InvalidInput, with every fault, when prompt, columns and examples do not fit together."""
    faults: list[Fault] = []
    columns_by_name = dict(_pair(text) for text in draft.inputs)
    if PYTHON_QUOTES.match(draft.prompt):
        detail = (
            "the prompt stands in the quotes of a Python string, which would be sent to the model; leave only the text"
            " between them"
        )
        faults.append(Fault(pointer="/from", detail=detail))
    prompt = _with_placeholders(draft, faults)
    variables = list(dict.fromkeys(VARIABLE.findall(prompt)))
    if not variables and not columns_by_name:
        faults.append(
            Fault(
                pointer="/from", detail="the prompt has no {{placeholder}}, so say which column goes in: --input COLUMN"
            )
        )
    by_field = {name: columns_by_name.get(name, name) for name in variables} or dict(columns_by_name)
    if variables:
        unused = [name for name in columns_by_name if name not in variables]
        if len(variables) == len(columns_by_name) == 1 and unused:
            by_field = {variables[0]: columns_by_name[unused[0]]}  # one input, one column: no other reading is possible
        else:
            faults += [
                Fault(
                    pointer="/input", detail=f"--input {n}: the prompt has no {{{{{n}}}}}; it has {_names(variables)}"
                )
                for n in unused
            ]
    answer, column = _output(draft, by_field, faults)
    for name, source in {**by_field, **({answer: column} if column else {})}.items():
        if source not in draft.columns:
            option = "output" if name == answer else "input"
            detail = (
                f"there is no column {source!r} for {name}; the columns are {_names(draft.columns)}. Say --{option}"
                f" {name}=COLUMN"
            )
            faults.append(Fault(pointer=f"/{option}/{name}", detail=detail))
    if draft.parser is not None and draft.parser not in PARSERS:
        faults.append(Fault(pointer="/parser", detail=unknown_parser(draft.parser)))
    if faults:
        raise InvalidInput(f"Cannot make family {draft.name!r}: " + "; ".join(f.detail for f in faults) + ".", faults)
    needed = [*by_field.values(), *([column] if column else [])]
    skipped = [n for n, r in enumerate(draft.rows) if not all(_filled(r.get(c)) for c in needed)]
    rows = [r for n, r in enumerate(draft.rows) if n not in set(skipped)]
    if not rows:
        raise InvalidInput(f"Cannot make family {draft.name!r}: no row has a value in each of {_names(needed)}.")
    parser = draft.parser or (tell_parser([r[column] for r in rows]) if column else "text")
    examples = [_example(r, by_field, answer, column, parser, draft) for r in rows]
    counts = Counter(e["id"] for e in examples if "id" in e)
    twice = [id for id, n in counts.items() if n > 1]
    if twice:
        raise InvalidInput(
            f"Cannot make family {draft.name!r}: the column 'id' holds {len(twice)} values more than once, such as"
            f" {_names(twice[:5])}. An id names one example: correct them, or rename the column if it is no id."
        )
    labels = Counter(e["expected"][answer] for e in examples) if parser == "label" and column else Counter()
    if unknown := sorted(set(draft.merge) - {str(r[column]).strip() for r in rows if column}):
        raise InvalidInput(f"--merge names {_names(unknown)}, and no row has that label.")
    return NewFamily(
        data=_data(draft, prompt, list(by_field), answer, parser, examples, today),
        examples=examples,
        skipped=skipped,
        labels=labels,
    )


def one_brace_columns(draft: FamilyDraft) -> list[str]:
    """Columns and inputs that the prompt names as {name}, where {{name}} is a placeholder here."""
    known = {*draft.columns, *(_pair(text)[0] for text in draft.inputs)}
    return [name for name in dict.fromkeys(ONE_BRACE.findall(draft.prompt)) if name in known]


def _with_placeholders(draft: FamilyDraft, faults: list[Fault]) -> str:
    """The prompt with {{name}} for each placeholder; a fault where it is unclear whether {name} is one."""
    if draft.f_string:
        try:
            parts = list(Formatter().parse(draft.prompt))
        except ValueError as error:
            faults.append(
                Fault(pointer="/from", detail=f"the prompt is no f-string ({error}); a literal brace is written twice")
            )
            return draft.prompt
        return "".join(text + (f"{{{{{name}}}}}" if name is not None else "") for text, name, _, _ in parts)
    unclear = one_brace_columns(draft) if draft.f_string is None else []
    if unclear:
        shown = unclear[0]
        detail = (
            f"the prompt says {{{shown}}}, and {shown!r} is a column: is it a placeholder, as in an f-string? Yes:"
            f" --f-string; no, those words are meant: --no-f-string; or write {{{{{shown}}}}} in the file"
        )
        faults.append(Fault(pointer="/from", detail=detail))
    return draft.prompt


def tell_parser(outputs: Sequence[Any]) -> str:
    """label for few short values that repeat, json and list for values that are such, else text."""
    values = [json_or_same(o) for o in outputs]
    if all(isinstance(v, dict) for v in values):
        return "json"
    if all(isinstance(v, list) for v in values):
        return "list"
    texts = [str(o).strip() for o in outputs]
    distinct = set(texts)
    short = all(len(t) <= MAX_LABEL_CHARS and "\n" not in t for t in distinct)
    return "label" if short and len(distinct) <= min(MAX_LABELS, len(texts) / 2) else "text"


def json_or_same(value: Any) -> Any:
    """The JSON object or list that a cell holds; any other cell as it is."""
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        try:
            return read_json(value)
        except ValueError:
            return value
    return value


def _with_examples(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The messages with a place for examples before the user's last message."""
    last = max((n for n, message in enumerate(messages) if message["role"] == "user"), default=len(messages))
    return [*map(dict, messages[:last]), {"role": "examples"}, *map(dict, messages[last:])]


def messages_of(prompt: str, inputs: Sequence[str]) -> list[dict[str, str]]:
    """The prompt as messages, with a place for examples.

    Paragraphs before the first one with a placeholder become the system message: they are said once, and the rest is
    what repeats with each example. A prompt without placeholders is all system message, and the inputs follow it.
    """
    text = prompt.strip().replace("\r\n", "\n")
    if not VARIABLE.search(text):
        question = "\n".join(f"{{{{{name}}}}}" if len(inputs) == 1 else f"{name}: {{{{{name}}}}}" for name in inputs)
        return [{"role": "system", "content": text}, {"role": "examples"}, {"role": "user", "content": question}]
    paragraphs = re.split(r"\n[ \t]*\n", text)
    first = next(i for i, p in enumerate(paragraphs) if VARIABLE.search(p))
    system = [{"role": "system", "content": "\n\n".join(paragraphs[:first])}] if first else []
    return [*system, {"role": "examples"}, {"role": "user", "content": "\n\n".join(paragraphs[first:])}]


def _data(
    draft: FamilyDraft,
    prompt: str,
    inputs: Sequence[str],
    answer: str,
    parser: str,
    examples: Sequence[Mapping[str, Any]],
    today: date,
) -> dict[str, Any]:
    outputs = [e["expected"][answer] for e in examples if answer in e["expected"]]
    output: dict[str, Any] = {"field": answer, "parser": parser}
    if parser == "label":
        output["labels"] = sorted({str(o) for o in outputs})
    n_tokens = max(map(_most_tokens, outputs), default=LONG_TOKENS)
    scorer = {
        "text": {"rouge_l": 0.4, "rouge_1": 0.3, "rouge_2": 0.3},
        "label": {"label_match": 1.0},
        "list": {"list_f1": 1.0},
    }
    model: dict[str, Any] = {
        "default": draft.model,
        "temperature": 0.0,
        "max_tokens": max(LEAST_TOKENS, min(MOST_TOKENS, n_tokens)),
    }
    if parser in ("label", "text") and outputs and not any("\n" in o for o in outputs):
        model["stop"] = ["\n"]  # answers of one line end with it; weak models would go on
    if parser == "label":
        model["tiers"] = [STUDENT, draft.model]  # a study may let what learns the labels answer in the model's place
    model |= draft.settings
    data: dict[str, Any] = {
        "name": draft.name,
        "description": draft.description or f"{answer} from {', '.join(inputs)}.",
        "kind": "prompt",
        "inputs": {name: {"type": "text"} for name in inputs},
        "output": output,
        "prompt": {
            "current": "1",
            "versions": {
                "1": {
                    "created_at": today,
                    "description": "as it was",
                    "content": _with_examples(draft.messages) if draft.messages else messages_of(prompt, inputs),
                }
            },
        },
        "model": model,
        "scorer": scorer.get(parser, {"exact_match": 1.0}),
        "space": {"examples": {"max": 4}, "temperature": {"float": [0.0, 1.0]}},
    }
    if draft.judge is not None:
        data |= {"scorer": {JUDGE_METRIC: 1.0}, "judge": {"model": draft.judge}}
    if not outputs:
        del data["space"]["examples"]  # there is none that could be shown
    elif parser == "label":
        data["sample"] = {"balance": answer}
    return data


def _most_tokens(answer: Any) -> int:
    """A token holds one byte at least; a few more for the space before and the end."""
    return len(plain_text(answer).encode(errors="surrogatepass")) + 4


def _output(draft: FamilyDraft, by_field: Mapping[str, str], faults: list[Fault]) -> tuple[str, str]:
    if draft.output is not None:
        field, column = _pair(draft.output)
        return field, column if draft.judge is None or column in draft.columns else ""
    unused_columns = [c for c in draft.columns if c not in by_field.values() and c not in ("id", "group")]
    if len(unused_columns) == 1:
        return _field_name(unused_columns[0]), unused_columns[0]
    if "output" in unused_columns:
        return "output", "output"
    if draft.judge is not None:
        return "answer", ""
    detail = (
        f"say which column is the answer: --output COLUMN; left are {_names(unused_columns)}. Where no answer is the"
        " right one, name a model that judges: --judge MODEL"
    )
    faults.append(Fault(pointer="/output", detail=detail))
    return "output", ""


def _example(
    row: Mapping[str, Any], by_field: Mapping[str, str], answer: str, column: str, parser: str, draft: FamilyDraft
) -> dict[str, Any]:
    example: dict[str, Any] = {
        "input": {name: value_text(row[source]) for name, source in by_field.items()},
        "expected": {},
    }
    if column:
        value = row[column]
        text = str(value).strip()
        expected = json_or_same(value) if parser in ("json", "list") else draft.merge.get(text, text)
        example["expected"] = {answer: expected}
    used = {*by_field.values(), column}
    for name in ("group", "id"):
        if name in draft.columns and name not in used and _filled(row.get(name)):
            example = {name: str(row[name]), **example}
    return example


def _pair(text: str) -> tuple[str, str]:
    """``FIELD=COLUMN``, or a column whose name becomes the field's."""
    name, equals, column = text.partition("=")
    return (name.strip(), column.strip()) if equals else (_field_name(text), text)


def _field_name(column: str) -> str:
    name = re.sub(r"[^a-z0-9_]+", "_", column.strip().lower()).strip("_")
    return name if name[:1].isalpha() else f"field_{name}".rstrip("_")


def _filled(value: Any) -> bool:
    return value is not None and str(value).strip() != ""


def _names(names: Sequence[str]) -> str:
    return ", ".join(repr(n) for n in names) or "none"
