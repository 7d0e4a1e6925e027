"""What each family is measured by, and how its study is run: fixed on 2026-11-22, before a held-out row was opened.

The rule of the studies was chosen on training rows. On those the embedded model kept neither form nor labels until it
saw a few of the family's own examples, and the bases for larger models were worse than the one for small ones. So a
study of strategy ``bases`` on N_BASES training rows first says which base is best, and the study of each seed then
tries sets of examples on that base: from the start where it serves, else after ``bases``. Where an example records
what a query has to find and not the query, there is nothing to show: that family's study has the model make its
examples (bootstrap).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RULE_OF = "2026-11-22"
SEEDS = (1, 2)
N_IMPORTED = 200  # training rows that a user brings: about 120 to show, 40 to choose by, 40 sealed
N_BASES = 12  # training rows, of draws of their own, by which the best base is chosen
N_DEV = 16  # of a study: rows by which it chooses among sets of examples
LEAST_BASE = 0.20  # below it a relative lift says little
ABSOLUTE = 0.05  # the bar there
AT_CEILING = 0.95
FORMAT_RISES = 0.20  # the bar of format compliance, below its ceiling
INVENTION_FALLS = 0.30  # the bar of unsupported names, above their floor
SCALE = 2880  # of the rollouts' clock, as in profile demo: two days in a minute
PER_SECOND = 30  # requests of a rollout: about 40 in an hour of that clock


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """The change of a family's figure on rows that this benchmark does not have, with its 95 % interval."""

    n_rows: int
    change: float
    interval: tuple[float, float]


REPEATED: Mapping[str, Repetition] = {
    "entity_extraction": Repetition(n_rows=100, change=0.126, interval=(0.064, 0.192)),
    "question_reformulation": Repetition(n_rows=100, change=0.014, interval=(-0.035, 0.062)),
}


@dataclass(frozen=True, kw_only=True)
class FamilyMeasurement:
    """What a family is measured by.

    Args:
        figure: its name as a reader knows it.
        parts: scorers of the family with their shares in ``figure``.
        relative: the bar of the relative lift.
        falls: the name of ``1 - figure`` where the bar is a fall of that, as of wrong answers.
        format: rules of ``format_compliance`` that the family's own scorer does not name.
        copied: the input that by itself is an answer: a baseline that asks no model.
        sources: inputs that an answer may take names and numbers from; none: answers are labels, or are searched for.
        expected: names of the data's expected parts, by those of the family, where they differ.
        opened: held-out rows that were looked at while the rule was made, which are left out.
        files: of the family's folder: by name, that of the data.
    """

    figure: str
    parts: Mapping[str, float]
    relative: float = 0.15
    falls: str = ""
    format: Mapping[str, Any] = field(default_factory=dict)
    copied: str = ""
    sources: Sequence[str] = ()
    expected: Mapping[str, str] = field(default_factory=dict)
    strategy: str = "examples"
    max_examples: int = 6
    n_train: int = N_IMPORTED
    opened: int = 0
    files: Mapping[str, str] = field(default_factory=dict)


_ITEM = {"type": "string", "minLength": 1}


def _array(*required: str) -> dict[str, Any]:
    items = {"type": "object", "required": list(required), "properties": dict.fromkeys(required, _ITEM)}
    return {"schema": {"type": "array", "items": items}}


TOPICS = [
    "computer science",
    "economics",
    "electrical engineering and systems science",
    "mathematics",
    "physics",
    "quantitative biology",
    "quantitative finance",
    "statistics",
]

PLAN: Mapping[str, FamilyMeasurement] = {  # the quickest answers first
    "intent_routing": FamilyMeasurement(figure="right labels", parts={"label_match": 1.0}, opened=60),
    "query_processing": FamilyMeasurement(
        figure="precision of the first passage",
        parts={"query_precision": 1.0},
        format={"max_words": 12},
        copied="question",
        strategy="bootstrap",
        n_train=40,  # the model answers up to each of them to make an example
        files={"corpus.jsonl": "corpus.jsonl"},
    ),
    "relationship_extraction": FamilyMeasurement(
        figure="relation F1", parts={"relation_f1": 1.0}, format=_array("subject", "relation", "object")
    ),
    "entity_extraction": FamilyMeasurement(
        figure="entity F1", parts={"entity_f1": 1.0}, format=_array("text", "type"), sources=("text",)
    ),
    "question_reformulation": FamilyMeasurement(
        figure="score",
        parts={"chrf": 0.4, "token_recall": 0.3, "rouge_l": 0.3},
        format={"max_words": 40},
        copied="question",
        sources=("topic", "conversation", "question"),
        max_examples=4,
    ),
    "answer_generation": FamilyMeasurement(
        figure="right answers",
        parts={"answer_match": 1.0},
        relative=0.30,
        falls="wrong answers",
        format={"max_words": 12},
        sources=("context", "question"),
        max_examples=4,
    ),
    "document_analysis": FamilyMeasurement(
        figure="F1 of topics", parts={"list_f1": 1.0}, format={"labels": TOPICS}, max_examples=4
    ),
    "context_compression": FamilyMeasurement(
        figure="score",
        parts={"compression_ratio": 0.4, "information_retention": 0.4, "efficiency": 0.2},
        format={"max_words": 40},
        sources=("passage", "question"),
        max_examples=4,
    ),
    "summarization": FamilyMeasurement(
        figure="ROUGE",
        parts={"rouge_l": 0.4, "rouge_1": 0.3, "rouge_2": 0.3},
        relative=0.20,
        format={"max_words": 50},
        sources=("document",),
        expected={"summary": "references"},
        max_examples=4,
    ),
}


def definition_of(measured: FamilyMeasurement, n_dev: int = N_DEV) -> dict[str, Any]:
    """The study's definition, as a user writes it in a file: four sets of examples.

    The holdout stays sealed: the held-out rows of the data tell the gain. Before a rollout a study of strategy
    ``confirm`` opens it (confirming.py).
    """
    return {
        "n_train": measured.n_train,
        "n_dev": n_dev,
        "n_run_off": 0,  # as when the rule was fixed
        "n_holdout": 0,
        "n_candidates": 1,
        "max_examples": measured.max_examples,
    }
