"""What answers without a language model would score on the same rows: it shows whether a model is worth its calls.

Three baselines learn from training examples whose expected values are labels, declared or in fact: the majority (the
most frequent answer), the nearest neighbour (the answer of the most similar example) and logistic regression on TF-IDF,
which comes as an argument since a library does it. The first sentence of the text learns nothing. Every answer goes
through the family's own scorer. What cannot be computed is left out with its reason, never counted as 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.phrasing import signed_interval
from optimizer.core.base.values import Interval
from optimizer.core.base.word_lists import SENTENCE_END
from optimizer.core.dataset.examples import WORD, Example, similarities, vectors
from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import expected_text, input_text
from optimizer.core.family.variant import Variant

MAJORITY, NEAREST, LOGISTIC, FIRST, BARE = (
    "majority answer",
    "nearest neighbour",
    "TF-IDF and logistic regression",
    "first sentence",
    "bare prompt",
)
BASELINES = (MAJORITY, NEAREST, LOGISTIC, FIRST)  # that need no model
N_DRAWS = 2000  # of a bootstrap, whose ends are then good to the few thousandths that are shown
WITHOUT_MODEL = "trivial_baselines"  # of a study
MOST_UNSEEN = 0.2  # values count as labels in fact while at most this share of further rows has an unseen value
FREE_TEXT = "its answers are free texts, and another example's text answers nothing"
NO_TRAINING = "there is no released training example to learn from"
ONE_LABEL = "the training examples have one label only"
NO_WORDS = "the training examples have no words"
NO_LABELS = "its answers are no labels"
NO_SENTENCE = "its answers are no texts that a sentence could stand for"
NOT_JUDGED = "a judge scores this family, and answers without a model are not judged"
# Of a study's baselines: whether a student was among the tiers searched, and its share of the winner's answers on dev.
STUDENT_SEARCHED, BY_STUDENT = "is_student_searched", "student_share"
STUDENT_INSTEAD = (
    " With `tiers: [student, …]` a study without --strategy can let a student answer:"
    " docs/how-to/answer-without-a-model.md."
)
NO_TEXT = "a row has no text to take a sentence from"

# (training texts, their labels, texts) -> a label each.
Classify = Callable[[Sequence[str], Sequence[str], Sequence[str]], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrivialBaseline:
    """``score``: mean over the rows, with its 95 % interval; None where it was left out,
    and ``why`` says the reason.
    """

    name: str
    score: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """The measured variant less the best of the baselines, paired by row, with its 95 % interval."""

    variant: str
    score: float
    best: str
    lead: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrivialBaselines:
    """On ``n`` rows, from ``n_train`` examples that are none of them.

    ``worth``: None where nothing could be compared.
    """

    n: int
    n_train: int
    rows: Sequence[TrivialBaseline]
    worth: Worth | None = None


def measure_trivial(
    train: Sequence[Example],
    rows: Sequence[Example],
    without_model: Mapping[str, Mapping[str, float] | str],
    *,
    variant: str,
    scores: Mapping[str, float],
    bare: Mapping[str, float] | str,
) -> TrivialBaselines:
    """Every trivial baseline on ``rows``, and the lead of ``variant`` over the best of them.

    Args:
        train: examples that were learnt from; none of them is among ``rows``, and none is sealed.
        without_model: as ``trivial_scores`` gives it.
        scores: of ``variant`` by example, in [0, 1]; rows that are missing were not measured.
        bare: the same of the prompt without examples, or why it is left out.
    """
    groups = {row.id: row.group for row in rows}
    baselines = [mean_baseline(name, baseline, groups) for name, baseline in {**without_model, BARE: bare}.items()]
    comparable = {
        name: baseline for name, baseline in without_model.items() if not isinstance(baseline, str) and baseline
    }
    worth = _worth(variant, scores, comparable, groups)
    return TrivialBaselines(n=len(rows), n_train=len(train), rows=baselines, worth=worth)


def trivial_scores(
    family: Family,
    train: Sequence[Example],
    rows: Sequence[Example],
    scorer: Scorer,
    *,
    classify: Classify | None = None,
    names: Collection[str] = BASELINES,
) -> dict[str, Mapping[str, float] | str]:
    """Baseline of these names -> its score by example, in [0, 1], or why it is left out.

    ``classify``: what the logistic regression learns with; None where that is none of ``names``.
    """
    if scorer.is_judged:
        return dict.fromkeys(names, NOT_JUDGED)
    # What gives an answer per row, or why there is none.
    output = family.output
    known = [expected_text(output, e.expected) for e in train]
    counts = Counter(known)
    texts, questions = [input_text(e.input) for e in train], [input_text(e.input) for e in rows]
    # Whether values come from a closed set, such as a list or JSON with one of few topics.
    are_labels = output.parser == "label" or (
        bool(known) and sum(n == 1 for n in counts.values()) <= MOST_UNSEEN * len(known)
    )
    untaught = FREE_TEXT if output.parser == "text" and not are_labels else NO_TRAINING if not train else ""
    answers: dict[str, Callable[[], Sequence[str] | str]] = {
        # Of equally frequent ones the first in the alphabet.
        MAJORITY: lambda: untaught or [min(counts, key=lambda answer: (-counts[answer], answer))] * len(rows),
        NEAREST: lambda: untaught or _nearest(texts, known, questions),
        FIRST: lambda: NO_SENTENCE if output.parser != "text" else _first_sentences(rows),
    }
    if classify is not None:
        answers[LOGISTIC] = lambda: (
            _unlabelled(texts, known, are_labels=are_labels) or list(classify(texts, known, questions))
        )
    return {name: score_answers(rows, answers[name](), scorer) for name in names}


def bare_prompt(variant: Variant) -> Variant:
    """The prompt without examples."""
    return variant.showing(())


def said(baselines: Mapping[str, Any]) -> str:
    """Whether the model is worth its calls, as a sentence.

    ``baselines``: TrivialBaselines as plain values; a study's with STUDENT_SEARCHED and BY_STUDENT.
    """
    worth = baselines.get("worth")
    if worth is None:
        return "No baseline without a model could be compared with it."
    variant, best, lead, low, high = (worth[name] for name in ("variant", "best", "lead", "low", "high"))
    if (share := baselines.get(BY_STUDENT, 0.0)) > 0.5:
        return f"{variant} asks a model for {1 - share:.0%} of these rows; a student answers the others."
    if low > 0:
        return (
            f"A model earns its calls here: {variant} leads {best}, the best that needs none, by"
            f" {_with_interval(lead, low, high)}."
        )
    if high < 0:
        instead = "" if best == FIRST or baselines.get(STUDENT_SEARCHED) else STUDENT_INSTEAD
        return (
            f"No model is needed here so far: {best} needs none and leads {variant} by"
            f" {_with_interval(-lead, -high, -low)}.{instead}"
        )
    cannot_be_told = f"Whether a model earns its calls cannot be told from {baselines['n']} rows"
    if round(lead, 3) == 0:
        return f"{cannot_be_told}: {variant} and {best}, which needs none, score the same."
    if lead < 0:
        return f"{cannot_be_told}: {best} needs none and leads {variant} by {_with_interval(-lead, -high, -low)}."
    return f"{cannot_be_told}: {variant} leads {best}, which needs none, by {_with_interval(lead, low, high)}."


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} (95 %: {signed_interval(low, high)})"


def heading(baselines: Mapping[str, Any]) -> str:
    """The sentence on which rows the scores are of, and what was learned from."""
    return (
        f"On the same {baselines['n']} rows without a model (the bare prompt has one, and no examples), learnt from"
        f" {baselines['n_train']} training examples"
    )


def first_sentence(text: str) -> str:
    """The text up to the first full stop, question or exclamation mark before white space, stripped.

    Without one it is the first line that is not empty.
    """
    read = text.strip()
    end = SENTENCE_END.search(read)
    return (read[: end.end()] if end else read.splitlines()[0] if read else "").strip()


def _unlabelled(texts: Sequence[str], known: Sequence[str], *, are_labels: bool) -> str:
    """Why no classifier can learn from these; empty where one can."""
    if not are_labels:
        return NO_LABELS
    if not texts:
        return NO_TRAINING
    if len(set(known)) < 2:
        return ONE_LABEL
    return "" if any(WORD.search(text) for text in texts) else NO_WORDS


def _nearest(texts: Sequence[str], known: Sequence[str], questions: Sequence[str]) -> list[str]:
    """The most similar example; of equals the first."""
    embedded = vectors([*texts, *questions])
    alike = similarities(embedded[len(texts) :], embedded[: len(texts)])
    return [known[max(range(len(row)), key=lambda at: (row[at], -at))] for row in alike]


def _first_sentences(rows: Sequence[Example]) -> list[str] | str:
    """The first sentence of the longest text among each row's inputs."""
    sentences = [
        first_sentence(max((v for v in e.input.values() if isinstance(v, str)), key=len, default="")) for e in rows
    ]
    return sentences if all(sentences) else NO_TEXT


def score_answers(rows: Sequence[Example], answers: Sequence[str] | str, scorer: Scorer) -> Mapping[str, float] | str:
    """Of an answer to each row its score by example; why there is none is passed on."""
    if isinstance(answers, str):
        return answers
    values = {e.id: scorer.score(e.expected, text, e.input).value for e, text in zip(rows, answers, strict=True)}
    return {id: value for id, value in values.items() if value is not None}


def mean_interval(values: Mapping[str, float], groups: Mapping[str, str]) -> Interval:
    """95 % interval of the mean; values and groups by example."""
    return bootstrap_interval(list(values.values()), seed=0, n_draws=N_DRAWS, groups=[groups[id] for id in values])


def mean_baseline(name: str, scores: Mapping[str, float] | str, groups: Mapping[str, str]) -> TrivialBaseline:
    """The mean of ``scores``, which are as ``trivial_scores`` gives them; ``groups``: by example."""
    if isinstance(scores, str):
        return TrivialBaseline(name=name, why=scores)
    if not scores:
        return TrivialBaseline(name=name, why="the family's scorer could measure none of its answers")
    interval = mean_interval(scores, groups)
    score = sum(scores.values()) / len(scores)
    return TrivialBaseline(name=name, score=score, low=interval.lower, high=interval.upper)


def _worth(
    variant: str,
    scores: Mapping[str, float],
    baselines: Mapping[str, Mapping[str, float]],
    groups: Mapping[str, str],
) -> Worth | None:
    """How the variant compares with the best baseline, on the rows that both have; None without such a row."""
    both = {name: [id for id in baseline if id in scores] for name, baseline in baselines.items()}
    means = {name: sum(baselines[name][id] for id in ids) / len(ids) for name, ids in both.items() if ids}
    if not means:
        return None
    best = max(means, key=lambda name: means[name])
    differences = {id: scores[id] - baselines[best][id] for id in both[best]}
    interval = mean_interval(differences, groups)
    n = len(differences)
    score = sum(scores[id] for id in both[best]) / n
    lead = sum(differences.values()) / n
    return Worth(variant=variant, score=score, best=best, lead=lead, low=interval.lower, high=interval.upper)
