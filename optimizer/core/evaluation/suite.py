"""An evaluation suite of a Family: its targets for a Variant on examples or golden scenarios before a rollout may
start.

A suite is a fixed set of examples: a target is met on them or it is not. Only latency has an interval, since it varies
from call to call. What could not be measured, or not be told, is a verdict of its own and counts as not met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import exp
from typing import Literal

from typing_extensions import TypedDict

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.phrasing import count
from optimizer.core.base.values import ExampleResult, grouped, mean_score
from optimizer.core.evaluation.gates import GateRecord
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.evaluation.timing import Evidence, RowRatios, Timing, mean_of_rows, timing_of
from optimizer.core.family.family import Family, GoldenRow
from optimizer.core.family.golden import golden_digest
from optimizer.core.family.settings import JUDGE_METRIC, Regression, Targets

DECIDED = ("met", "missed")
MIN_OF_CLASS = 5  # examples of a class that must be scored for both before a fall of its mean says anything
LATENCY = "regression of latency"
TIMED = ("p95_latency_ms", LATENCY)  # checks that need fresh answers
NO_CHAMPION = "no champion serves yet to compare with"
JOURNALED = "the journal answered, so that no latency was measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """What ``regression.per_class`` compares beside the whole, and how many scored rows of one it takes to tell."""

    word: str = "class"
    least: int = MIN_OF_CLASS


SCENARIOS = Groups(word="scenario", least=1)


def check_suite(
    targets: Targets,
    results: Sequence[ExampleResult],
    *,
    champion: Sequence[ExampleResult] | None = None,
    class_of: Mapping[str, str] | None = None,
    timing: Timing | None = None,
    groups: Groups = Groups(),
    tools: Mapping[str, bool] | None = None,
) -> list[Check]:
    """Every declared target, in the order of the file.

    Args:
        results: of the Variant, one for each example of the suite; at least one.
        champion: of the champion, for ``regression``; None: the Variant is the champion, which is no regression of
            itself. Empty: there is no champion, so nothing can be compared.
        class_of: example id -> its class, where the family balances by one.
        timing: of fresh answers; None: the results' own, which compare nothing.
        tools: example whose tools found something -> whether the answer uses it.
    """
    timing = timing or timing_of(results)
    # Unmeasured where an example has no score.
    scores = [r.score for r in results if r.score is not None]
    n, is_whole, checks = len(results), len(scores) == len(results), list[Check]()
    unscored = f"{n - len(scores)} of {n} examples have no score"
    if targets.mean_score is not None:
        mean = mean_score(results) if is_whole else None
        checks.append(_check("mean_score", targets.mean_score, mean, _at_least, "mean score {:.3f}", unscored))
    if (high := targets.high_scores) is not None:
        share = sum(s >= high.edge for s in scores) / n if is_whole else None
        text = f"{{:.1%}} score {high.edge:g} or more"
        checks.append(_check("high_scores", high.share, share, _at_least, text, unscored))
    if (low := targets.low_scores) is not None:
        share = sum(s < low.below for s in scores) / n if is_whole else None
        text = f"{{:.1%}} score below {low.below:g}"
        checks.append(_check("low_scores", low.share, share, _at_most, text, unscored))
    n, missing = len(results), timing.why or JOURNALED
    for name, wanted, value, text in (
        ("errors", targets.errors, sum(r.is_failed for r in results) / n, "{:.1%} errors"),
        ("retries", targets.retries, sum(r.n_retries > 0 for r in results) / n, "{:.1%} were asked again"),
        ("cost_usd_per_call", targets.cost_usd_per_call, sum(r.cost_usd for r in results) / n, "${:.6f} a request"),
        ("p95_latency_ms", targets.p95_latency_ms, timing.p95_ms, "95 % within {:,.0f} ms"),
    ):
        if wanted is not None:
            checks.append(_check(name, wanted, value, _at_most, text, missing))
    if targets.tools_used is not None:
        tool_use = tools or {}
        unanswered = sum(r.output is None for r in results if r.example in tool_use)
        use = sum(tool_use.values()) / len(tool_use) if tool_use and not unanswered else None
        missing = (
            f"{unanswered} of {len(tool_use)} answers are missing" if tool_use else "no input holds what tools found"
        )
        text = "{:.1%} of the answers use what tools found"
        checks.append(_check("tools_used", targets.tools_used.share, use, _at_least, text, missing))
    if targets.regression is not None and champion is not None:
        checks += _regressions(targets.regression, results, champion, class_of or {}, timing, groups)
    return checks


def gates_of_suites(
    family: Family, batches: Sequence[EvaluationBatch], variant: str, *, champion: str, scorer_version: str
) -> list[GateRecord]:
    """Each suite of the family as a gate before a rollout.

    Of each target the newest evaluation under these targets that found it met or missed decides. A Variant never
    changes, so one that could not tell takes nothing back: what was missed passes by no evaluation but one that finds
    it met.

    Args:
        batches: those of the family, oldest first.
        scorer_version: of the family's scorer as it is now. What another one scored says nothing. Golden rows that name
            their metrics are scored by some of the family's, so it stands for these, too.
    """
    gates: list[GateRecord] = []
    for suite in suites_of(family).values():
        own_suite = suite_id(family, champion, suite)
        evaluations = [b for b in batches if b.variant == variant and b.suite == own_suite and b.checks is not None]
        own = [b.checks or () for b in evaluations if b.scorer_version == scorer_version]
        # The checks of the newest evaluation, each as the newest one that found it met or missed says.
        decided = {check.name: check for checks in own for check in checks if check.verdict in DECIDED}
        checks = [decided.get(check.name, check) for check in own[-1]] if own else []
        verdict = verdict_of(checks)
        option = "" if suite.name == DEFAULT else f" --suite {suite.name}"
        command = f"detent family evaluate {family.name} --variant {variant}{option}"
        if not own:
            beside = f" and {champion}" if suite.compares else ""
            scorer = " with the scorer as it is now" if evaluations else ""
            reason = f"{variant} was not evaluated against {suite.said}{beside}{scorer}: {command}"
        else:
            reason = (
                "; ".join(check.said for check in checks if check.verdict != "met")
                or f"all {len(checks)} targets of the suite are met"
            )
        if any(check.verdict == "undecided" for check in checks):
            reason += f": {command}"
        gates.append({"name": suite.gate, "verdict": verdict, "value": None, "required": None, "reason": reason})
    return gates


def evidence_of(batches: Sequence[EvaluationBatch], variant: str, suite: str, timed_as: str) -> list[list[RowRatios]]:
    """What evaluations measured of the latency of ``timed_as``, oldest first, each with an item for every example in
    order.

    Args:
        batches: those of the family, oldest first.
        suite: the suite's ``suite_id``.
    """
    checks = [check for b in batches if (b.variant, b.suite) == (variant, suite) for check in b.checks or ()]
    evidences = [check.evidence for check in checks if check.evidence is not None]
    return [
        [RowRatios(*sums) for sums in evidence["rows"]] for evidence in evidences if evidence["timed_as"] == timed_as
    ]


def verdict_of(checks: Sequence[Check]) -> Literal["pass", "fail", "inconclusive"]:
    """The verdict of a suite's checks together; inconclusive where one could not be told, or there is none."""
    verdicts = {check.verdict for check in checks}
    return "fail" if "missed" in verdicts else "pass" if verdicts == {"met"} else "inconclusive"


def suite_id(family: Family, champion: str | None, suite: Suite | None = None) -> str:
    """Names what is asked, how it is scored and, for ``regression``, which champion stands beside it.

    Results under another id say nothing here. ``suite`` None: the one that has no name of its own.
    """
    suite = suite or suites_of(family).get(DEFAULT)
    targets = suite.targets.model_dump(mode="json") if suite is not None else None
    if targets is not None and targets["tools_used"] is None:  # as before there was such a target
        del targets["tools_used"]
    beside = champion if suite is not None and suite.compares else None
    content = {"targets": targets, "scorer": dict(family.metrics), "champion": beside}
    if family.metric_parameters:
        content["parameters"] = dict(family.metric_parameters)
    if JUDGE_METRIC in family.metrics:
        content["judge"] = judge_identity(family)
    if suite is not None and suite.name == GOLDEN:
        content["golden"] = golden_digest(suite.rows)
    return digest(canonical_json(content))[:12]


def _regressions(
    limits: Regression,
    results: Sequence[ExampleResult],
    champion: Sequence[ExampleResult],
    class_of: Mapping[str, str],
    timing: Timing,
    groups: Groups,
) -> list[Check]:
    before = {r.example: r.score for r in champion}
    # By class; None: the Variant has no score where the champion has one, which is more than a fall of 0.
    falls: dict[str, list[float | None]] = {}
    for result in results:
        earlier = before.get(result.example)
        if earlier is not None:
            fall = None if result.score is None else earlier - result.score
            falls.setdefault(class_of.get(result.example, ""), []).append(fall)
    every = [fall for of_class in falls.values() for fall in of_class]
    checks: list[Check] = []
    if limits.overall is not None:
        mean_fall, missing = _mean_fall(every, least=1) if champion else (None, NO_CHAMPION)
        checks.append(_check("regression", limits.overall, mean_fall, _at_most, "{:.3f} below the champion", missing))
    if limits.per_class is not None:
        for name in sorted({class_of[r.example] for r in results if r.example in class_of}):
            falls_of = falls.get(name, [])
            mean_fall, missing = _mean_fall(falls_of, least=groups.least) if champion else (None, NO_CHAMPION)
            place = f"{groups.word} {name}"
            shown = place.replace("{", "{{").replace("}", "}}") + ": {:.3f} below the champion"
            checks.append(
                _check(f"regression of {name}", limits.per_class, mean_fall, _at_most, shown, f"{place}: {missing}")
            )
    if limits.latency is not None:
        checks.append(_latency_check(limits.latency, timing, class_of, groups, NO_CHAMPION if not champion else ""))
    return checks


def _latency_check(limit: float, timing: Timing, class_of: Mapping[str, str], groups: Groups, missing: str) -> Check:
    """Missed or met on evidence; what the timed requests cannot tell is undecided."""
    slowdown, bounds, rows = timing.slowdown, timing.bounds, timing.rows
    if missing or slowdown is None or bounds is None or not timing.own:
        few = "no example was timed twice for both" if timing.pairs else "latency was not measured for both"
        return _check(LATENCY, limit, None, _at_most, "", missing or timing.why or few)
    is_slower = timing.is_slower(limit)
    where = _slowest(rows, class_of, groups) if is_slower is not False else ""
    of_earlier = f", those of {count(len(timing.earlier), 'earlier evaluation')} among them" if timing.earlier else ""
    n = sum(row.n for row in rows.values())
    measured = (
        f"latency {slowdown:+.1%} against the champion's, between {bounds.lower:+.1%} and {bounds.upper:+.1%}"
        f" (geometric mean over {count(len(rows), 'example')}, {n} requests of each{of_earlier}{where})"
    )
    if is_slower is None:
        text = (
            f"{LATENCY} cannot be told yet: {measured}, at most {limit:.0%} is asked; another evaluation adds its times"
        )
    else:
        text = f"{LATENCY}: {measured}, at most {limit:.0%} is asked"
    verdict: TargetVerdict = "undecided" if is_slower is None else "missed" if is_slower else "met"
    own = [timing.own.get(example, RowRatios.of([])) for example in timing.examples]  # no id of what may be forgotten
    evidence = LatencyEvidence(timed_as=timing.timed_as, rows=[(row.n, row.mean, row.squares) for row in own])
    return Check(name=LATENCY, wanted=limit, found=slowdown, verdict=verdict, said=text, evidence=evidence)


def _slowest(rows: Evidence, class_of: Mapping[str, str], groups: Groups) -> str:
    """The class or scenario that is slowed down most, by the mean of its rows; empty where there is none."""
    by_name = grouped((class_of.get(example, ""), row) for example, row in rows.items())
    slowdowns = {name: exp(mean_of_rows(of)) - 1 for name, of in by_name.items() if name}
    if not slowdowns:
        return ""
    name = max(slowdowns, key=lambda name: (slowdowns[name], name))
    return f"; slowest is {groups.word} {name}, {slowdowns[name]:+.1%}"


def _mean_fall(falls: Sequence[float | None], *, least: int) -> tuple[float | None, str]:
    """The mean fall, or None and why there is none."""
    known = [fall for fall in falls if fall is not None]
    if len(known) < len(falls):
        return None, f"{len(falls) - len(known)} of {len(falls)} examples that the champion has a score on have none"
    if len(known) < least:
        return None, f"{len(known)} examples were scored for both, {least} are needed"
    return sum(known) / len(known), ""


def _check(
    name: str,
    wanted: float,
    measured: float | None,
    is_met: Callable[[float, float], bool],
    shown: str,
    missing: str,
) -> Check:
    if measured is None:
        return Check(
            name=name, wanted=wanted, found=None, verdict="unmeasured", said=f"{name} could not be measured: {missing}"
        )
    verdict: TargetVerdict = "met" if is_met(measured, wanted) else "missed"
    bound = "at least" if is_met is _at_least else "at most"
    return Check(
        name=name,
        wanted=wanted,
        found=measured,
        verdict=verdict,
        said=f"{name}: {shown.format(measured)}, {bound} {wanted:g} is asked",
    )


def _at_least(measured: float, wanted: float) -> bool:
    return measured >= wanted - 1e-12


def _at_most(measured: float, wanted: float) -> bool:
    return measured <= wanted + 1e-12


FULL = "full"  # every suite of the family
DEFAULT = "targets"  # the suite that has no name of its own
GOLDEN = "golden"
GOLDEN_TARGETS = Targets(regression=Regression(overall=0.05, per_class=0.10, latency=0.20))


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """``rows``: of the golden scenarios; other suites draw dev examples."""

    name: str
    targets: Targets
    rows: tuple[GoldenRow, ...] = ()

    @property
    def gate(self) -> str:
        return gate_of_suite(self.name)

    @property
    def n_asked(self) -> int:
        """Golden rows, or dev examples."""
        return len(self.rows) if self.name == GOLDEN else self.targets.n

    @property
    def compares(self) -> bool:
        """Whether the champion is asked the same."""
        return self.targets.regression is not None

    @property
    def summary(self) -> str:
        """The suite's name, and how much it asks."""
        if self.name == GOLDEN:
            return f"{self.name} ({count(len({row.scenario for row in self.rows}), 'scenario')})"
        return f"{self.name} ({count(self.targets.n, 'dev example')})"

    @property
    def said(self) -> str:
        """What a Variant was evaluated against, as part of a sentence."""
        if self.name == GOLDEN:
            return f"the family's {count(len({row.scenario for row in self.rows}), 'golden scenario')}"
        return "the family's targets" if self.name == DEFAULT else f"suite {self.name} of the family"


def gate_of_suite(name: str) -> str:
    """What a rollout calls it among its gates."""
    return {DEFAULT: "suite", GOLDEN: GOLDEN}.get(name, f"suite {name}")


def suites_of(family: Family) -> Mapping[str, Suite]:
    """Suites by name, in the order in which they are asked: a rollout has them as gates.

    The targets under ``golden`` are asked of the family's golden scenarios, with the usual regression where the file
    names none. Where there are no scenarios the suite still exists, and cannot be met.
    """
    declared = family.targets
    named = {DEFAULT: declared} if isinstance(declared, Targets) else dict(declared or {})
    is_declared, golden = GOLDEN in named, named.pop(GOLDEN, GOLDEN_TARGETS)
    suites = {name: Suite(name=name, targets=targets) for name, targets in named.items()}
    if family.golden or is_declared:
        if "regression" not in golden.model_fields_set:
            golden = golden.model_copy(update={"regression": GOLDEN_TARGETS.regression})
        suites[GOLDEN] = Suite(name=GOLDEN, targets=golden, rows=family.golden)
    return suites


# undecided: measured, and the figures cannot tell
TargetVerdict = Literal["met", "missed", "unmeasured", "undecided"]


class LatencyEvidence(TypedDict):
    """What was timed: of each row the sums of ``RowRatios``."""

    timed_as: str
    rows: Sequence[tuple[int, float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One target.

    ``found`` and ``wanted`` in the unit of ``name``: scores, shares, dollars, milliseconds, or a relative change.
    """

    name: str
    wanted: float
    found: float | None
    verdict: TargetVerdict
    said: str
    evidence: LatencyEvidence | None = None  # for evaluations to come


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationBatch:
    """Scores in [0, 1] with a 95 % interval, None where no example was scored; dollars and calls of the Variant's own
    answers.

    Args:
        split: train, dev, or golden.
        p95_latency_ms: of fresh calls; None: there was none.
        suite: ``suite_id`` of what was asked. ``checks``: its targets. Both None where nothing was checked.
    """

    id: str
    family: str
    variant: str
    model: str
    dataset_hash: str
    split: str
    scorer_version: str
    n: int
    n_errors: int
    mean_score: float | None
    score_low: float | None
    score_high: float | None
    cost_usd: float
    p95_latency_ms: float | None
    n_calls: int
    created_by: str
    created_at: datetime
    suite: str | None = None
    checks: Sequence[Check] | None = None
