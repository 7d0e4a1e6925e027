"""Rules of alerts: told soon where chance does not explain it, not of a few events, once, and not of what is over."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from optimizer.core.base.minute_sums import MinuteSums
from optimizer.core.rollout.alert_rules import (
    AlertRule,
    MinuteTally,
    RuleFinding,
    events_to_tell,
    finding_text,
    inner_limit,
    limit_of,
    look,
    tail,
    tail_by_scatter,
    tallies,
    usual_of,
)
from tests.cases import named
from tests.stores import FAMILY, minutes

ERRORS: dict[str, Any] = {"name": "errors", "metric": "errors", "above": 0.03}


def rule(**changes: Any) -> AlertRule:
    return AlertRule.model_validate({**ERRORS, **changes})


def requests(at: float, n: int, failed: int = 0, latency_ms: float = 200.0, cost_usd: float = 0.001) -> MinuteSums:
    row = MinuteSums(family=FAMILY, minute=minutes(at), variant="v_1", model="m")
    for i in range(n):
        row.add_interaction(failed=i < failed, latency_ms=latency_ms, cost_usd=cost_usd)
    return row


def outcomes(at: float, n: int, good: int = 0, score: float | None = None, source: str = "user") -> MinuteSums:
    row = MinuteSums(family=FAMILY, minute=minutes(at), variant="v_1", model="m", source=source)
    for i in range(n):
        row.add_outcome(success=None if score is not None else i < good, score=score)
    return row


def found(
    one: AlertRule,
    rows: Sequence[MinuteSums],
    *,
    until: float = 60,
    limit: float | None = None,
    since: float | None = None,
) -> RuleFinding | None:
    allowed = limit_of(one, None) if limit is None else limit
    assert allowed is not None
    open_since = minutes(since) if since is not None else None
    inside = tallies(one, rows, inner_limit(one, allowed))
    return look(one, tallies(one, rows, allowed), minutes(until), allowed, open_since=open_since, inside=inside)


class TestTelling:
    def test_half_of_the_requests_of_one_minute_failing_is_told_with_its_figures(self) -> None:
        one = rule()
        finding = found(one, [requests(59, 60, failed=30), *(requests(at, 60) for at in range(30, 59))])
        assert finding == RuleFinding(value=0.5, n=60, limit=0.03, minutes=1)
        text = finding_text(one, finding, 0.01)
        assert text == "50.0% of 60 requests failed, in the last 1 minute; the limit is 3.0%"

    def test_few_events_alarm_nobody_whatever_they_were(self) -> None:
        assert found(rule(), [requests(59, 3, failed=3)]) is None
        assert found(rule(), [requests(59, 20, failed=3)]) is None

    def test_at_little_traffic_longer_windows_tell(self) -> None:
        finding = found(rule(), [requests(at, 5, failed=1) for at in range(20, 60)])
        assert finding.minutes > 5

    def test_a_window_that_the_rule_does_not_look_at_tells_nothing(self) -> None:
        rows = [requests(at, 5, failed=1) for at in range(20, 60)]
        assert found(rule(window="5m"), rows) is None

    def test_what_is_over_is_not_told_again_while_a_long_window_still_holds_it(self) -> None:
        rows = [*(requests(at, 60, failed=30) for at in range(20, 40)), *(requests(at, 60) for at in range(40, 60))]
        assert found(rule(), rows) is None
        assert found(rule(), rows, until=41) is not None

    def test_for_asks_for_it_at_each_of_its_minutes(self) -> None:
        rows = [requests(at, 200, failed=40) for at in range(55, 60)]
        assert found(rule(**{"for": "4m", "window": "1m"}), rows) is not None
        assert found(rule(**{"for": "5m", "window": "1m"}), rows) is None

    @named(
        ("changes", "rows"),
        {
            "success": ({"metric": "success", "below": 0.9}, [outcomes(59, 100, good=70)]),
            "quality": ({"metric": "quality", "below": 0.95}, [outcomes(59, 100, score=0.6)]),
            "latency": ({"metric": "latency_p95", "above": 1000}, [requests(59, 100, latency_ms=3000)]),
            "cost": ({"metric": "cost", "above": 0.01}, [requests(59, 100, cost_usd=0.5)]),
            "feedback": ({"metric": "feedback", "below": 0.2}, [requests(59, 200), outcomes(59, 2)]),
            "low score": ({"metric": "low_scores", "above": 0, "min_n": 1}, [outcomes(59, 1, score=0.7)]),
        },
    )
    def test_each_figure_is_told_of_by_its_own_rows(self, changes: dict[str, Any], rows: list[MinuteSums]) -> None:
        one = rule(**{"above": None, **changes})
        assert found(one, rows) is not None
        assert found(one, [requests(59, 200), outcomes(59, 100, good=99), outcomes(59, 99, score=0.99)]) is None

    def test_answers_that_were_asked_for_again_and_tools_left_unused_are_counted_of_what_policies_answered(self):
        row = MinuteSums(family=FAMILY, minute=minutes(59))
        for i in range(100):
            parts = [{"purpose": "answer", "issues": ["tool_results_ignored"] if i < 40 else []}]
            again = [{"purpose": ("gate", "retry", "refine")[i % 3]}] if i < 50 else []
            row.add_interaction(failed=False, latency_ms=None, cost_usd=None, parts=[*parts, *again])
        for _ in range(1000):
            row.add_interaction(failed=False, latency_ms=None, cost_usd=None)
        retried, ignored = rule(metric="retries", above=0.1), rule(metric="tools_ignored", above=0.05)
        assert [(f.value, f.n) for f in (found(retried, [row]), found(ignored, [row])) if f] == [(0.5, 100), (0.4, 100)]


class TestClearing:
    def test_what_is_open_has_to_be_well_inside_its_limit_for_fifteen_minutes(self) -> None:
        bad, well = requests(44, 60, failed=30), [requests(at, 60) for at in range(46, 60)]
        assert found(rule(), [requests(45, 60, failed=30), *well], since=40) is not None
        assert found(rule(), [bad, *well], since=40) is None

    def test_good_minutes_before_it_was_raised_do_not_clear_it(self) -> None:
        rows = [requests(59, 60, failed=30), *(requests(at, 600) for at in range(30, 59))]
        assert found(rule(), rows) is not None
        later = [requests(60, 60), requests(61, 60), *rows]
        assert found(rule(), later, until=62) is None
        assert found(rule(), later, until=62, since=60) is not None

    def test_near_the_limit_nothing_is_raised_and_nothing_cleared(self) -> None:
        rows = [requests(at, 100, failed=3) for at in range(40, 60)]
        assert found(rule(), rows) is None
        assert found(rule(), rows, since=40) is not None
        assert found(rule(clear=0.03), rows, since=40) is None

    @pytest.mark.parametrize(("clear", "is_open"), [(1000, True), (None, True), (2900, False)])
    def test_a_slow_family_has_to_be_quicker_than_the_limit_by_what_its_rule_says(self, clear: Any, is_open: bool):
        slow = rule(metric="latency_p95", above=3000, clear=clear)
        rows = [requests(at, 50, latency_ms=2500) for at in range(30, 60)]
        assert found(slow, rows) is None
        finding = found(slow, rows, since=30)
        assert (finding is not None) == is_open
        assert finding is None or finding_text(slow, finding, None).startswith("100.0% of 750 requests took longer")

    def test_too_few_events_leave_it_open_and_none_in_an_hour_end_it(self) -> None:
        few = found(rule(), [requests(50, 3)], since=40)
        assert few is not None
        assert "too few to tell" in finding_text(rule(), few, None)
        assert found(rule(), [], since=40) is None


class TestUsual:
    def test_the_laxer_of_both_limits_holds(self) -> None:
        both = rule(times=3, against="earlier_weeks")
        assert limit_of(both, 0.001) == 0.03
        assert limit_of(both, 0.2) == pytest.approx(0.6)
        assert limit_of(both, 0.4) == pytest.approx(0.8), "three times fewer good ones: 1.2 would never be passed"
        lower = rule(metric="success", above=None, below=0.9, times=0.9, against="earlier_weeks")
        assert limit_of(lower, 0.5) == pytest.approx(0.45)

    def test_a_limit_that_nobody_knows_yet_is_none(self) -> None:
        assert limit_of(rule(above=None, times=3, against="earlier_weeks"), None) is None

    def test_fewer_than_two_hundred_events_are_not_what_is_usual(self) -> None:
        assert usual_of(rule(), [requests(1, 199)]) is None
        usual = usual_of(rule(), [requests(1, 200)])
        assert usual == pytest.approx(0.0133, abs=1e-3), "none in 200 is not none for ever"

    def test_the_usual_p95_and_mean_are_those_of_the_rows(self) -> None:
        rows = [requests(1, 190), requests(2, 10, latency_ms=5000, cost_usd=0.1)]
        p95 = usual_of(rule(metric="latency_p95"), rows)
        cost = usual_of(rule(metric="cost"), rows)
        assert p95 == pytest.approx(200, rel=0.06)
        assert cost == pytest.approx((190 * 0.001 + 10 * 0.1) / 200)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"below": 0.5}, "say `above`", id="the wrong side"),
        pytest.param({"above": None}, "no limit", id="no limit"),
        pytest.param({"times": 2}, "belong together", id="times of nothing"),
        pytest.param({"above": 3.0}, "is a share", id="no share"),
        pytest.param({"times": 0.5, "against": "earlier_weeks"}, "must be at least 1", id="times of the wrong side"),
        pytest.param({"metric": "disk", "above": 90}, "is a share", id="percents of a disk"),
        pytest.param({"metric": "budget", "above": 80}, "at most 10", id="percents of a budget"),
        pytest.param({"metric": "disk", "for": "10m"}, "`for` says nothing", id="a while of a disk"),
        pytest.param({"source": "user"}, "is of no outcome", id="a source of requests"),
        pytest.param({"clear": 0.5}, "must not lie beyond", id="clears beyond its limit"),
        *(
            pytest.param({"metric": "feedback", "above": None, "below": 0.3, "source": source}, "user and system")
            for source in ("person", "judge")
        ),
        pytest.param({"metric": "disk", "scope": "model"}, "no earlier weeks", id="a disk of a model"),
        pytest.param({"scope": "model", "action": "hold"}, "holds the rollout of a family", id="no rollout to hold"),
        pytest.param({"window": "5"}, "a time such as 5m", id="no unit"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_with_the_reason(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        rule(**changes)


@given(n=st.integers(1, 60), k=st.integers(0, 60), share=st.floats(0.01, 0.6))
def test_the_tail_is_exact_for_whole_numbers_and_never_below_it_for_others(n: int, k: int, share: float) -> None:
    bad = min(n, k)
    exact = sum(comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(bad, n + 1))
    if bad > n * share:
        assert tail(float(bad), n, share, 0.0) == pytest.approx(exact, rel=1e-9)
        assert tail(bad - 1e-9 if bad == n else bad + 1e-9, n, share, 0.0) >= exact * (1 - 1e-6)


@given(
    n=st.integers(1, 40),
    values=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
    weight=st.floats(0.02, 0.98),
    k=st.integers(0, 40),
)
def test_the_bound_by_scatter_is_never_below_how_probable_it_is_that_it_says_so_little(n, values, weight, k):
    """Of scores with two values, whose number of bad ones is binomial: the chance of a bound of at most b is at most
    b.
    """
    low, high = values
    share = low + weight * (high - low)

    def bound(bad: int) -> float:
        total, squares = bad * high + (n - bad) * low, bad * high**2 + (n - bad) * low**2
        return tail_by_scatter(MinuteTally(minutes(0), n, total, 0.0, squares), share) if share else 1.0

    said = bound(min(k, n))
    chance = sum(
        comb(n, i) * weight**i * (1 - weight) ** (n - i) for i in range(n + 1) if bound(i) <= said * (1 + 1e-9)
    )
    assert said >= chance * (1 - 1e-6)


def test_scores_that_scatter_little_are_told_of_after_a_tenth_of_the_events() -> None:
    one = rule(metric="quality", above=None, below=0.95)
    row = outcomes(59, 45, score=0.86)
    for score in (0.94,) * 45:
        row.add_outcome(success=None, score=score)
    assert found(one, [row]) is not None
    apart = outcomes(59, 81, score=1.0)
    for score in (0.0,) * 9:
        apart.add_outcome(success=None, score=score)
    assert found(one, [apart]) is None, "of nine that are nothing at all in ninety chance may be the cause"


def test_the_more_events_are_bad_the_fewer_it_takes() -> None:
    assert events_to_tell(rule(), 0.03, 0.5) == 20
    assert 20 < events_to_tell(rule(), 0.03, 0.15) < events_to_tell(rule(), 0.03, 0.06) < 3000
    assert events_to_tell(rule(), 0.03, 0.03) == float("inf")
