"""Tables of (variant x example) scores of the embedded model on five tasks, for bench/search_recorded.py.

    python bench/record_answers.py [--examples 100] [--families intent_routing summarization ...] [--limit N]

Asks every Variant of each task's grid (4 instructions x 8 choices of examples) the same examples, all examples of one
Variant in a row, so that the shared prefix stays cached; one thread; temperature 0. About 16,000 calls, some two hours
on one idle core. Run it again after a stop or a kill and it goes on: nothing is asked twice. Answers lie outside the
repository, under DETENT_RECORDED (default: detent-bench-recorded in the user's cache folder).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common import SHARED
from recorded.grid import POOL, GridVariant, grid
from recorded.tables import Answer, AnswerFile, plan_of, recorded_folder
from recorded.tasks import TASKS, Task

from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.rendering import render
from optimizer.core.models.language import ModelAnswer, ModelRequest, request_for
from optimizer.jobs.calls.blocking import wait_for

TELL_EVERY_S = 20.0


class Answers(Protocol):
    """A model that is asked."""

    revision: str

    async def complete(self, request: ModelRequest) -> ModelAnswer: ...


def main() -> int:
    options = _options()
    data = SHARED / "data"
    if not data.is_dir():
        print(f"Skipped: the rows are not at {data}. Set DETENT_SHARED to the folder that holds data/.")
        return 0
    from optimizer.adapters.models.embedded_model import EmbeddedModel
    from optimizer.adapters.text_metrics import build_scorer

    folder = recorded_folder()
    tasks = [t for t in TASKS if t.name in options.families]
    model = EmbeddedModel("embedded", folder / "run", size=1)
    progress = Progress(limit=options.limit)
    try:
        prepared = [prepare(task, data, options.examples, build_scorer(task.family())) for task in tasks]
        progress.start(sum(len(p.variants) * len(p.examples) for p in prepared))
        for one in prepared:
            record(one, model, folder / one.task.name, progress)
    except LimitReached:
        pass
    finally:
        model.close()
    progress.tell("end", at_once=True)
    return 0


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What one family is asked: every Variant on every example."""

    task: Task
    scorer: Scorer
    variants: Sequence[GridVariant]
    examples: Sequence[Example]


def prepare(task: Task, data: Path, n_examples: int, scorer: Scorer) -> Prepared:
    variants = grid(task, task.examples(data, "train", POOL))
    return Prepared(task=task, scorer=scorer, variants=variants, examples=task.examples(data, "dev", n_examples))


def record(asked: Prepared, model: Answers, folder: Path, progress: Progress) -> None:
    """Asks what ``folder`` does not hold yet, Variant by Variant."""
    plan = plan_of(asked.variants, revision=model.revision, scorer=asked.scorer.version)
    with AnswerFile(folder, plan) as file:
        progress.found(sum((v.variant.id, e.id) in file.answers for v in asked.variants for e in asked.examples))
        for number, variant in enumerate(asked.variants):
            for example in asked.examples:
                if (variant.variant.id, example.id) not in file.answers:
                    file.add(_answer(asked, variant, example, model, file))
                    progress.step(f"{asked.task.name}, variant {number + 1} of {len(asked.variants)}")


def _answer(asked: Prepared, chosen: GridVariant, example: Example, model: Answers, file: AnswerFile) -> Answer:
    """The answer to one request: found when an equal one was answered, else asked; scored as a study scores."""
    family = asked.task.family()
    messages = render(chosen.variant, example.input, declared=family.inputs)
    request = request_for(chosen.variant, messages, revision=model.revision, example=example.id)
    found = file.find(request.key)
    if found is None:
        reply = wait_for(model.complete(request))
        text, tokens, seconds = reply.text, (reply.input_tokens, reply.output_tokens), reply.latency_ms / 1000
    else:
        text, tokens, seconds = found.text, (found.input_tokens, found.output_tokens), found.seconds
    score = asked.scorer.score(example.expected, text, example.input)
    return Answer(
        key=request.key,
        variant=chosen.variant.id,
        example=example.id,
        score=score.value,
        text=text,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        seconds=round(seconds, 4),
        error=score.error,
    )


class LimitReached(Exception):
    """As many calls as ``--limit`` allows were made."""


class Progress:
    """Counts calls, says how many and how much time are left, and ends at the limit."""

    def __init__(self, *, limit: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._started = self._told = clock()
        self.n_left = 0
        self.n_asked = 0

    def start(self, n: int) -> None:
        """Time runs from here; ``n`` answers are wanted."""
        self._started = self._told = self._clock()
        self.n_left = n

    def found(self, n: int) -> None:
        self.n_left -= n

    def step(self, where: str) -> None:
        self.n_asked += 1
        self.n_left -= 1
        self.tell(where)
        if self._limit is not None and self.n_asked >= self._limit:
            raise LimitReached

    def tell(self, where: str, *, at_once: bool = False) -> None:
        now = self._clock()
        if not at_once and now - self._told < TELL_EVERY_S:
            return
        self._told = now
        pace = (now - self._started) / self.n_asked if self.n_asked else 0.0
        left = (
            f"about {pace * self.n_left / 60:.0f} min left at {pace:.2f} s a call"
            if self.n_asked
            else "nothing was asked"
        )
        print(f"{where}: {self.n_asked} calls made, {max(0, self.n_left)} to go, {left}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--examples", type=int, default=100, help="per family; a later run with more goes on from fewer"
    )
    parser.add_argument("--families", nargs="+", choices=[t.name for t in TASKS], default=[t.name for t in TASKS])
    parser.add_argument("--limit", type=int, default=None, help="calls after which to stop")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
