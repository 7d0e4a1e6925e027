"""The circuit breaker, played against everything that callers may do, and against a plain list of outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from optimizer.core.models.breaker import (
    N_SLICES,
    Breaker,
    BreakerRefusal,
    BreakerSettings,
    Pass,
    after_failure,
    after_success,
    ask,
    slice_index,
    withdrawn,
)
from tests.examples import n_examples

SOME = BreakerSettings(failures=3, share=0.5, window_s=30.0, cool_down_s=10.0, successes=2)


@st.composite
def breaker_settings(draw: st.DrawFn) -> BreakerSettings:
    return BreakerSettings(
        failures=draw(st.integers(1, 6)),
        share=draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])),
        window_s=draw(st.floats(1, 100)),
        cool_down_s=draw(st.floats(0.5, 60)),
        successes=draw(st.integers(1, 4)),
    )


@dataclass
class Outcomes:
    """The naive definition: everything that was told while the breaker has been closed."""

    told: list[tuple[float, bool]] = field(default_factory=list)

    def too_many(self, rules: BreakerSettings, now: float) -> bool:
        recent = [bad for at, bad in self.told if slice_index(rules, at) > slice_index(rules, now) - N_SLICES]
        return sum(recent) >= rules.failures and sum(recent) >= rules.share * len(recent)


class Callers(RuleBasedStateMachine):
    """Callers ask, come back in any order, or never; the clock goes on between their acts."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.breaker = Breaker(settings=SOME)
        self.out: list[tuple[Pass, float]] = []
        self.naive = Outcomes()
        self.went_well = 0  # probes in a row, of the present half-open time
        self.opened_at: float | None = None

    @rule(seconds=st.floats(0, 20))
    def time_goes_on(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_call_wants_out(self) -> None:
        before = self.breaker
        self.breaker, verdict = ask(before, self.now)
        if isinstance(verdict, BreakerRefusal):
            assert before.state != "closed", "a closed breaker refuses nobody"
            assert self.now < verdict.again_at <= self.now + SOME.cool_down_s
            assert self.breaker == before, "a refusal changes nothing"
            return
        if self.opened_at is not None and before.state == "open":
            assert self.now >= self.opened_at + SOME.cool_down_s, "let out before the cool-down was over"
            self.went_well = 0
        if before.state == "half_open" and before.probing_since is not None:
            assert self.now >= before.probing_since + SOME.cool_down_s, "two probes at once"
        assert verdict.probe == (before.state != "closed")
        self.out.append((verdict, self.now))

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def a_call_went_well(self, data: st.DataObject) -> None:
        given_pass, before = self._take(data), self.breaker
        self.breaker = after_success(before, given_pass, self.now)
        if given_pass.era != before.era:
            assert self.breaker == before
        elif given_pass.probe:
            self.went_well += 1
            assert (self.breaker.state == "closed") == (self.went_well == SOME.successes)
            self.naive = Outcomes()
        else:
            self.naive.told.append((self.now, False))
            assert self.breaker.state == "closed"

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def a_call_failed(self, data: st.DataObject) -> None:
        given_pass, before = self._take(data), self.breaker
        self.breaker = after_failure(before, given_pass, self.now)
        if given_pass.era != before.era:
            assert self.breaker == before
        elif given_pass.probe:
            assert self.breaker.state == "open", "one failed probe opens it again"
            self.opened_at = self.now
        else:
            self.naive.told.append((self.now, True))
            assert (self.breaker.state == "open") == self.naive.too_many(SOME, self.now)
            if self.breaker.state == "open":
                self.opened_at, self.naive = self.now, Outcomes()

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def a_call_says_nothing(self, data: st.DataObject) -> None:
        given_pass, before = self._take(data), self.breaker
        self.breaker = withdrawn(before, given_pass)
        assert replace(self.breaker, probing_since=None) == replace(before, probing_since=None)

    @invariant()
    def at_most_one_valid_probe_is_out(self) -> None:
        valid = [p for p, _ in self.out if p.probe and p.era == self.breaker.era]
        assert len(valid) == (1 if self.breaker.probing_since is not None else 0)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.breaker.slices) <= N_SLICES

    def _take(self, data: st.DataObject) -> Pass:
        return self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))[0]


TestCallers = Callers.TestCase
TestCallers.settings = settings(max_examples=n_examples(25), stateful_step_count=40, deadline=None)


def opened(rules: BreakerSettings, at: float = 0.0) -> Breaker:
    breaker = Breaker(settings=rules)
    while breaker.state == "closed":
        breaker, given_pass = ask(breaker, at)
        assert isinstance(given_pass, Pass)
        breaker = after_failure(breaker, given_pass, at)
    return breaker


@given(breaker_settings())
def test_as_many_failures_as_said_open_it_and_one_fewer_does_not(rules: BreakerSettings) -> None:
    breaker = Breaker(settings=rules)
    for n in range(1, rules.failures + 1):
        breaker, given_pass = ask(breaker, 5.0)
        assert isinstance(given_pass, Pass)
        breaker = after_failure(breaker, given_pass, 5.0)
        assert breaker.state == ("open" if n == rules.failures else "closed")


@given(breaker_settings(), st.floats(0, 1000))
def test_it_lets_a_call_out_at_the_very_time_that_a_refusal_names(rules: BreakerSettings, at: float) -> None:
    breaker = opened(rules, at)
    _, refusal = ask(breaker, at)
    assert isinstance(refusal, BreakerRefusal)
    _, verdict = ask(breaker, refusal.again_at)
    assert verdict == Pass(era=breaker.era + 1, probe=True)


@given(breaker_settings())
def test_after_an_outage_as_many_good_probes_as_said_close_it(rules: BreakerSettings) -> None:
    breaker, now = opened(rules), rules.cool_down_s
    for n in range(1, rules.successes + 1):
        breaker, given_pass = ask(breaker, now)
        assert isinstance(given_pass, Pass)
        breaker = after_success(breaker, given_pass, now)
        assert breaker.state == ("closed" if n == rules.successes else "half_open")
