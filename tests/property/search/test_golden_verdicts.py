"""Whatever is scored: a candidate passes its golden scenarios exactly where it lost no more than is allowed."""

from __future__ import annotations

from math import log

from hypothesis import given, strategies as st
from scipy.stats import ttest_1samp

from optimizer.core.base.values import ExampleResult
from optimizer.core.evaluation.suite import GOLDEN_TARGETS, SCENARIOS, check_suite
from optimizer.core.evaluation.timing import IN_A_ROW, TimedPair, Timing, turns

scores = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
rows = st.lists(st.tuples(st.sampled_from("abc"), scores, scores), min_size=1, max_size=40)
latencies = st.lists(st.tuples(st.floats(1, 1e4), st.floats(1, 1e4)), min_size=1, max_size=60)


def results(found: list[float]) -> list[ExampleResult]:
    return [ExampleResult(example=str(i), score=score, output="x") for i, score in enumerate(found)]


@given(rows, latencies)
def test_a_check_is_missed_exactly_where_too_much_was_lost(found, pairs):
    checks = {
        check.name: check.verdict
        for check in check_suite(
            GOLDEN_TARGETS,
            results([mine for _, mine, _ in found]),
            champion=results([theirs for _, _, theirs in found]),
            class_of={str(i): name for i, (name, _, _) in enumerate(found)},
            timing=Timing(mine=[a for a, _ in pairs], pairs=[TimedPair("0", a, b) for a, b in pairs]),
            groups=SCENARIOS,
        )
    }

    def lost(of: list[tuple[str, float, float]]) -> float:
        return sum(theirs - mine for _, mine, theirs in of) / len(of)

    wanted = {"regression": lost(found) <= 0.05 + 1e-9}
    for name in {name for name, _, _ in found}:
        wanted[f"regression of {name}"] = lost([row for row in found if row[0] == name]) <= 0.10 + 1e-9
    assert checks.pop("regression of latency") == by_t_test(pairs)
    assert checks == {name: "met" if is_met else "missed" for name, is_met in wanted.items()}


def by_t_test(pairs: list[tuple[float, float]]) -> str:
    """The verdict by SciPy's t test of the log ratios of one row, at its share of .025 for each look."""
    logs = [log(mine / theirs) for mine, theirs in pairs]
    if len(logs) < 2:
        return "unmeasured"
    if max(logs) == min(logs):
        return "missed" if logs[0] > log(1.2) else "met"
    bounds = ttest_1samp(logs, 0.0).confidence_interval(1 - 2 * 0.025 / 2 / 3)
    if bounds.low > log(1.2):
        return "missed"
    return "met" if bounds.high <= log(1.2) else "undecided"


@given(st.lists(st.integers(), min_size=1, max_size=50, unique=True), st.integers(1, 60))
def test_turns_ask_every_row_about_equally_often(some: list[int], n: int) -> None:
    blocks = turns(some, n)
    asked = [row for block in blocks for row in block]
    assert len(asked) == n
    assert all(len(block) <= IN_A_ROW for block in blocks)
    counts = [asked.count(row) for row in some]
    assert max(counts) - min(counts) <= 1
    first, second = (sum(len(block) for block in blocks[start::2]) for start in (0, 1))
    assert first - second in (0, 1), "whichever begins every second block has no advantage"
