"""The one look at the sealed holdout: champion and winner on the same examples, tested, and judged by the four gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from optimizer.core.comparison import Comparison, compare_scores, not_worse_p, p95
from optimizer.core.dataset import Example
from optimizer.core.family import Family
from optimizer.core.gates import (
    IMPROVED,
    Evidence,
    GateResult,
    GateSettings,
    all_passed,
    as_record,
    confidence_of,
    evaluate_gates,
    quality_margin,
    unmeasured_gate,
)
from optimizer.core.objective import MIN_TIMED
from optimizer.core.saving import Saving, saving_of
from optimizer.core.study import ExampleResult
from optimizer.core.study_headline import CALLED
from optimizer.core.variant import Variant
from optimizer.jobs.build_dataset import open_holdout
from optimizer.jobs.evaluation import Measures
from optimizer.jobs.study_run import StopFlag, StudyRun


def confirm_winner(run: StudyRun, winner: Variant, *, stop: StopFlag) -> tuple[Literal["nominated", "not_confirmed"], dict[str, Any]]:
    """(outcome, confirmation as stored). Records the look, asks what the journal does not hold, tests and judges.

    The confirmation holds n, champion_mean, winner_mean, lift with interval, p, test, looks, confidence, wins, ties, losses,
    improvement, risk, margin, for aims cost and latency what is saved with its p, dollars per call and p95 of both, selection_lift (on dev, biased upwards), n_unscored, gates and a summary in words.
    """
    stop.check_cancelled()
    dataset = run.study.dataset or {}
    examples, looks = open_holdout(run.family, dataset, run.study.id, run.store, run.clock.now())
    evaluator = run.evaluator(purpose="confirmation", stop=stop)
    champion_results, winner_results = _evaluate(run, evaluator, (run.champion, winner), examples)
    run.n_from_journal += evaluator.n_from_journal
    before, after = _paired(champion_results, winner_results)
    if not before:
        return "not_confirmed", _nothing_scored(len(examples), looks)
    settings, seed = gate_settings(run.family), run.study.seed
    saving = saving_of(run.study.aim, champion_results, winner_results, seed)
    comparison, gates = _judge(before, after, saving, looks, settings, seed)
    lost = [b.score for b, c in zip(champion_results, winner_results, strict=True) if b.score is not None and c.score is None]
    if lost and all_passed(gates):
        _, worst = _judge([*before, *lost], [*after, *(0.0 for _ in lost)], saving, looks, settings, seed)
        gates = gates if all_passed(worst) else (*gates, unmeasured_gate(len(lost), worst))
    outcome: Literal["nominated", "not_confirmed"] = "nominated" if all_passed(gates) else "not_confirmed"
    margin = quality_margin(comparison.champion_mean, settings.margin)
    record = _record(comparison, gates, looks=looks, margin=margin, n_unscored=len(examples) - comparison.n)
    if saving is not None:
        quality_p = not_worse_p(before, after, margin=margin)
        record |= {
            "confidence": confidence_of(max(saving.p, quality_p), looks), "saving": saving.share, "saving_p": saving.p, "saving_n": saving.n,
            "saving_from": saving.champion, "saving_to": saving.winner, "quality_p": quality_p,
        }  # fmt: skip
    return outcome, {
        **record,
        **_figures("champion", champion_results),
        **_figures("winner", winner_results),
        "selection_lift": _selection_lift(run, winner),
        "summary": _summary(comparison, saving, gates, looks, confidence=record["confidence"]),
    }


def gate_settings(family: Family) -> GateSettings:
    """The family's gates, with its rollout's explicit margin."""
    gates = family.rollout.gates
    return GateSettings(
        improvement=gates.improvement, confidence=gates.confidence, max_risk=gates.max_risk, n=gates.n, margin=family.rollout.margin
    )


def _evaluate(run: StudyRun, evaluator: Measures, arms: tuple[Variant, Variant], examples: Sequence[Example]) -> list[list[ExampleResult]]:
    """Results of both in the order of the examples; each is written down also where the evaluation is interrupted.

    One variant after the other, so that the examples of each come in a row while a model's prefix cache is warm. Where latency is compared
    in turns, and each in front every other time: what is slow for a while is then slow for both.
    """
    with run.store.read() as tx:
        stored = [run.store.studies.results(tx, run.study.id, "confirmation", arm.id).get(arm.id, []) for arm in arms]
    known = {(arm.id, r.example): r for arm, rows in zip(arms, stored, strict=True) for r in rows}
    pairs = [(arm, example) for arm in arms for example in examples]
    if run.study.aim == "latency":
        pairs = [(arm, example) for i, example in enumerate(examples) for arm in (arms if i % 2 == 0 else arms[::-1])]
    new: dict[str, list[ExampleResult]] = {arm.id: [] for arm in arms}
    try:
        evaluator.measure_all(
            [(a, e) for a, e in pairs if (a.id, e.id) not in known],
            lambda variant, result: new[variant.id].append(result),
            in_turns=run.study.aim == "latency",
        )
    finally:
        for id, results in new.items():
            if results:
                _put(run, id, results)
    known |= {(id, r.example): r for id, results in new.items() for r in results}
    return [[known[arm.id, e.id] for e in examples] for arm in arms]


def _put(run: StudyRun, variant: str, results: Sequence[ExampleResult]) -> None:
    run.store.write(lambda tx: run.store.studies.put_results(tx, run.study.id, "confirmation", variant, results))


def _judge(
    before: Sequence[float], after: Sequence[float], saving: Saving | None, looks: int, settings: GateSettings, seed: int
) -> tuple[Comparison, tuple[GateResult, ...]]:
    comparison = compare_scores(before, after, seed=seed)
    quality, drops = comparison.champion_mean, [c - b for b, c in zip(before, after, strict=True)]
    if saving is None:
        evidence = Evidence(
            champion=quality, candidate=comparison.candidate_mean, champion_quality=quality, p=comparison.p, looks=looks, drops=drops
        )
        return comparison, evaluate_gates(evidence, settings)
    if saving.champion is None or saving.winner is None:
        return comparison, (saving.unmeasured,)
    evidence = Evidence(
        aim=saving.aim, champion=saving.champion, candidate=saving.winner, champion_quality=quality, p=saving.p, n_aim=saving.n, looks=looks,
        drops=drops,
        p_quality=not_worse_p(before, after, margin=quality_margin(quality, settings.margin)),
    )  # fmt: skip
    return comparison, evaluate_gates(evidence, settings)


def _paired(champion: Sequence[ExampleResult], winner: Sequence[ExampleResult]) -> tuple[list[float], list[float]]:
    """Scores of the examples on which both were measured; a missing score is not a 0."""
    pairs = [(b.score, c.score) for b, c in zip(champion, winner, strict=True)]
    both = [(b, c) for b, c in pairs if b is not None and c is not None]
    return [b for b, _ in both], [c for _, c in both]


def _figures(arm: str, results: Sequence[ExampleResult]) -> dict[str, Any]:
    """Dollars per call and p95 of the fresh calls, which a rollout's guardrails allow for; None where nothing was measured."""
    fresh = [r.latency_ms for r in results if r.latency_ms is not None]
    mean = sum(r.cost_usd for r in results) / len(results) if results else None
    return {f"{arm}_cost_usd": mean, f"{arm}_p95_ms": p95(fresh) if len(fresh) >= MIN_TIMED else None}


def _selection_lift(run: StudyRun, winner: Variant) -> float | None:
    """The winner's lead on dev, where it was chosen for being best."""
    with run.store.read() as tx:
        results = run.store.studies.results(tx, run.study.id, "search")
    champion = {r.example: r.score for r in results.get(run.champion.id, [])}
    pairs = [(champion.get(r.example), r.score) for r in results.get(winner.id, [])]
    leads = [c - b for b, c in pairs if b is not None and c is not None]
    return sum(leads) / len(leads) if leads else None


def _record(comparison: Comparison, gates: Sequence[GateResult], *, looks: int, margin: float, n_unscored: int) -> dict[str, Any]:
    values = {g.name: g.value for g in gates}
    return {
        "n": comparison.n,
        "n_unscored": n_unscored,
        "champion_mean": comparison.champion_mean,
        "winner_mean": comparison.candidate_mean,
        "lift": comparison.lift,
        "lift_low": comparison.interval.lower,
        "lift_high": comparison.interval.upper,
        "p": comparison.p,
        "test": comparison.test,
        "looks": looks,
        "confidence": confidence_of(comparison.p, looks),
        "improvement": values.get("improvement"),
        "risk": values.get("risk"),
        "margin": margin,
        "wins": comparison.wins,
        "ties": comparison.ties,
        "losses": comparison.losses,
        "gates": [as_record(g) for g in gates],
    }


def _summary(comparison: Comparison, saving: Saving | None, gates: Sequence[GateResult], looks: int, *, confidence: float) -> str:
    low, high = comparison.interval.lower, comparison.interval.upper
    figures = (
        f"{comparison.champion_mean:.3f} to {comparison.candidate_mean:.3f} on {comparison.n} holdout examples "
        f"(lift {comparison.lift:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, p {comparison.p:.3g}, look {looks})"
    )
    if saving is not None:
        figures = f"{saving.text}; score {figures}"
    failed = [g.reason for g in gates if g.verdict.value != "pass"]
    if failed:
        return f"Not confirmed: {figures}. Not met: {'; '.join(failed)}."
    called = CALLED["quality" if saving is None else saving.aim]
    word = called.capitalize() if confidence >= IMPROVED else f"Nominated, not yet called {called}"
    return f"{word}: {figures}."


def _nothing_scored(n: int, looks: int) -> dict[str, Any]:
    reason = "the holdout is empty" if n == 0 else f"on none of the {n} holdout examples both variants could be scored"
    gate = {"name": "n", "verdict": "fail", "value": 0, "required": 1, "reason": reason}
    return {"n": 0, "n_unscored": n, "looks": looks, "gates": [gate], "summary": f"Not confirmed: {reason}."}
