"""A Study searches one Family on one Dataset; a Trial is one Variant evaluated in it.

A Confirmation is the study's look at the holdout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from math import inf
from types import MappingProxyType
from typing import Any, Final, Literal

from typing_extensions import TypedDict

from optimizer.core.base.answers import Json, Text
from optimizer.core.base.errors import Fault, InvalidInput, NotFound
from optimizer.core.base.knob import is_number
from optimizer.core.base.phrasing import count, dollars
from optimizer.core.base.values import Aim, Budget, Spend
from optimizer.core.evaluation.gates import GateRecord, JudgedRecord, WishedFloor
from optimizer.core.search.move import MoveRecord
from optimizer.core.search.racing import FIRST

CONFIRM: Final = "confirm"  # in the place of a strategy: the study's mode is to confirm
StudyMode = Literal["search", "confirm"]
StudyStatus = Literal["queued", "running", "confirming", "finished", "cancelled", "failed"]
# Of each count that a new study works through; counts of rows end with the rows that are stored.
MOST = {
    "n_candidates": 10_000,
    "n_settings": 10_000,
    "n_instructions": 10_000,
    "playbook_entries": 10_000,
    "n_replayed": 100_000,
    "max_examples": 100,
}
# Members of a Definition: a study of a content pipeline may be asked to keep one of the two.
KEEP = ("keep_saved", "keep_quality")
# A finding of a study: what a learned score of a content pipeline does, by content type.
CONTENT_SCORE = "content_score"
REMARKS = "remarks"  # a finding of a study: sentences on its rows, which are shown before it begins
UNFINISHED: tuple[StudyStatus, ...] = ("queued", "running", "confirming")
ENDED: tuple[StudyStatus, ...] = ("finished", "cancelled", "failed")
StudyOutcome = Literal["nominated", "no_improvement", "not_confirmed", "budget_exhausted"]
# "dropped": too far behind in a race to be asked more, or without a score where the champion has one; "stopped": from
# outside.
TrialStatus = Literal["running", "complete", "dropped", "stopped"]
TriggerKind = Literal["degradation", "feedback", "student", "schedule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """How large a study is. Every count is fixed before the first call. A file in experiments/ uses the same names."""

    n_train: int = 80
    n_dev: int = 20
    n_holdout: int = 100
    n_run_off: int = 200  # the most further dev rows that leaders and champion meet before a winner is named
    # candidates of bootstrap beside its three fixed ones (no examples, labelled ones, unshuffled ones);
    # examples has as many in all
    n_candidates: int = 8
    n_settings: int = 8  # of settings; points of mipro and joint
    n_replayed: int = 1000  # settings that replay tries on the training items; none needs a call
    n_instructions: int = 6  # instructions that a proposer may write; steps of simba
    playbook_entries: int = 16  # the most entries that the section of strategy playbook holds
    playbook_chars: int = 2000  # the most characters of that section
    proposer: str | None = (
        None  # the model that writes instructions: a name in config/models.yaml; None = the champion's model
    )
    max_examples: int = 4
    # From this score on a bootstrapped output may become an example; None = what the champion reaches on dev.
    threshold: float | None = None
    max_request_bytes: int | None = None  # the longest allowed request; None = computed from the family's inputs
    space: Mapping[str, Any] | None = None  # None = the family's own
    keep_saved: float | None = None  # for a content pipeline: save this share of the time, at the best quality
    # For a content pipeline: keep this mean quality of what is processed in full, and save the most time.
    keep_quality: float | None = None
    move_to: str | None = None  # a name in config/models.yaml: the model that is to take the place of the champion's

    def space_over(self, declared: Mapping[str, Any]) -> Mapping[str, Any]:
        """The study's own space, else the family's."""
        return declared if self.space is None else self.space

    @classmethod
    def parse(
        cls, values: Mapping[str, Any], most: Mapping[str, int] = MappingProxyType({}), /, **defaults: Any
    ) -> Definition:
        """Checks names and ranges; raises InvalidInput with every fault at once.

        Args:
            most: ``MOST`` for a new study; a stored one goes on as it was accepted.
        """
        known = {f.name for f in fields(cls)}
        faults = [
            Fault(pointer=f"/definition/{name}", detail=f"unknown; known are {', '.join(sorted(known))}")
            for name in values
            if name not in known
        ]
        merged = {**defaults, **{k: v for k, v in values.items() if k in known and v is not None}}
        for name, value in merged.items():
            low = 1 if name in ("n_dev", "max_request_bytes") else 0
            if name == "space":
                wrong = None if isinstance(value, Mapping) else "needs names with ranges"
            elif name in ("proposer", "move_to"):
                wrong = None if isinstance(value, str) and value else f"needs the name of a model, got {value!r}"
            elif isinstance(value, int) and value > most.get(name, value):
                wrong = f"needs at most {most[name]:,}, got {value!r}"
            elif name in KEEP:
                wrong = (
                    None
                    if is_number(value) and 0 < value < 1
                    else f"needs a share between 0 and 1, such as 0.65, got {value!r}"
                )
            elif name == "threshold":
                wrong = None if is_number(value) and 0 <= value <= 1 else f"needs a score in [0, 1], got {value!r}"
            else:
                wrong = (
                    None
                    if isinstance(value, int) and is_number(value) and value >= low
                    else f"needs a whole number of {low} or more, got {value!r}"
                )
            if wrong:
                faults.append(Fault(pointer=f"/definition/{name}", detail=wrong))
        if all(merged.get(name) is not None for name in KEEP):
            faults.append(
                Fault(pointer=f"/definition/{KEEP[1]}", detail=f"stands beside {KEEP[0]}; keep one of the two")
            )
        if faults:
            raise InvalidInput(
                "The study's definition is invalid: " + "; ".join(f"{f.pointer} {f.detail}" for f in faults), faults
            )
        return cls(**merged)


class Dataset(TypedDict, total=False):
    """The rows that ``build_dataset`` drew: ids in the order in which they are used.

    ``n_dev`` counts all dev rows; ``run_off`` has those behind ``dev``. ``truncated``: input -> examples in which it is
    cut.
    """

    hash: str
    n_dev: int
    train: Sequence[str]
    dev: Sequence[str]
    holdout: Sequence[str]
    run_off: Sequence[str]
    truncated: Mapping[str, int]
    n_refused: int
    n_unreleased: int


class SequenceStep(TypedDict):
    """One test of the sequence. lift: the candidate's mean score less the champion's, on the holdout."""

    variant: str
    p: float
    lift: float
    passed: bool


class FixedRecord(TypedDict):
    """A winner of nearest examples with its fixed ones, which go out where the nearest ones cannot be looked up.

    On the ``n`` examples of the look that it answered; ``mean`` and its ``lift`` over the champion on the same are None
    where the budget paid for none.
    """

    variant: str
    n: int
    mean: float | None
    lift: float | None


class Confirmation(TypedDict, total=False):
    """What a look at the sealed holdout found, on the ``n`` examples of which both variants have a score.

    Members from ``saving`` on belong to aims other than quality, to wishes, to a judge's scores, to a fixed sequence,
    to a move to another model and to nearest examples.
    """

    n: int
    n_unscored: int
    champion_mean: float
    winner_mean: float
    lift: float
    lift_low: float
    lift_high: float
    p: float
    test: str
    looks: int
    confidence: float
    improvement: float | None
    risk: float | None
    margin: float
    wins: int
    ties: int
    losses: int
    gates: Sequence[GateRecord]
    champion_cost_usd: float | None
    champion_p95_ms: float | None
    winner_cost_usd: float | None
    winner_p95_ms: float | None
    selection_lift: float | None
    summary: str
    saving: float | None
    saving_p: float
    saving_n: int
    saving_from: float | None
    saving_to: float | None
    quality_p: float
    quality_test: str
    quality_n: int
    quality_level: float
    loss_at_most: float
    wished: Sequence[WishedFloor]
    judge: str
    judged: JudgedRecord
    sequence: Sequence[SequenceStep]
    move: MoveRecord
    fixed: FixedRecord


class FigureChange(TypedDict):
    """How much worse a figure is: absolute for shares and scores, relative for latency; negative when it is better."""

    text: str
    change: float
    before: float
    now: float


class TriggerEvidence(TypedDict, total=False):
    """The figures of one trigger. Times are RFC 3339.

    A schedule has ``cron``, ``due_at`` and ``n_missed``; feedback has ``n``, ``mean`` and ``share``; a degradation has
    its parts, None where too few reported, and their ``index``. The last two have the window. ``study`` and
    ``again_at``: which study has answered the trigger, and when it is looked at again.
    """

    cron: str
    due_at: str
    n_missed: int
    since: str
    until: str
    reference_since: str
    n: int
    mean: float | None
    share: float
    success: FigureChange | None
    score: FigureChange | None
    latency: FigureChange | None
    index: float
    study: str
    again_at: str


class FiredEvidence(TypedDict, total=False):
    """The evidence of each trigger that fired, and when it fired on the clock of rollouts."""

    schedule: TriggerEvidence
    feedback: TriggerEvidence
    degradation: TriggerEvidence
    student: TriggerEvidence
    clock_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Why a study started by itself: the kind, a sentence with figures, and the figures."""

    kind: TriggerKind
    reason: Text[str]
    evidence: FiredEvidence = field(default_factory=FiredEvidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    id: str
    family: str
    strategy: str  # a name, or several joined by "+", each starting from the best so far
    aim: Aim
    status: StudyStatus
    seed: int
    budget: Budget
    definition: Text[Mapping[str, Json]]  # n_train, n_dev, n_holdout, n_candidates, n_settings, max_examples, space …
    champion: str
    created_at: datetime
    created_by: str
    outcome: StudyOutcome | None = None
    winner: str | None = None
    dataset: Dataset | None = None
    scorer_version: str | None = None
    confirmation: Confirmation | None = None
    spend: Spend = field(default_factory=Spend)
    stop_requested: bool = False
    error: Text[str | None] = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    simulated_clock: bool = False
    mlflow_run_id: str | None = None
    trigger: Trigger | None = None  # None: a user asked for it
    # What strategies measured beside the trials, such as {"confidence": [TierFinding, …]}.
    findings: Text[Mapping[str, Json] | None] = None

    @property
    def mode(self) -> StudyMode:
        """A study that confirms searches nothing: it takes a variant to the holdout. Its stored strategy says so."""
        return "confirm" if self.strategy == CONFIRM else "search"

    @property
    def move_to(self) -> str | None:
        """The model to which it looks for a way; None of a study that looks for something better."""
        model = (self.definition or {}).get("move_to")  # a key that reads no texts is told of no definition
        return None if model is None else str(model)

    @property
    def new(self) -> bool:
        """Whether the request still has to be carried out."""
        return self.finished_at is None

    @property
    def is_replayed(self) -> bool:
        """Whether it calls no model: it replays items, and ``cost_usd`` is a share of the time of full processing."""
        return self.budget.calls == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    study: str
    number: int
    variant: str
    proposer: str  # "champion", or the strategy whose candidate it is
    params: Text[Mapping[str, Json]]
    status: TrialStatus
    n: int = 0
    n_errors: int = 0
    score: float | None = None
    cost_usd: float = 0.0
    p95_ms: float | None = None
    n_calls: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    mlflow_run_id: str | None = None

    @property
    def usd_per_example(self) -> float | None:
        """Mean dollars, of a replayed study the mean share of the time; None before the first example."""
        return self.cost_usd / self.n if self.n else None


def measured(trials: Sequence[Trial]) -> list[Trial]:
    """Complete trials with a score."""
    return [t for t in trials if t.status == "complete" and t.score is not None]


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Complete trials, the best first; of equal scores the champion, then the cheaper one, then the one tried first."""
    return sorted(
        measured(trials),
        key=lambda t: (-(t.score or 0.0), t.proposer != "champion", t.usd_per_example or 0.0, t.number),
    )


N_BEST = 5


def shown_variants(study: Study, trials: Sequence[Trial]) -> dict[str, str]:
    """Variant id -> part of a file name, for the champion and the winner.

    Also the five best, once no place changes any more, since files stay.
    """
    shown = {study.champion: "champion"}
    if study.winner and study.winner not in shown:
        shown[study.winner] = "winner"
    best = list(dict.fromkeys(t.variant for t in ranked(trials)))[:N_BEST] if study.status in ENDED else []
    for place, variant in enumerate(best, start=1):
        shown.setdefault(variant, f"best-{place}")
    return shown


def aimed_at(aim: Aim, trial: Trial, *, is_replayed: bool = False) -> str:
    """What a trial shows of its study's aim beside the score; empty where the score is the aim.

    ``is_replayed``: as the study says; its trials cost time and no dollars.
    """
    usd = trial.usd_per_example
    if aim == "quality" or usd is None:
        return ""
    if aim == "cost":
        return f", {usd:.1%} of the time" if is_replayed else f", {dollars(usd)} a call"
    return ", p95 not measured" if trial.p95_ms is None else f", p95 {trial.p95_ms:.0f} ms"


# among a study's findings: the caps that would let every part of it come to its end, where its own may not
ENOUGH = "enough"


def budget_options(caps: Mapping[str, float]) -> str:
    """The options on the command line, such as ``--budget-calls 1380 --budget-usd 0.5``."""
    return " ".join(f"--budget-{name} {amount:.10g}" for name, amount in caps.items())


# among a study's findings: the seconds for which it stood cancelled or failed, which its minutes do not count
STOPPED_S = "stopped_s"
# among a study's findings: {"tried": points, "possible": points there are (None: without end), "most": n_settings}
POINTS = "points"


def points_in_words(study: Study) -> str | None:
    """How many points of the space a finished search tried, and what would make it try the rest.

    None where it searched no points, or was cut short.
    """
    points, calls = (study.findings or {}).get(POINTS), study.budget.calls
    if not points or not points["tried"] or study.spend.search_cut is not None:
        return None
    tried, possible, most = points["tried"], points["possible"], points["most"]
    calls_text = f" with {study.spend.n_calls:,} of {calls:,} calls" if calls else ""
    if tried < most or tried == possible:
        short = ", apart from impossible policies, too long requests and equal prompts" if tried != possible else ""
        return f"every point of the space was tried ({tried:,}){short}{calls_text}"
    of, n, which = (
        (" points of a space without end", min(5 * tried, MOST["n_settings"]), "more")
        if possible is None
        else (f" of {possible:,} possible points of the space", min(possible, MOST["n_settings"]), "all")
    )
    look = FIRST if {"race", "joint"} & set(study.strategy.split("+")) else study.definition["n_dev"]
    needed = f" with about {study.spend.n_calls + (n - tried) * look:,} calls" if calls else ""
    return f"{tried:,}{of} were tried{calls_text}; n_settings: {n} in the definition tries {which}{needed}"


LIST_ALONE = (
    "Listed instructions are tried, and no set of examples is made: the budget does not pay for all of both."
    " n_candidates or max_examples in the definition makes sets, and then fewer instructions may be tried."
)


def listed_in_words(n_listed: int, n_points: float, n_settings: int, *, is_given: bool) -> str | None:
    """How many points a study tries of a space with ``n_listed`` further instructions; None where it tries all.

    ``is_given``: whether the definition says how many.
    """
    if not n_listed or n_settings >= n_points:
        return None
    if n_settings >= n_listed:
        of = "" if n_points == inf else f" {n_points:,.0f}"
        return f"At most {n_settings} of the space's{of} points are tried, each listed instruction first."
    more = (
        "a larger n_settings in the definition tries"
        if is_given
        else "more --budget-calls, and the dollars and minutes for them, try"
    )
    return f"At most {n_settings} of {n_listed} listed instructions are tried; {more} more."


OUT_OF_FOLD = "out_of_fold"  # a finding of a study: each tier's learned confidence
# among a study's findings: names of the models that had no known price when it was made
UNPRICED = "unpriced"

# among a study's findings: {"students": by tier the hash of the one that it taught, "untaught": why there is none, …}
TAUGHT_STUDENTS = "students"

# among a study's findings: the identity of the judge that scores its answers
JUDGED_BY = "judge"

# among a study's findings: {"n": proposals refused because they quote a hidden example, "by": {strategy: of its own}}
LEAKS = "leaks"


def leaks_in_words(findings: Mapping[str, Any] | None) -> str | None:
    """How many proposals were refused as leaks, and whose; None where none was."""
    leaks = (findings or {}).get(LEAKS)
    if not leaks:
        return None
    by = " and ".join(f"{count(n, 'proposal')} of {name}" for name, n in sorted(leaks["by"].items()))
    return (
        f"{by}: {'it quotes' if leaks['n'] == 1 else 'they quote'} eight words in a row of an example that is sealed or"
        " not released."
    )


def too_long_in_words(findings: Mapping[str, Any] | None, of: str = "train and dev") -> str | None:
    """What became of examples whose inputs are longer than serving takes; None where there is none.

    Reads "truncated" and "n_refused" of a dataset or an evaluation.
    """
    truncated, n_refused = (findings or {}).get("truncated", {}), (findings or {}).get("n_refused", 0)
    cut = [f"{name} in {count(n, 'example')}" for name, n in truncated.items()]
    parts = [f"cut to max_chars, as when serving: {', '.join(cut)} of {of}"] if cut else []
    if n_refused:
        parts.append(f"left out, since serving refuses inputs so long: {count(n_refused, 'example')} of {of}")
    return "; ".join(parts) or None


def unreleased_in_words(family: str, n: int) -> str | None:
    """How many train examples a study leaves out, and the command that releases them; None where it leaves out none."""
    if not n:
        return None
    left_out = f"{count(n, 'train example')} {'is' if n == 1 else 'are'} not released, and the study leaves"
    return (
        f"{left_out} {'it' if n == 1 else 'them'} out. Where a person vouches for the texts, import the file again:"
        f" detent import FILE --family {family} --curated. Single corrections from production: detent review list"
        f" --family {family}."
    )


def study_view(study: Study) -> Study:
    """The study without the hundreds of numbers that only its report reads."""
    if not study.findings or OUT_OF_FOLD not in study.findings:
        return study
    return replace(study, findings={name: finding for name, finding in study.findings.items() if name != OUT_OF_FOLD})


def unknown_study(id: str) -> NotFound:
    return NotFound(f"There is no study {id!r}. See them with: detent study list.", study=id)
