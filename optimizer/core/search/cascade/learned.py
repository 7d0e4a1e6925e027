"""A confidence that is learned from what tiers answered to training examples: how it is declared and when it is used.

Training needs scikit-learn, so it lies in ``adapters/predictors/learning.py``. The decisions are made here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.dataset.examples import Example
from optimizer.core.family.variant import CONFIDENCE, is_to_be_learned
from optimizer.core.policy.attempts import read_signal
from optimizer.core.predictor.attach import ReadAnswer

RIGHT = 0.5  # an answer of a higher score counts as right
RECORDED = "recorded_confidence"  # the finding that says which confidence the recorded answers have
DEFAULT_SIGNAL = {"kind": "log_probability"}
FROM_PRODUCTION = ("correction", "interaction")  # origins of Examples


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedExample:
    """One recorded answer of one tier.

    ``recorded``: the confidence it was recorded with, in [0, 1]; None: not measured.

    ``read`` is what a predictor may learn from; answers of one ``group`` are never on both sides of a fold.
    """

    read: ReadAnswer
    recorded: float | None
    is_right: bool
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Answers of like confidence: what was promised on average, and what share was right, with its 95 % interval."""

    n: int
    promised: float
    right: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good a confidence is on ``n`` answers it has not seen. ``auc`` None: one kind of answer only."""

    n: int
    brier: float
    brier_low: float | None
    brier_high: float | None
    ece: float
    ece_low: float | None
    ece_high: float | None
    auc: float | None
    reliability: tuple[Bin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """The result of training.

    ``predictor``: data for ``confidence: {kind: predictor, after: …}``. ``out_of_fold``: its answer to each row, when
    it had not seen that row. ``before`` and ``before_out_of_fold``: the same from the request alone, known before any
    call. ``gain``: log loss of the recorded confidence less that of the learned one, both out of fold; ``gain_low``:
    its one-sided 90 % bound. ``recorded`` is None where no answer had a recorded confidence.
    """

    predictor: Mapping[str, Any]
    out_of_fold: tuple[float, ...]
    learned: Quality
    recorded: Quality | None
    gain: float
    gain_low: float
    before: Mapping[str, Any]
    before_out_of_fold: tuple[float, ...]


class Learn(Protocol):
    def __call__(
        self, answers: Sequence[JudgedExample], *, has_labels: bool, trained_on: Mapping[str, Any], seed: int
    ) -> TrainingResult:
        """Trains; equal arguments give equal results.

        Args:
            has_labels: the answers are a few labels, so the answer itself is informative.
        Raises:
            DatasetTooSmall: too few answers or groups, or all of one kind.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TierFinding:
    """What a study found out about one tier's confidence.

    ``learned`` None: nothing could be trained; ``why`` says what followed.
    """

    tier: str
    is_used: bool
    why: str
    predictor: str | None = None  # its hash
    learned: Quality | None = None
    recorded: Quality | None = None


def is_less_wrong(gain_low: float) -> bool:
    """Whether the learned confidence has less log loss than the recorded one on answers that it has not seen.

    With 90 % confidence (one-sided).
    """
    return gain_low > 0


def beats(gain_low: float, *, saved: float, saved_recorded: float) -> bool:
    """Whether the learned confidence is used: it is surely less wrong, and its thresholds save more within the same
    loss.
    """
    return is_less_wrong(gain_low) and saved > saved_recorded


def asks_to_learn(space: Mapping[str, Any]) -> bool:
    """Whether a space names ``{kind: predictor}`` without data: one is to be trained."""
    return any(is_to_be_learned(CONFIDENCE, choice) for choice in _choices(space))


def recorded_signal(space: Mapping[str, Any], own: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The confidence with which tiers' answers are recorded: the one beside the predictor in the space, else the
    policy's own.

    Where one is to be learned, a predictor of the policy is no measure, since it may have seen these answers; then it
    is log-probabilities. None: the policy's default.
    """
    named = [choice for choice in _choices(space) if not is_to_be_learned(CONFIDENCE, choice)]
    if named:
        return dict(named[0])
    return DEFAULT_SIGNAL if asks_to_learn(space) and (own or {}).get("kind") == "predictor" else own


def signal_faults(space: Mapping[str, Any], at: str = "") -> list[Fault]:
    """What is wrong with the confidences that a space names."""
    if CONFIDENCE not in space:
        return []
    pointer = pointer_of([CONFIDENCE])
    entry = space[CONFIDENCE]
    choices = entry.get("choices") if isinstance(entry, Mapping) else None
    if not isinstance(choices, list | tuple) or not all(isinstance(choice, Mapping) for choice in choices):
        detail = "a confidence is chosen among mappings: {choices: [{kind: log_probability}, {kind: predictor}]}"
        return [Fault(pointer=f"{at}/space{pointer}", detail=detail)]
    faults: list[Fault] = []
    for choice in choices:
        read_signal(choice, faults)
    return [Fault(pointer=f"{at}/space{pointer}", detail=fault.detail) for fault in faults]


def replay_faults(space: Mapping[str, Any], at: str = "") -> list[Fault]:
    """The faults for strategy replay, which compares a recorded confidence with a learned one."""
    faults = signal_faults(space, at)
    if not faults and len([choice for choice in _choices(space) if not is_to_be_learned(CONFIDENCE, choice)]) > 1:
        detail = (
            "strategy replay compares one recorded confidence with a learned one; name one of them and {kind:"
            " predictor}"
        )
        faults.append(Fault(pointer=f"{at}/space{pointer_of([CONFIDENCE])}", detail=detail))
    return faults


def training_row(example: Example, answered: Mapping[str, Any]) -> JudgedExample:
    """A tier's entry in ``tier_rows`` as a training row. Words of an unreleased example never leave it."""
    read: ReadAnswer = answered["read"]
    return JudgedExample(
        read=ReadAnswer(numbers=read.numbers, texts=read.texts if example.released else {}),
        recorded=answered["confidence"],
        is_right=answered["score"] > RIGHT,
        group=example.group,
    )


def _choices(space: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entry = space.get(CONFIDENCE)
    choices = entry.get("choices") if isinstance(entry, Mapping) else None
    return [choice for choice in choices if isinstance(choice, Mapping)] if isinstance(choices, list | tuple) else []
