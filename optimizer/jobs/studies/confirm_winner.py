"""The one look at the sealed holdout: champion and winner on the same examples, tested, and judged by the gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from optimizer.core.base.errors import BudgetExhausted, ModelFailed, StudyStopped
from optimizer.core.base.phrasing import signed, signed_interval
from optimizer.core.base.values import ExampleResult, mean_score, p95_ms
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.comparison import TIE, Comparison, compare_scores
from optimizer.core.evaluation.gates import (
    IMPROVED,
    ConfirmationEvidence,
    GateResult,
    GateSettings,
    GateVerdict,
    WishedFloor,
    all_passed,
    as_record,
    confidence_of,
    evaluate_gates,
    quality_level,
    quality_margin,
    unmeasured_gate,
)
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.evaluation.judging.report import judged_scores
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import HeldBack
from optimizer.core.policy.nearest import fixed_rendering
from optimizer.core.search.answer_bounds import all_priced, judge_of_metrics
from optimizer.core.search.move import HEADINGS, MoveRecord, beside_in_words, verdict_of
from optimizer.core.search.objective import Saving, saving_of
from optimizer.core.search.run_off import RUN_OFF, in_words, with_sequence
from optimizer.core.search.study import FixedRecord, SequenceStep
from optimizer.core.statistics.noninferiority import NotLower, largest_loss, not_lower
from optimizer.core.views.study_headline import CALLED
from optimizer.jobs.dataset.build_dataset import open_holdout
from optimizer.jobs.families.vouch_for_judge import judge_gates, latest_calibration
from optimizer.jobs.studies.context import StopFlag, StudyRun
from optimizer.jobs.studies.evaluation import Measures
from optimizer.jobs.studies.kinds.kind import study_kind
from optimizer.ports import SealedHoldout

_Known = dict[tuple[str, str], ExampleResult]  # (variant, example) -> its result


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationResult:
    """``winner``: of several variants the boldest that passed, else the first."""

    winner: str
    outcome: Literal["nominated", "not_confirmed"]
    record: dict[str, Any]  # the confirmation as stored


@dataclass(frozen=True, slots=True, kw_only=True)
class _VariantComparison:
    """One variant beside the champion: scores and groups where both have one, and the champion's where only it has.

    ``groups``: of every example, by its id.
    """

    variant: str
    champion: Sequence[ExampleResult]
    results: Sequence[ExampleResult]
    pairs: Sequence[tuple[float, float, str]]  # score of champion and variant, group
    lost: Sequence[tuple[float, float, str]]
    n: int  # examples opened
    groups: Mapping[str, str]
    wished: Sequence[WishedFloor]

    def scores(self, *, with_lost: bool = False) -> tuple[list[float], list[float], list[str]]:
        rows = [*self.pairs, *(self.lost if with_lost else ())]
        return [b for b, _, _ in rows], [c for _, c, _ in rows], [group for _, _, group in rows]


def confirm_winner(
    run: StudyRun, variants: Sequence[Variant], *, holdout: SealedHoldout, stop: StopFlag
) -> ConfirmationResult:
    """Records the look, asks what the journal does not hold, tests and judges.

    The confirmation holds n, champion_mean, winner_mean, lift with interval, p, test, looks, confidence, wins, ties,
    losses, improvement, risk, margin, selection_lift (on dev, biased upwards), n_unscored, gates and a summary.
    A winner of nearest examples also has "fixed": what its fixed ones reach.
    It also holds dollars per call and p95 of both, and the identity of the judge where one scored them. For aims cost
    and latency it holds what is saved with its p, and the test of quality with its bound, which it holds of a move to
    another model, too, with the verdict. Where something was wished of
    a content pipeline, "wished" has its floors with their tests.

    Args:
        variants: one; or several in a sequence frozen before this look. Then "quality is lower by the margin or more"
            is tested in that order, each at the whole level; the first that fails ends it, and the last that passed is
            judged by the other gates. A bad variant is accepted only if the first bad one passes its own test, so the
            level needs no correction (Maurer, Hothorn, Lehmacher 1995).
    Raises:
        ModelFailed: calls failed so that nothing could be compared. That decides nothing, and the study can go on.
    """
    stop.check_cancelled()
    examples, looks = open_holdout(
        run.family, run.study.dataset or {}, run.study.id, run.store, holdout, run.clock.now()
    )
    evaluator = study_kind(run.family).evaluator(run, purpose="confirmation", stop=stop, held=HeldBack)
    settings, steps, known = _settings(run), list[SequenceStep](), _known(run)
    best: _VariantComparison | None = None
    try:
        for variant in variants:
            compared = _compare(run, evaluator, variant, examples, known, looks)
            passed = False
            if len(variants) > 1 and compared.pairs:
                # Examples that only the champion could answer count as lost: leaving them out would hide failures.
                before, after, groups = compared.scores(with_lost=True)
                test = _not_lower(before, after, groups, settings, looks)
                steps.append(
                    SequenceStep(
                        variant=compared.variant,
                        p=test["p"],
                        lift=(sum(after) - sum(before)) / len(before),
                        passed=confidence_of(test["p"], looks) >= settings.confidence - TIE,
                    )
                )
                passed = steps[-1]["passed"]
            if best is None or passed:
                best = compared
            if not passed:
                break
    except BudgetExhausted:
        if best is None:
            raise  # otherwise the sequence ends here, which costs no test any confidence
    finally:
        run.n_from_journal += len(evaluator.counts.found)
    assert best is not None
    if not examples:
        reason = "the holdout is empty"
        gate = {"name": "n", "verdict": "fail", "value": 0, "required": 1, "reason": reason}
        empty = {"n": 0, "n_unscored": 0, "looks": looks, "gates": [gate], "summary": f"Not confirmed: {reason}."}
        return ConfirmationResult(winner=best.variant, outcome="not_confirmed", record=empty)
    if not best.pairs:
        silent = best.results if mean_score(best.champion) is not None else best.champion
        raise ModelFailed(
            f"On none of the {len(examples)} holdout examples champion and {best.variant} could both be scored, so"
            f" nothing is decided. First failure: {next((r.error for r in silent if r.error), 'none was kept')}",
            kind="unreachable",
        )
    winner = next(variant for variant in variants if variant.id == best.variant)
    result = _confirmed(run, best, winner, steps, settings, looks)
    fixed = fixed_rendering(winner)
    if fixed is None:
        return result
    scored = _score_fixed(run, evaluator, fixed, best, examples)
    summary = f"{result.record['summary']} {_fixed_in_words(scored)}"
    return replace(result, record={**result.record, "fixed": scored, "summary": summary})


def _score_fixed(
    run: StudyRun, evaluator: Measures, fixed: Variant, best: _VariantComparison, examples: Sequence[Example]
) -> FixedRecord:
    """With the calls that are left. It decides nothing, so a cap or a person may end it."""
    results = list(best.champion) if fixed.id == run.champion.id else []
    if not results:
        n_from_journal = len(evaluator.counts.found)
        with suppress(BudgetExhausted, StudyStopped):
            evaluator.measure_all([(fixed, one) for one in examples], lambda _, result: results.append(result))
        run.n_from_journal += len(evaluator.counts.found) - n_from_journal
    scores = {result.example: result.score for result in best.champion}
    pairs = [
        (before, result.score)
        for result in results
        if result.score is not None and (before := scores[result.example]) is not None
    ]
    n = len(pairs)
    return FixedRecord(
        variant=fixed.id,
        n=n,
        mean=sum(after for _, after in pairs) / n if n else None,
        lift=sum(after - before for before, after in pairs) / n if n else None,
    )


def _fixed_in_words(fixed: FixedRecord) -> str:
    mean, lift = fixed["mean"], fixed["lift"]
    if mean is None or lift is None:
        return "Its fixed examples, for who cannot look up the nearest ones, were not scored: no call was left."
    return (
        f"Its fixed examples, for who cannot look up the nearest ones, reach {mean:.3f} on {fixed['n']} of them (lift"
        f" {signed(lift)})."
    )


def _compare(
    run: StudyRun, evaluator: Measures, variant: Variant, examples: Sequence[Example], known: _Known, looks: int
) -> _VariantComparison:
    champion, results = _evaluate(run, evaluator, (run.champion, variant), examples, known)
    settings = _settings(run)
    rows = [
        (b.score, c.score, e.group) for b, c, e in zip(champion, results, examples, strict=True) if b.score is not None
    ]
    return _VariantComparison(
        variant=variant.id,
        champion=champion,
        results=results,
        n=len(examples),
        groups={e.id: e.group for e in examples},
        pairs=[(b, c, group) for b, c, group in rows if c is not None],
        lost=[(b, 0.0, group) for b, c, group in rows if c is None],
        wished=study_kind(run.family).wished_floors(run.study, champion, results, examples, settings, looks),
    )


def _not_lower(
    before: Sequence[float], after: Sequence[float], groups: Sequence[str], settings: GateSettings, looks: int
) -> NotLower:
    margin = quality_margin(sum(before) / len(before), settings.margin)
    return not_lower(before, after, margin=margin, level=quality_level(settings, looks), groups=groups)


def _confirmed(
    run: StudyRun,
    best: _VariantComparison,
    winner: Variant,
    steps: Sequence[SequenceStep],
    settings: GateSettings,
    looks: int,
) -> ConfirmationResult:
    saving = saving_of(
        run.study.aim,
        best.champion,
        best.results,
        run.study.seed,
        is_replayed=run.is_replayed,
        groups=best.groups,
    )

    def judged_on(*, with_lost: bool) -> tuple[Comparison, NotLower | None, tuple[GateResult, ...]]:
        before, after, groups = best.scores(with_lost=with_lost)
        comparison = compare_scores(before, after, seed=run.study.seed, groups=groups)
        is_kept = saving is not None or run.study.move_to is not None  # quality, which else has to improve
        quality = with_sequence(_not_lower(before, after, groups, settings, looks), steps) if is_kept else None
        drops = [c - b for b, c in zip(before, after, strict=True)]
        return comparison, quality, _gates(comparison, drops, saving, quality, best.wished, settings, looks)

    comparison, quality, gates = judged_on(with_lost=False)
    if best.lost and all_passed(gates):
        # One more, not met, where they would not be if all that the winner left unanswered were lost.
        *_, worst = judged_on(with_lost=True)
        gates = gates if all_passed(worst) else (*gates, unmeasured_gate(len(best.lost), worst))
    judged = judge_gates(run.family, run.store)
    vouched = all(gate["verdict"] == "pass" for gate in judged)
    outcome: Literal["nominated", "not_confirmed"] = "nominated" if all_passed(gates) and vouched else "not_confirmed"
    record = _record(
        comparison,
        [*map(as_record, gates), *judged],
        looks=looks,
        margin=quality_margin(comparison.champion_mean, settings.margin),
        n_unscored=best.n - comparison.n,
    )
    if quality is not None:
        record |= _of_quality(best, quality, settings, looks)
    if saving is not None and quality is not None:
        record |= {
            "confidence": confidence_of(max(saving.p, quality["p"]), looks),
            "saving": saving.share,
            "saving_p": saving.p,
            "saving_n": saving.n,
            "saving_from": saving.champion,
            "saving_to": saving.winner,
        }
    for arm, variant, results in (("champion", run.champion, best.champion), ("winner", winner, best.results)):
        record |= _figures(arm, results, is_priced=all_priced(run.family, [variant], run.models.price))
    if run.study.move_to is not None:
        record["move"] = _move(run, best, gates, settings, looks, is_confirmed=outcome == "nominated")
    if best.wished:
        ps = [comparison.p if saving is None else saving.p]
        ps += [
            1.0 if (test := floor["test"]) is None else test["p"] for floor in best.wished if floor["name"] == "quality"
        ]
        record |= {"confidence": confidence_of(max(ps), looks), "wished": best.wished}
    if judge_of_metrics(run.family) is not None:
        record["judge"] = judge_identity(run.family)
        scored = {f"the champion {run.study.champion}": best.champion, f"the winner {best.variant}": best.results}
        record["judged"] = judged_scores(record["judge"], latest_calibration(run.family, run.store), scored)
    if steps:
        record["sequence"] = steps
    return ConfirmationResult(
        winner=best.variant,
        outcome=outcome,
        record={
            **record,
            "selection_lift": _lead_on_dev(run, best.variant),
            "summary": _summary(comparison, saving, looks, record, steps, best.wished),
        },
    )


def _lead_on_dev(run: StudyRun, winner: str) -> float | None:
    """Where it was chosen for being best."""
    with run.store.read() as tx:
        both = [run.store.studies.results(tx, run.study.id, purpose) for purpose in ("search", RUN_OFF)]
    champion = {r.example: r.score for results in both for r in results.get(run.champion.id, [])}
    pairs = [(champion.get(r.example), r.score) for results in both for r in results.get(winner, [])]
    leads = [c - b for b, c in pairs if b is not None and c is not None]
    return sum(leads) / len(leads) if leads else None


def _of_quality(best: _VariantComparison, test: NotLower, settings: GateSettings, looks: int) -> dict[str, Any]:
    """What a confirmation keeps of the test that quality is kept."""
    before, after, groups = best.scores()
    level = quality_level(settings, looks)
    return {
        "confidence": confidence_of(test["p"], looks),
        "quality_p": test["p"],
        "quality_test": test["test"],
        "quality_n": test["n"],
        "quality_level": level,
        "loss_at_most": largest_loss(before, after, level=level, groups=groups),
    }


def _move(
    run: StudyRun,
    best: _VariantComparison,
    gates: Sequence[GateResult],
    settings: GateSettings,
    looks: int,
    *,
    is_confirmed: bool,
) -> MoveRecord:
    before, after, groups = best.scores()
    # one-sided against "the score is not lower"
    lower = compare_scores(after, before, seed=run.study.seed, groups=groups)
    return MoveRecord(
        from_model=str(run.champion.model["name"]),
        to_model=str(run.study.move_to),
        verdict=verdict_of(
            is_confirmed=is_confirmed,
            is_lower=confidence_of(lower.p, looks) >= settings.confidence - TIE,
            is_risky=any(gate.name == "risk" and gate.verdict is GateVerdict.FAIL for gate in gates),
        ),
    )


def _settings(run: StudyRun) -> GateSettings:
    """The family's gates, with its rollout's explicit margin. What people are told is safe needs the confidence of what
    may be called improved: a model that is gone cannot be gone back to.
    """
    gates, is_move = run.family.rollout.gates, run.study.move_to is not None
    return GateSettings(
        improvement=gates.improvement,
        confidence=max(gates.confidence, IMPROVED) if is_move else gates.confidence,
        max_risk=gates.max_risk,
        n=gates.n,
        margin=run.family.rollout.margin,
    )


def _known(run: StudyRun) -> _Known:
    """What an earlier run scored. What failed is asked again, once, while the journal has what was answered."""
    with run.store.read() as tx:
        stored = run.store.studies.results(tx, run.study.id, "confirmation")
    return {(variant, r.example): r for variant, rows in stored.items() for r in rows if r.score is not None}


def _evaluate(
    run: StudyRun, evaluator: Measures, arms: tuple[Variant, Variant], examples: Sequence[Example], known: _Known
) -> list[list[ExampleResult]]:
    """Results of both in the order of the examples; each is written down also where the evaluation is interrupted.

    One variant after the other, so that the examples of each come in a row while a model's prefix cache is warm. Where
    latency is compared in turns, and each in front every other time: what is slow for a while is then slow for both.

    Args:
        known: is not asked; the new results are added.
    """
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
        put = partial(run.store.studies.put_results, study=run.study.id, purpose="confirmation")
        for id, results in new.items():
            if results:
                run.store.write(partial(put, variant=id, results=results))
    known |= {(id, r.example): r for id, results in new.items() for r in results}
    return [[known[arm.id, e.id] for e in examples] for arm in arms]


def _gates(
    comparison: Comparison,
    drops: Sequence[float],
    saving: Saving | None,
    quality: NotLower | None,
    wished: Sequence[WishedFloor],
    settings: GateSettings,
    looks: int,
) -> tuple[GateResult, ...]:
    """``drops``: of each example the winner's score less the champion's."""
    mean = comparison.champion_mean
    if saving is None:
        evidence = ConfirmationEvidence(
            champion=mean,
            candidate=comparison.candidate_mean,
            champion_quality=mean,
            p=comparison.p,
            looks=looks,
            drops=drops,
            not_lower=quality,
            wished=wished,
            is_move=quality is not None,
        )
        return evaluate_gates(evidence, settings)
    if saving.champion is None or saving.winner is None:
        return (saving.unmeasured,)
    evidence = ConfirmationEvidence(
        aim=saving.aim,
        champion=saving.champion,
        candidate=saving.winner,
        champion_quality=mean,
        p=saving.p,
        n_aim=saving.n,
        looks=looks,
        drops=drops,
        not_lower=quality,
        wished=wished,
    )
    return evaluate_gates(evidence, settings)


def _figures(arm: str, results: Sequence[ExampleResult], *, is_priced: bool) -> dict[str, Any]:
    """Dollars per call and p95 of the fresh calls; a rollout's guardrails allow for them. None where not measured."""
    mean = sum(r.cost_usd for r in results) / len(results) if results and is_priced else None
    return {f"{arm}_cost_usd": mean, f"{arm}_p95_ms": p95_ms(results)}


def _record(
    comparison: Comparison, gates: Sequence[Mapping[str, Any]], *, looks: int, margin: float, n_unscored: int
) -> dict[str, Any]:
    values = {g["name"]: g["value"] for g in gates}
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
        "gates": [dict(g) for g in gates],
    }


def _summary(
    comparison: Comparison,
    saving: Saving | None,
    looks: int,
    record: Mapping[str, Any],
    steps: Sequence[SequenceStep],
    wished: Sequence[WishedFloor],
) -> str:
    low, high = comparison.interval.lower, comparison.interval.upper
    figures = (
        f"{comparison.champion_mean:.3f} to {comparison.candidate_mean:.3f} on {comparison.n} holdout examples "
        f"(lift {signed(comparison.lift)}, 95 % interval {signed_interval(low, high)}, p {comparison.p:.3g},"
        f" look {looks})"
    )
    move = record.get("move")
    if saving is not None or move is not None:
        beside = saving.text if saving is not None else beside_in_words(record)
        figures = f"{beside}; score {figures}"
        if not wished:
            level, most = record["quality_level"], record["loss_at_most"]
            figures += f"; with {1 - level:.1%} confidence less than {most:.3f} is lost"
    for floor in wished:
        measured = "not known" if floor["measured"] is None else f"{floor['measured']:.3f}"
        figures += f"; {floor['what']} {measured}, {floor['floor']:.3f} is the floor"
    remark = f" {in_words(steps)}" if steps else ""
    remark += f" {record['judged']['said']}" if "judged" in record else ""
    failed = [g["reason"] for g in record["gates"] if g["verdict"] != "pass"]
    if move is not None:
        verdict = f"{HEADINGS[move['verdict']]} from {move['from_model']} to {move['to_model']}"
        missed = f" Not met: {'; '.join(failed)}." if failed else ""
        return f"{verdict}: {figures}, and the margin is {record['margin']:.3f}.{missed}{remark}"
    if failed:
        return f"Not confirmed: {figures}. Not met: {'; '.join(failed)}.{remark}"
    called = CALLED["quality" if saving is None else saving.aim]
    word = called.capitalize() if record["confidence"] >= IMPROVED else f"Nominated, not yet called {called}"
    return f"{word}: {figures}.{remark}"
