"""Questions to the graph: a query, its context, an answer, and the reader's word on it. Then a study and a rollout."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.detent_families import DetentFamilies, sentences_of

FAMILY = "answer_generation"
QUESTIONS = [
    json.loads(line) for line in (Path(__file__).parent / "questions.jsonl").read_text(encoding="utf-8").splitlines()
]
N_SHOWN = 4  # sentences of a context
AT_ONCE = 4
STUDY: Mapping[str, Any] = {
    "strategy": "bootstrap",
    "budget": {"calls": 150},
    "seed": 1,
    "definition": {"n_train": 20, "n_dev": 8, "n_holdout": 8, "n_candidates": 4, "max_examples": 4},
}
POLL_S = 1.0
PAUSE_S = 1.0  # between two times that readers come


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question with the context that was found for it."""

    question: str
    context: str
    expected: Sequence[str]


async def ask_all(families: DetentFamilies, text: str, graph: Mapping[str, Any]) -> tuple[list[Question], int]:
    """Each question once. The user says whether the answer was right, and what it should have been: an example from
    now on. Returns the questions with their contexts, and how many answers were right.
    """
    done = await asyncio.gather(*(_ask(families, row, text, graph, n) for n, row in enumerate(QUESTIONS)))
    return [question for question, _ in done], sum(right for _, right in done)


async def _ask(
    families: DetentFamilies, row: Mapping[str, Any], text: str, graph: Mapping[str, Any], n: int
) -> tuple[Question, bool]:
    user = f"reader-{n}"
    query = await families.ask("query_processing", {"question": row["question"]}, unit=user)
    question = Question(question=row["question"], context=context_of(query.text, text, graph), expected=row["answers"])
    variables = {"question": question.question, "context": question.context}
    answer = await families.ask(FAMILY, variables, unit=user)
    right = is_right(answer.text, question.expected)
    await families.report([query], success=right)
    await families.report([answer], success=right, expected={"answers": list(question.expected)})
    return question, right


def context_of(query: str, text: str, graph: Mapping[str, Any]) -> str:
    """The sentences that share most words with the query, and the graph's relations of the entities that it names."""
    words = _words(query)
    ranked = sorted(sentences_of(text), key=lambda sentence: -len(words & _words(sentence)))[:N_SHOWN]
    facts = [
        f"{one['subject']} {one['relation'].replace('_', ' ')} {one['object']}."
        for one in graph["relations"]
        if words & (_words(one["subject"]) | _words(one["object"]))
    ]
    return " ".join([*ranked, *facts])


def is_right(answer: str, expected: Sequence[str]) -> bool:
    """Whether the answer is one of those expected, whatever its case, articles and full stop."""
    return _plain(answer) in {_plain(one) for one in expected}


async def search(families: DetentFamilies) -> Mapping[str, Any]:
    """One study, to its end."""
    study = await families.post(f"/v1/families/{FAMILY}/studies", STUDY)
    while study["finished_at"] is None:
        await asyncio.sleep(POLL_S)
        study = await families.get(f"/v1/studies/{study['id']}")
    return study


async def best_of(families: DetentFamilies, study: Mapping[str, Any]) -> str | None:
    """The nominated variant, else the best one that the study tried beside the champion; None without any."""
    if study["outcome"] == "nominated":
        return str(study["winner"])
    trials = (await families.get(f"/v1/studies/{study['id']}/trials"))["items"]
    others = [one for one in trials if one["variant"] != study["champion"] and one["score"] is not None]
    return str(max(others, key=lambda one: one["score"])["variant"]) if others else None


async def use_until_decided(
    families: DetentFamilies, rollout: str, questions: Sequence[Question], *, within_s: float
) -> tuple[Mapping[str, Any], Mapping[str, list[bool]]]:
    """Readers come, a few at once, ask and say whether the answer was right, until the rollout has ended.

    Returns the rollout as it is then, and per role of the served variant whether its answers were right.
    """
    loop = asyncio.get_running_loop()
    end, n = loop.time() + within_s, 0
    right: dict[str, list[bool]] = {"champion": [], "candidate": []}
    while True:
        now = await families.get(f"/v1/rollouts/{rollout}")
        if now["ended_at"] is not None or loop.time() > end:
            return now, right
        visits = [_visit(families, questions[i % len(questions)], f"user-{i}") for i in range(n, n + AT_ONCE)]
        for role, good in await asyncio.gather(*visits):
            right.setdefault(role, []).append(good)
        n += AT_ONCE
        await asyncio.sleep(PAUSE_S)


async def _visit(families: DetentFamilies, question: Question, unit: str) -> tuple[str, bool]:
    variables = {"question": question.question, "context": question.context}
    answer = await families.ask(FAMILY, variables, unit=unit)
    good = is_right(answer.text, question.expected)
    await families.report([answer], success=good)
    return answer.role, good


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 2}


def _plain(answer: str) -> str:
    return re.sub(r"^(the|a|an) ", "", answer.strip().rstrip(".").lower())
