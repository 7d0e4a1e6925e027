"""An evaluation suite of a Family: what its targets ask of a Variant on examples or golden scenarios,
and what was found, before a rollout may start.

A suite is a fixed set of examples: a target is met on them or it is not, and no interval is made of it. What could not
be measured is a verdict of its own and counts as not met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.values import ExampleResult, mean_score
from optimizer.core.evaluation.judging.identity import judge_identity
from optimizer.core.evaluation.suites import DEFAULT, GOLDEN, Suite, suites_of
from optimizer.core.evaluation.timing import MIN_PAIRS, TimedPair, Timing, timing_of
from optimizer.core.family.family import Family
from optimizer.core.family.golden import golden_digest
from optimizer.core.family.judge_settings import SCORER as JUDGED
from optimizer.core.family.settings import Regression, Targets

# undecided: measured, and the figures cannot tell; it blocks nothing, and is said
TargetVerdict = Literal["met", "missed", "unmeasured", "undecided"]
GateVerdict = Literal["pass", "fail", "inconclusive"]
SERVES = frozenset(("met", "undecided"))  # verdicts of a target that block nothing
MIN_OF_CLASS = 5  # examples of a class that must be scored for both before a fall of its mean says anything
LATENCY = "regression of latency"
TIMED = ("p95_latency_ms", LATENCY)  # checks that need fresh answers
NO_CHAMPION = "no champion serves yet to compare with"
JOURNALED = "the journal answered, so that no latency was measured"


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
            itself. Empty: there is none, so that nothing can be compared.
        class_of: example id to its class, where the family balances by one.
        timing: of fresh answers; None: the results' own.
        tools: by example whose tools found something, whether the answer uses it.
    """
    timing = timing or timing_of(results, champion or ())
    scores = [r.score for r in results if r.score is not None]
    n, whole = len(results), len(scores) == len(results)
    checks: list[Check] = []

    def add(
        name: str,
        wanted: float | None,
        found: float | None,
        is_met: Callable[[float, float], bool],
        shown: str,
        missing: str,
    ) -> None:
        if wanted is not None:
            checks.append(_check(name, wanted, found, is_met, shown, missing))

    unscored = f"{n - len(scores)} of {n} examples have no score"
    add(
        "mean_score",
        targets.mean_score,
        mean_score(results) if whole else None,
        _at_least,
        "mean score {:.3f}",
        unscored,
    )
    if targets.high_scores is not None:
        edge, share = targets.high_scores.edge, _share([s >= targets.high_scores.edge for s in scores])
        add(
            "high_scores",
            targets.high_scores.share,
            share if whole else None,
            _at_least,
            f"{{:.1%}} score {edge:g} or more",
            unscored,
        )
    if targets.low_scores is not None:
        below = targets.low_scores.below
        add(
            "low_scores",
            targets.low_scores.share,
            _share([s < below for s in scores]) if whole else None,
            _at_most,
            f"{{:.1%}} score below {below:g}",
            unscored,
        )
    add("errors", targets.errors, _share([r.is_failed for r in results]), _at_most, "{:.1%} errors", "")
    add("retries", targets.retries, _share([r.n_retries > 0 for r in results]), _at_most, "{:.1%} were asked again", "")
    cost = sum(r.cost_usd for r in results) / n
    add("cost_usd_per_call", targets.cost_usd_per_call, cost, _at_most, "${:.6f} a request", "")
    slow = timing.why or JOURNALED
    add("p95_latency_ms", targets.p95_latency_ms, timing.p95_ms, _at_most, "95 % within {:,.0f} ms", slow)
    if targets.tools_used is not None:
        asked = tools or {}
        unanswered = sum(r.output is None for r in results if r.example in asked)
        use = _share([*asked.values()]) if asked and not unanswered else None
        missing = f"{unanswered} of {len(asked)} answers are missing" if asked else "no input holds what tools found"
        add(
            "tools_used",
            targets.tools_used.share,
            use,
            _at_least,
            "{:.1%} of the answers use what tools found",
            missing,
        )
    if targets.regression is not None and champion is not None:
        checks += _regressions(targets.regression, results, champion, class_of or {}, timing, groups)
    return checks


def gates_of_suites(
    family: Family, batches: Sequence[Mapping[str, Any]], variant: str, *, champion: str
) -> list[Mapping[str, Any]]:
    """Each suite of the family as a gate before a rollout.

    The newest evaluation under these targets that could tell decides; a Variant never changes, so one that could not
    tell takes nothing back.

    Args:
        batches: the family's evaluation batches, oldest first.
    """
    return [_gate(family, suite, batches, variant, champion) for suite in suites_of(family).values()]


def _gate(
    family: Family, suite: Suite, batches: Sequence[Mapping[str, Any]], variant: str, champion: str
) -> Mapping[str, Any]:
    asked = suite_id(family, champion, suite)
    own = [b["checks"] for b in batches if b["variant"] == variant and b["suite"] == asked and b["checks"] is not None]
    found = [(verdict_of(checks), checks) for checks in reversed(own)]
    verdict, checks = next(
        (one for one in found if one[0] != "inconclusive"), found[0] if found else ("inconclusive", None)
    )
    if checks is None:
        beside = f" and {champion}" if suite.compares else ""
        option = "" if suite.name == DEFAULT else f" --suite {suite.name}"
        reason = (
            f"{variant} was not evaluated against {suite.said}{beside}: detent family evaluate {family.name}"
            f" --variant {variant}{option}"
        )
    else:
        reason = (
            "; ".join(one["said"] for one in checks if one["verdict"] != "met")
            or f"all {len(checks)} targets of the suite are met"
        )
    return {"name": suite.gate, "verdict": verdict, "value": None, "required": None, "reason": reason}


def verdict_of(checks: Sequence[Mapping[str, Any]]) -> GateVerdict:
    """Of a suite's checks together; inconclusive where one could not be measured, or there is none."""
    verdicts = {one["verdict"] for one in checks}
    return "fail" if "missed" in verdicts else "pass" if verdicts and verdicts <= SERVES else "inconclusive"


def suite_id(family: Family, champion: str | None, suite: Suite | None = None) -> str:
    """Names what is asked, how it is scored and, for ``regression``, beside whom:
    what was found under another of them speaks for nothing.

    ``suite`` None: the one that has no name of its own.
    """
    suite = suite or suites_of(family).get(DEFAULT)
    targets = suite.targets.model_dump(mode="json") if suite is not None else None
    if targets is not None and targets["tools_used"] is None:  # as before there was such a target
        del targets["tools_used"]
    beside = champion if suite is not None and suite.compares else None
    asked = {"targets": targets, "scorer": dict(family.metrics), "champion": beside}
    if family.metric_parameters:
        asked["parameters"] = dict(family.metric_parameters)
    if JUDGED in family.metrics:
        asked["judge"] = judge_identity(family)
    if suite is not None and suite.name == GOLDEN:
        asked["golden"] = golden_digest(suite.rows)
    return digest(canonical_json(asked))[:12]


def _regressions(
    limits: Regression,
    results: Sequence[ExampleResult],
    champion: Sequence[ExampleResult],
    class_of: Mapping[str, str],
    timing: Timing,
    groups: Groups,
) -> list[Check]:
    before = {r.example: r.score for r in champion}
    falls: dict[
        str, list[float | None]
    ] = {}  # by class; None: the Variant has no score where the champion has one, which is no fall of 0
    for result in results:
        earlier = before.get(result.example)
        if earlier is not None:
            fall = None if result.score is None else earlier - result.score
            falls.setdefault(class_of.get(result.example, ""), []).append(fall)
    every = [fall for of_class in falls.values() for fall in of_class]
    checks: list[Check] = []
    if limits.overall is not None:
        found, missing = _mean_fall(every, least=1) if champion else (None, NO_CHAMPION)
        checks.append(_check("regression", limits.overall, found, _at_most, "{:.3f} below the champion", missing))
    if limits.per_class is not None:
        for name in sorted({class_of[r.example] for r in results if r.example in class_of}):
            falls_of = falls.get(name, [])
            found, missing = _mean_fall(falls_of, least=groups.least) if champion else (None, NO_CHAMPION)
            place = f"{groups.word} {name}"
            shown = place.replace("{", "{{").replace("}", "}}") + ": {:.3f} below the champion"
            checks.append(
                _check(f"regression of {name}", limits.per_class, found, _at_most, shown, f"{place}: {missing}")
            )
    if limits.latency is not None:
        checks.append(_latency_check(limits.latency, timing, class_of, groups, NO_CHAMPION if not champion else ""))
    return checks


def _latency_check(limit: float, timing: Timing, class_of: Mapping[str, str], groups: Groups, missing: str) -> Check:
    """Missed or met on evidence; what the timed requests cannot tell is undecided."""
    above, n = timing.n_slower(limit)
    if missing or timing.slowdown is None or n < MIN_PAIRS:
        few = f"{n} requests were timed for both, {MIN_PAIRS} are needed" if n else "latency was not measured for both"
        return _check(LATENCY, limit, None, _at_most, "", missing or timing.why or few)
    is_slower = timing.is_slower(limit)
    where = _slowest(timing, class_of, groups) if is_slower is not False else ""
    found = f"latency {timing.slowdown:+.1%} against the champion's (median over the same {n} requests{where})"
    if is_slower is None:
        said = f"{LATENCY}: cannot tell, and blocks nothing: {found}, and {above} of {n} lie above {limit:.0%}"
    else:
        said = f"{LATENCY}: {found}, at most {limit:.0%} is asked"
    verdict: TargetVerdict = "undecided" if is_slower is None else "missed" if is_slower else "met"
    return Check(name=LATENCY, wanted=limit, found=timing.slowdown, verdict=verdict, said=said)


def _slowest(timing: Timing, class_of: Mapping[str, str], groups: Groups) -> str:
    """The class or scenario that is slowed down most; empty where there is none."""
    by_name: dict[str, list[TimedPair]] = {}
    for pair in timing.pairs:
        by_name.setdefault(class_of.get(pair.example, ""), []).append(pair)
    found = {name: slow for name, of in by_name.items() if name and (slow := Timing(pairs=of).slowdown) is not None}
    if not found:
        return ""
    name = max(found, key=lambda name: (found[name], name))
    return f"; slowest is {groups.word} {name}, {found[name]:+.1%}"


def _mean_fall(falls: Sequence[float | None], *, least: int) -> tuple[float | None, str]:
    """The mean, or None and why there is none."""
    known = [fall for fall in falls if fall is not None]
    if len(known) < len(falls):
        return None, f"{len(falls) - len(known)} of {len(falls)} examples that the champion has a score on have none"
    if len(known) < least:
        return None, f"{len(known)} examples were scored for both, {least} are needed"
    return sum(known) / len(known), ""


def _check(
    name: str,
    wanted: float,
    found: float | None,
    is_met: Callable[[float, float], bool],
    shown: str,
    missing: str,
) -> Check:
    if found is None:
        return Check(
            name=name, wanted=wanted, found=None, verdict="unmeasured", said=f"{name} could not be measured: {missing}"
        )
    verdict: TargetVerdict = "met" if is_met(found, wanted) else "missed"
    bound = "at least" if is_met is _at_least else "at most"
    return Check(
        name=name,
        wanted=wanted,
        found=found,
        verdict=verdict,
        said=f"{name}: {shown.format(found)}, {bound} {wanted:g} is asked",
    )


def _at_least(found: float, wanted: float) -> bool:
    return found >= wanted - 1e-12


def _at_most(found: float, wanted: float) -> bool:
    return found <= wanted + 1e-12


def _share(held: Sequence[bool]) -> float | None:
    return sum(held) / len(held) if held else None
