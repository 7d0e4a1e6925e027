"""Does a student still answer as the model behind it would, and is it still asked what it was taught on?

Of the requests that a cascade audits by chance both answers are known. What a student loses is counted over all audited
requests: 0 where it passed the request on, else 1 - agreement with the next tier. The decision is sequential: an
e-detector (``drift.DriftDetector``) of a mean below 1 - the accepted loss, which is valid however often it is looked at
and which forgets good times. The next tier's answers are no truth, so people read "agreement", never "right".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from math import fsum, log, sqrt
from operator import mul
from typing import Any, Literal

from pydantic import TypeAdapter

from optimizer.core.base.phrasing import count
from optimizer.core.base.values import Interval
from optimizer.core.family.settings import Output
from optimizer.core.feedback.events import Interaction
from optimizer.core.policy.policy import Policy
from optimizer.core.policy.steps import draw_of
from optimizer.core.policy.tiers import stands
from optimizer.core.policy.votes import similarity
from optimizer.core.rollout.drift import DriftDetector
from optimizer.core.statistics.interval import wilson_interval

DROPS = (0.02, 0.05, 0.10, 0.20)  # below 1 - the accepted loss
WEIGHTS = (0.3, 0.3, 0.2, 0.2)
RUN_LENGTH = 10_000  # audited requests until a false alarm, in expectation, at least
MOST_ACCEPTED = 0.9
LEAST_AUDITED = 100  # requests, before "keep" is said
MOST_LOST = 0.2  # of the audits that were drawn; beyond, those that are left may be others
Z90 = 1.2816  # one-sided
WEEKS = 13
BINS = 10
SHIFT = 0.10  # the largest difference of two distribution functions that is no shift, chance apart
CHANCE = 1e-4  # that a look calls equal distributions shifted

Watching = Literal["keep", "bypass", "cannot_tell"]
Part = Mapping[str, Any]
Bins = tuple[int, ...]
Points = tuple[tuple[float, str], ...]
NO_BINS: Bins = (0,) * BINS


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentRequest:
    """One request that a student read.

    ``chance``: that it was audited, in (0, 1], where it was; else None. ``agreement`` in [0, 1] with the next tier,
    where both answers are known. ``unknown``: the share of its words that the student does not know.
    """

    at: datetime
    is_own: bool  # the student's answer went out because it was sure enough
    confidence: float | None
    chance: float | None = None
    agreement: float | None = None
    unknown: float | None = None


def read_request(
    interaction: Interaction, later: Sequence[Part], policy: Policy, student: str, output: Output
) -> StudentRequest | None:
    """None where the student was not asked, as for a request with earlier turns.

    Args:
        later: the calls after the answer, the audit's among them.
        policy: the one that served it.
        student: the tier's name.
    """
    cascade = policy.cascade
    if cascade is None or student not in cascade.models[:-1] or interaction.parts is None:
        return None
    tier = cascade.models.index(student)
    own = _plain(interaction.parts, tier, student)
    if own is None:
        return None
    is_own, is_drawn = _is_own(own, policy), draw_of(interaction.id) < cascade.audit_share
    other = _plain((*interaction.parts, *later), tier + 1, cascade.models[tier + 1])
    text, reference = (_text(part, interaction) for part in (own, other))
    is_compared = is_own and is_drawn and text is not None and reference is not None
    return StudentRequest(
        at=interaction.received_at,
        is_own=is_own,
        confidence=own.get("confidence"),
        chance=cascade.audit_share if is_drawn else None,
        agreement=similarity(output, text or "", reference or "") if is_compared else None,
        unknown=own.get("unknown"),
    )


def teaching_weight(interaction: Interaction, policy: Policy | None) -> float:
    """How much an example from this request counts for the next student; 0 where it may not teach.

    Of requests that a student answered only those teach that were drawn for an audit, each for all the others: people
    correct what is wrong and pass over the rest, so any other choice among them would be biased. Its answers that went
    out because the tiers behind it failed teach nothing.

    Args:
        policy: None where its variant was forgotten; of what several calls made nobody knows then who answered.
    """
    if policy is None:
        return 0.0 if interaction.parts else 1.0
    cascade = policy.cascade
    for tier in cascade.students if cascade is not None else ():
        own = _plain(interaction.parts or (), cascade.models.index(tier), tier) if cascade is not None else None
        if cascade is not None and own is not None and own.get("taken"):
            is_drawn = draw_of(interaction.id) < cascade.audit_share
            return 1 / cascade.audit_share if is_drawn and _is_own(own, policy) else 0.0
    return 1.0


def _is_own(part: Part, policy: Policy) -> bool:
    """Whether a tier's answer went out as it was sure enough, and not because the tiers behind it failed."""
    cascade, validator = policy.cascade, policy.validator
    is_blocked = validator is not None and validator.then != "flag" and bool(part.get("issues"))
    is_sure = cascade is not None and stands(part.get("confidence"), cascade.accept[part["tier"]])
    return bool(part.get("taken")) and is_sure and not is_blocked


def _text(part: Part | None, interaction: Interaction) -> str | None:
    """A part's answer, which the interaction holds where it went out; None where it was not kept."""
    return None if part is None else interaction.output if part.get("taken") else part.get("output")


def _plain(parts: Iterable[Part], tier: int, model: str) -> Part | None:
    """The first plain answer of a tier by its own model."""
    for part in parts:
        is_answer = part.get("purpose") in ("answer", "audit") and part.get("error") is None
        if is_answer and part.get("tier") == tier and part.get("model") == model:
            return part
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentWeek:
    """Sums of a week of receipt that begins on this Monday, UTC.

    ``weight``, ``squares``: of the own answers that were compared, the inverses of their chances and their squares;
    ``agreeing``: the agreement times the weight. ``confidences``, ``unknown``: of all requests that it read, by tenths.
    """

    monday: date
    n: int = 0
    n_own: int = 0
    n_drawn: int = 0  # of its own answers
    n_compared: int = 0
    weight: float = 0.0
    squares: float = 0.0
    agreeing: float = 0.0
    confidences: Bins = NO_BINS
    unknown: Bins = NO_BINS

    def after(self, request: StudentRequest) -> StudentWeek:
        weight = 1 / request.chance if request.chance is not None and request.agreement is not None else 0.0
        return StudentWeek(
            monday=self.monday,
            n=self.n + 1,
            n_own=self.n_own + request.is_own,
            n_drawn=self.n_drawn + (request.is_own and request.chance is not None),
            n_compared=self.n_compared + (weight > 0),
            weight=self.weight + weight,
            squares=self.squares + weight * weight,
            agreeing=self.agreeing + weight * (request.agreement or 0.0),
            confidences=counted(self.confidences, request.confidence),
            unknown=counted(self.unknown, request.unknown),
        )

    @property
    def agreement(self) -> float | None:
        """With the next tier, of all its answers; None where none was compared."""
        return self.agreeing / self.weight if self.weight else None

    @property
    def confidence(self) -> float | None:
        """Its mean, to a twentieth."""
        return _mean(self.confidences) if sum(self.confidences) else None

    @property
    def unknown_share(self) -> float | None:
        """The mean share of a request's words that the student does not know, to a twentieth."""
        return _mean(self.unknown) if sum(self.unknown) else None

    @property
    def interval(self) -> Interval | None:
        """95 %, of as many equal draws as the weights are worth (Kish 1965)."""
        if self.agreement is None:
            return None
        n = max(1, round(self.weight**2 / self.squares))
        return wilson_interval(min(n, round(self.agreement * n)), n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """What the student was measured against: the prompt as a hash, and the revision of each model behind it.

    ``behind``: these models, known or not; ``shown``: a hash of which examples they are shown. Both are empty in
    watches stored before.
    """

    prompt: str
    revisions: Mapping[str, str]
    behind: tuple[str, ...] = ()
    shown: str = ""

    def changed(self, now: Teacher) -> str | None:
        """What is another one now, as a sentence without its full stop; None where all is the same."""
        for model, revision in self.revisions.items():
            if model in now.revisions and now.revisions[model] != revision:
                return f"the model {model} behind it was {revision} and is {now.revisions[model]} now"
        if now.prompt != self.prompt or (self.shown and now.shown != self.shown):
            return "the prompt of the models behind it is another one than it was measured against"
        if self.behind and (other := [model for model in now.behind if model not in self.behind]):
            return f"the model {other[0]} is behind it now, which it was not measured against"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentWatch:
    """What is known of one student since it was first named by a variant.

    ``accepted``: the share of all requests that may be lost, in (0, 1), at these ``points``: from which confidence on
    it answers, and the tier behind it (empty in watches stored before). ``weeks``: the newest last. ``dev_…``: by
    tenths its confidences and the shares of unknown words on examples that did not teach it.
    """

    student: str
    tier: str
    accepted: float
    teacher: Teacher
    detector: DriftDetector
    n_audited: int = 0
    lost: float = 0.0
    weeks: tuple[StudentWeek, ...] = ()
    dev_confidences: Bins = NO_BINS
    dev_unknown: Bins = NO_BINS
    since: date | None = None  # of the first request
    points: Points = ()

    @classmethod
    def begin(
        cls,
        *,
        student: str,
        tier: str,
        teacher: Teacher,
        accepted: float,
        dev_confidences: Bins = NO_BINS,
        dev_unknown: Bins = NO_BINS,
        points: Points = (),
    ) -> StudentWatch:
        accepted = min(MOST_ACCEPTED, accepted)
        return cls(
            student=student,
            tier=tier,
            accepted=accepted,
            teacher=teacher,
            detector=_detector(accepted),
            dev_confidences=dev_confidences,
            dev_unknown=dev_unknown,
            points=points,
        )

    def anew(self, points: Points, accepted: float) -> StudentWatch:
        """At other points, where what was lost at those before says nothing; its weeks and its teacher stay."""
        accepted = min(MOST_ACCEPTED, accepted)
        return replace(self, points=points, accepted=accepted, detector=_detector(accepted), n_audited=0, lost=0.0)

    def after(self, request: StudentRequest) -> StudentWatch:
        monday = request.at.date() - timedelta(days=request.at.weekday())
        weeks, at = list(self.weeks), next((i for i, one in enumerate(self.weeks) if one.monday == monday), None)
        if at is None:
            weeks = sorted([*weeks, StudentWeek(monday=monday).after(request)], key=lambda one: one.monday)[-WEEKS:]
        else:
            weeks[at] = weeks[at].after(request)
        watch = replace(self, weeks=tuple(weeks), since=self.since or request.at.date())
        if request.chance is None or (request.is_own and request.agreement is None):
            return watch
        loss = 1 - (request.agreement or 0.0) if request.is_own else 0.0
        return replace(
            watch, detector=watch.detector.after(1 - loss), n_audited=watch.n_audited + 1, lost=watch.lost + loss
        )

    @property
    def decision(self) -> Watching:
        if self.detector.alarmed:
            return "bypass"
        n_drawn, n_compared = (sum(getattr(one, name) for one in self.weeks) for name in ("n_drawn", "n_compared"))
        if self.n_audited < LEAST_AUDITED or n_drawn - n_compared > MOST_LOST * n_drawn:
            return "cannot_tell"
        interval = wilson_interval(min(self.n_audited, round(self.n_audited - self.lost)), self.n_audited)
        return "keep" if interval.lower >= 1 - self.accepted else "cannot_tell"

    @property
    def reason(self) -> str:
        """The decision's sentence, without its full stop."""
        n_drawn, n_compared = (sum(getattr(one, name) for one in self.weeks) for name in ("n_drawn", "n_compared"))
        seen = (
            f"of {count(self.n_audited, 'audited request')} {self.lost / self.n_audited:.1%} lost agreement with the"
            f" next tier, and {self.accepted:.1%} is accepted"
            if self.n_audited
            else "no audited request has been compared yet"
        )
        if n_drawn - n_compared > MOST_LOST * n_drawn:
            seen += (
                f"; {count(n_drawn - n_compared, 'audit')} of {n_drawn} that were drawn brought no answer to compare"
                " with: the model behind it failed, or privacy.store keeps no texts"
            )
        return seen

    @property
    def shifts(self) -> tuple[str, ...]:
        """What of its requests is other than what it was taught on, in the newest two weeks; sentences without their
        full stop.
        """
        recent = self.weeks[-2:]
        confidences, unknown = (
            tuple(map(sum, zip(NO_BINS, *(getattr(one, name) for one in recent), strict=True)))
            for name in ("confidences", "unknown")
        )
        sentences = []
        if (shift := distance(self.dev_unknown, unknown)) is not None and shift.is_one:
            sentences.append(
                f"{_mean(unknown):.0%} of a request's words are unknown to it on average, and"
                f" {_mean(self.dev_unknown):.0%} were in examples"
            )
        if (shift := distance(self.dev_confidences, confidences)) is not None and shift.is_one:
            sentences.append(
                f"it is sure to {_mean(confidences):.0%} on average, and was to {_mean(self.dev_confidences):.0%} on"
                " examples"
            )
        return tuple(sentences)


def _detector(accepted: float) -> DriftDetector:
    return DriftDetector(reference=1 - accepted, drops=DROPS, weights=WEIGHTS, run_length=RUN_LENGTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """The largest difference of two distribution functions, and what of it chance and ``SHIFT`` explain."""

    distance: float
    allowed: float

    @property
    def is_one(self) -> bool:
        return self.distance > self.allowed


def distance(before: Bins, now: Bins) -> Shift | None:
    """None where either is empty.

    Source: Massart (1990), Annals of Probability 18, 1269-1283: each empirical function lies within
    sqrt(ln(2 / chance) / 2n) of its own.
    """
    n, m = sum(before), sum(now)
    if not n or not m:
        return None
    apart = max(abs(sum(before[: at + 1]) / n - sum(now[: at + 1]) / m) for at in range(BINS))
    noise = sum(sqrt(log(4 / CHANCE) / (2 * size)) for size in (n, m))
    return Shift(distance=apart, allowed=SHIFT + noise)


def counted(bins: Bins, value: float | None) -> Bins:
    """With one more value in [0, 1]."""
    if value is None:
        return bins
    at = min(BINS - 1, int(value * BINS))
    return (*bins[:at], bins[at] + 1, *bins[at + 1 :])


def _mean(bins: Bins) -> float:
    return sum((at + 0.5) / BINS * n for at, n in enumerate(bins)) / sum(bins)


def accepted_loss(
    rows: Sequence[Mapping[str, Any]],
    *,
    student: str,
    behind: str,
    accept: float,
    margin: float,
    tiers: Sequence[str] = (),
) -> float:
    """The share of requests that may be lost by agreement before quality can have fallen by more than the margin.

    Where the next tier is always right that is the margin. Else the student disagrees with it also where it is right,
    or where both are wrong: what the study saw of that is added, at its upper 90 % bound, since it was no loss then.

    Args:
        rows: of a study, as ``TierAnswers`` has them; rows that do not have both tiers count as nothing, others by
            their weight.
        behind: the next tier.
        accept: from which confidence on the student answers.
        margin: of the gate, in (0, 1).
        tiers: of the study, in their order: earlier rows know the agreement with the next one alone.
    """
    answered = [row for row in rows if {student, behind} <= row["tiers"].keys()]
    own = [(row["tiers"][student], row["tiers"][behind]) for row in answered]
    is_next = (student, behind) in pairwise(tiers)
    harmless = [
        (1 - agreement) - (second["score"] - first["score"])
        if stands(first["confidence"], accept) and (agreement := _agreement_with(behind, first, is_next)) is not None
        else 0.0
        for first, second in own
    ]
    weights = [row.get("weight", 1.0) for row in answered]
    if not (total := fsum(weights)):
        return margin
    mean = fsum(map(mul, weights, harmless)) / total
    error = sqrt(fsum((weight * (one - mean)) ** 2 for weight, one in zip(weights, harmless, strict=True))) / total
    return margin + max(0.0, mean + Z90 * error)


def _agreement_with(behind: str, own: Mapping[str, Any], is_next: bool) -> float | None:
    """None where the study did not keep it. ``is_next``: what an earlier row has as its one number is of this tier."""
    earlier = {behind: own.get("agreement")} if is_next else {}
    known: Mapping[str, float | None] = own.get("agreement_with", earlier)
    return known.get(behind)


STORED_STUDENT_WATCH: TypeAdapter[StudentWatch] = TypeAdapter(StudentWatch)  # plain JSON, all digits of each float
