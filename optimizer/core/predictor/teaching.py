"""What a student is taught from, and what it says: without the numerical library that ``student.py`` loads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optimizer.core.base.canonical import digest
from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.base.phrasing import count
from optimizer.core.dataset.examples import Example
from optimizer.core.dataset.near_duplicates import merged_groups
from optimizer.core.evaluation.trivial_baselines import MOST_UNSEEN, NO_LABELS
from optimizer.core.family.closed_fields import declared_fields, open_field, open_in_words
from optimizer.core.family.family import Family, Teach
from optimizer.core.family.rendering import expected_text, input_text, parse_output
from optimizer.core.family.settings import Output

N_FOLDS = 5
LEAST_ROWS = 40
MOST_ROWS = 5000  # of a family's released training examples, the ones whose hash comes first


@dataclass(frozen=True, slots=True, kw_only=True)
class TeachingRow:
    """A released training example. ``unit``: who said it, its group where nobody knows.

    Rows of one ``group`` are never on both sides of a fold. ``weight``: the inverse of the chance with which the
    request came to teach, at least 1. ``fields``: of an answer that is learned field by field each value as JSON, empty
    where the field is left out; all rows have the same.
    """

    id: str
    text: str
    label: str
    group: str
    unit: str
    weight: float = 1.0
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentAnswer:
    """``confidence`` in [0, 1]: how likely the label is right, calibrated on rows that taught it nothing.
    Of an answer of several fields it is that of the least sure.

    ``unknown``: the share of the text's words that it does not know; None where there is no word, or nobody counted.
    """

    label: str
    confidence: float
    unknown: float | None = None


def whole_answer(fields: Mapping[str | None, StudentAnswer], *, unknown: float | None = None) -> StudentAnswer:
    """What is said of each field, as the family's JSON; of None it is the whole answer."""
    labels = {name: one.label for name, one in fields.items() if name is not None}
    return StudentAnswer(
        label=_object_of(labels) if labels else fields[None].label,
        confidence=min(one.confidence for one in fields.values()),
        unknown=unknown,
    )


def _object_of(fields: Mapping[str, str]) -> str:
    """As the parser for JSON writes it, of values that are JSON already."""
    members = (f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in fields.items() if value)
    return "{" + ", ".join(members) + "}"


def _json_of(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherAnswers:
    """What a model answered to released training examples, as the family's parser reads it.

    ``values``: by example; ``n_unreadable`` answers are no output of the family, and teach nothing. ``revision``: of
    the model when it was asked.
    """

    model: str
    revision: str
    values: Mapping[str, Any]
    n_unreadable: int = 0

    @classmethod
    def read(cls, output: Output, model: str, revision: str, texts: Mapping[str, str]) -> TeacherAnswers:
        """``texts``: by example what the model wrote."""
        parsed = {example: parse_output(output, text) for example, text in texts.items()}
        values = {example: one.value for example, one in parsed.items() if one.error is None}
        return cls(model=model, revision=revision, values=values, n_unreadable=len(texts) - len(values))

    def teaching(self, output: Output, examples: Sequence[Example], teach: Teach) -> list[Example]:
        """The examples that teach, those that were answered with the answer as what they expect."""
        return [
            replace(example, expected={output.field: self.values[example.id]}) if example.id in self.values else example
            for example in examples
            if example.id in self.values or teach == "both"
        ]

    def in_words(self, output: Output, examples: Sequence[Example], *, n_rows: int) -> str:
        """What taught, and how far it agrees with people's labels.

        Args:
            examples: as people labelled them.
            n_rows: that taught in all.
        """
        answered = [example for example in examples if example.id in self.values]
        labelled = [example for example in answered if has_label(output, example)]
        n_same = sum(
            self.values[example.id] in (label if output.parser == "label" and isinstance(label, list) else [label])
            for example in labelled
            for label in [example.expected[output.field]]
        )
        n_others = n_rows - len(answered)
        sentences = [
            f"Answers of {self.model} to {count(len(answered), 'released training example')} taught the student"
            + (f", and labels of {n_others:,} others." if n_others > 0 else ".")
            if answered
            else f"Labels alone taught the student, and no answer of {self.model}.",
            *([f"They agree with {n_same:,} of {count(len(labelled), 'label')} of these."] if labelled else []),
            *([f"{count(self.n_unreadable, 'answer')} could not be read."] if self.n_unreadable else []),
        ]
        return " ".join(sentences)


def asked_of_teacher(
    output: Output, examples: Sequence[Example], of_study: Collection[str], teach: Teach
) -> list[Example]:
    """The examples whose answer by the model behind the student teaches it, of those that a study asks about anyway.

    A label goes before an answer where both may teach: people say what is right.
    """
    return [one for one in examples if one.id in of_study and (teach == "answers" or not has_label(output, one))]


def has_label(output: Output, example: Example) -> bool:
    return example.expected.get(output.field) not in (None, "")


def teaching_in_words(taught: Mapping[str, Any]) -> str:
    """What a student learned from, by its own record: "labels" where no answer of a model is among it."""
    n_rows, n_answers = taught.get("n_rows"), taught.get("n_answers", 0)
    if not n_answers:
        return "labels" if n_rows is None else f"labels of {count(n_rows, 'example')}"
    answers = f"answers of {taught['model']} ({taught['revision']}) to {count(n_answers, 'example')}"
    return answers if n_rows == n_answers else f"{answers} and labels of {(n_rows or 0) - n_answers:,} others"


def teaching_rows(
    family: Family, examples: Sequence[Example], weights: Mapping[str, float] | None = None
) -> list[TeachingRow]:
    """``weights``: by example where it is not 1. An example without an expected output, or with one that the family
    has no more, teaches nothing.

    Raises DatasetTooSmall where their answers, or fields of these, are no labels.
    """
    output = family.output
    examples = [example for example in examples if has_label(output, example)]
    labels = [expected_text(output, example.expected) for example in examples]
    # The file's labels or its schema may be newer.
    readable = {text for text in set(labels) if parse_output(output, text).error is None}
    examples = [example for example, text in zip(examples, labels, strict=True) if text in readable]
    labels = [text for text in labels if text in readable]
    fields: Sequence[Mapping[str, str]] = [{} for _ in examples]
    if declared := declared_fields(output):
        values = [example.expected[output.field] for example in examples]
        undeclared = (name for value in values for name in value if name not in declared)
        if (name := open_field(output) or next(undeclared, None)) is not None:
            raise DatasetTooSmall(f"A student gives values that it has seen, and {open_in_words(name)}.")
        fields = [{name: _json_of(value[name]) if name in value else "" for name in declared} for value in values]
        labels = [_object_of(one) for one in fields]
    elif output.parser == "json":  # equal values are one label, in whichever order their keys were written
        first: dict[str, str] = {}
        values = [_json_of(example.expected[output.field]) for example in examples]
        labels = [first.setdefault(value, label) for value, label in zip(values, labels, strict=True)]
    for name, own in ({name: [one[name] for one in fields] for name in declared} or {"": labels}).items():
        n_single = sum(n == 1 for n in Counter(own).values())
        if output.parser != "label" and n_single > MOST_UNSEEN * len(own):
            raise DatasetTooSmall(
                f"A student gives answers that it has seen, and {n_single} of {len(own)} released training examples"
                f" have one of their own{f' in the field {name!r}' if name else ''}: {NO_LABELS}."
            )
    return [
        TeachingRow(
            id=example.id,
            text=input_text(example.input),
            label=label,
            group=group,
            unit=example.unit_hmac or group,
            weight=(weights or {}).get(example.id, 1.0),
            fields=own,
        )
        for example, label, group, own in zip(examples, labels, merged_groups(examples), fields, strict=True)
    ]


def fold_of(groups: Sequence[str]) -> list[int]:
    """The fold of each row: groups in the order of their hash, each into the fold that is smallest so far."""
    size = [0] * N_FOLDS
    n_rows = Counter(groups)
    chosen: dict[str, int] = {}
    for group in sorted(n_rows, key=lambda group: digest(group.encode(errors="surrogatepass"))):
        chosen[group] = size.index(min(size))
        size[chosen[group]] += n_rows[group]
    return [chosen[group] for group in groups]
