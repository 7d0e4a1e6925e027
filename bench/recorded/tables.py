"""What was answered, on disk: per family one file of lines, and beside it what the lines are about.

``<folder>/<family>/plan.json`` names model, scorer and Variants; ``answers.jsonl`` holds one line per call in the order
asked. A line is written whole or, after a kill, not at all:
a torn last line is cut off when the file is opened to go on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from recorded.grid import GridVariant

PLAN = "plan.json"
ANSWERS = "answers.jsonl"


def recorded_folder() -> Path:
    """Where answers are kept: DETENT_RECORDED, else the user's cache folder; never inside the project."""
    named = os.environ.get("DETENT_RECORDED")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else cache / "detent-bench-recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One call and its score.

    ``score`` None: the metric failed (``error`` says why); ``seconds`` as the engine measured them.
    """

    key: str  # the journal's name for the request
    variant: str
    example: str
    score: float | None
    text: str
    input_tokens: int
    output_tokens: int
    seconds: float
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A Variant of a Table: its settings, and its score on each of the Table's examples."""

    id: str
    instruction: int
    choice: str
    scores: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Variants x examples, complete. ``arms[0]`` is the champion."""

    family: str
    examples: tuple[str, ...]
    arms: tuple[Arm, ...]
    mean_seconds: float = 0.0  # of one call


class AnswerFile:
    """The answers of one family: what is there, and a place for more. One process at a time."""

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        """Opens the file to go on with ``plan``; answers recorded under another plan raise SystemExit,
        since scores would not compare.
        """
        folder.mkdir(parents=True, exist_ok=True)
        stored = _plan(folder)
        if stored is not None and stored != dict(plan):
            raise SystemExit(
                f"{folder} holds answers to other prompts, or of another model or scorer. Name another folder with"
                " DETENT_RECORDED, or remove it."
            )
        if stored is None:
            part = folder / f"{PLAN}.part"
            part.write_text(json.dumps(plan, ensure_ascii=False, indent=1), encoding="utf-8")
            part.replace(folder / PLAN)
        path = folder / ANSWERS
        self.answers = {(a.variant, a.example): a for a in _whole_lines(path)}
        self._by_key = {a.key: a for a in self.answers.values()}
        self._file = path.open("ab")

    def find(self, key: str) -> Answer | None:
        """The answer to an equal request, whichever Variant asked it."""
        return self._by_key.get(key)

    def add(self, answer: Answer) -> None:
        """On the disk when this returns: a call takes long enough that a flush each costs nothing."""
        self._file.write(json.dumps(asdict(answer), ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.answers[answer.variant, answer.example] = answer
        self._by_key[answer.key] = answer

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> AnswerFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def plan_of(variants: Sequence[GridVariant], *, revision: str, scorer: str) -> dict[str, Any]:
    """What has to be equal for scores to be comparable: model, scorer and the content of every Variant."""
    described = [
        {"id": v.variant.id, "instruction": v.instruction, "choice": v.choice, "content": v.variant.content()}
        for v in variants
    ]
    plain: dict[str, Any] = json.loads(json.dumps({"revision": revision, "scorer": scorer, "variants": described}))
    return plain


def read_table(folder: Path, *, least_variants: int = 2, least_examples: int = 2) -> Table | None:
    """The largest complete table of whole rows in ``folder``: examples that every Variant begun has answered.

    None while too small.

    A Variant counts once it has answered ``least_examples``; an unmeasured score leaves its example out.
    """
    plan = _plan(folder)
    if plan is None:
        return None
    scores: dict[str, dict[str, float | None]] = {}
    seconds: list[float] = []
    for answer in _whole_lines(folder / ANSWERS, cut=False):
        scores.setdefault(answer.variant, {})[answer.example] = answer.score
        seconds.append(answer.seconds)
    begun = [v for v in plan["variants"] if len(scores.get(v["id"], {})) >= least_examples]
    if len(begun) < least_variants or begun[0] != plan["variants"][0]:
        return None
    first = scores[begun[0]["id"]]
    examples = [e for e in first if all(scores[v["id"]].get(e) is not None for v in begun)]
    if len(examples) < least_examples:
        return None
    arms = [
        Arm(
            id=v["id"],
            instruction=v["instruction"],
            choice=v["choice"],
            scores=tuple(scores[v["id"]][e] or 0.0 for e in examples),
        )
        for v in begun
    ]
    return Table(
        family=folder.name, examples=tuple(examples), arms=tuple(arms), mean_seconds=sum(seconds) / len(seconds)
    )


def _plan(folder: Path) -> dict[str, Any] | None:
    try:
        plan: dict[str, Any] = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return plan


def _whole_lines(path: Path, *, cut: bool = True) -> Iterator[Answer]:
    """Every complete line; with ``cut`` what a kill left of a last one is taken off the file."""
    if not path.exists():
        return
    whole, newline, torn = path.read_bytes().rpartition(b"\n")
    if torn and cut:
        os.truncate(path, len(whole) + len(newline))
    names = {f.name for f in fields(Answer)}
    for line in whole.splitlines():
        yield Answer(**{name: value for name, value in json.loads(line).items() if name in names})
