"""A circuit breaker as values: what is known of one provider's failures, and whether the next call may go out.

    closed ── enough failures in the window ──> open ── cool-down over ──> half-open ── enough probes well ──> closed
                                                 ^                            │
                                                 └──────── a probe failed ────┘

Time is an argument (seconds of any clock that never goes back). Every change gives a new Breaker.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

State = Literal["closed", "open", "half_open"]

N_SLICES = 10  # slices of the window; counts are per slice, so a busy model costs no more memory than a quiet one


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When a model is left alone, and for how long."""

    failures: int = 5  # within the window, at least 1
    share: float = 0.5  # of the calls in the window that failed, in [0, 1]: a few of very many are no outage
    window_s: float = 30.0
    cool_down_s: float = 15.0
    successes: int = 2  # probes in a row that close it again, at least 1

    def __post_init__(self) -> None:
        if self.failures < 1 or self.successes < 1:
            raise ValueError(f"failures and successes must be at least 1, not {self.failures} and {self.successes}")
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is a fraction from 0 to 1, not {self.share:g}")
        if not (self.window_s > 0 and self.cool_down_s > 0):
            raise ValueError(
                f"window_s and cool_down_s must be above 0, not {self.window_s:g} and {self.cool_down_s:g}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Outcomes in one tenth of a window."""

    index: int
    n: int = 0
    n_failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """The call may go out; its outcome is reported with this pass. A pass from before the last change of state is
    ignored.
    """

    era: int
    probe: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRefusal:
    """The call may not go out; at ``again_at`` it is worth asking again."""

    again_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    settings: BreakerSettings = field(default_factory=BreakerSettings)
    state: State = "closed"
    era: int = 0  # counts changes of state
    slices: tuple[Slice, ...] = ()  # while closed, oldest first
    opened_at: float | None = None
    probing_since: float | None = None  # half-open: the one probe on its way
    n_probed: int = 0  # half-open: probes that went well


def ask(breaker: Breaker, now: float) -> tuple[Breaker, Pass | BreakerRefusal]:
    """Whether a call may go out now. Half-open, one call at a time may: the probe.

    A probe whose outcome was never told is given up after a cool-down,
    so that no lost caller keeps a model away for good.
    """
    settings = breaker.settings
    if breaker.state == "closed":
        return breaker, Pass(era=breaker.era, probe=False)
    if breaker.state == "open":
        assert breaker.opened_at is not None
        again_at = breaker.opened_at + settings.cool_down_s
        if now < again_at:
            return breaker, BreakerRefusal(again_at=again_at)
        breaker = replace(
            breaker, state="half_open", era=breaker.era + 1, opened_at=None, probing_since=None, n_probed=0
        )
    if breaker.probing_since is not None:
        again_at = breaker.probing_since + settings.cool_down_s
        if now < again_at:
            return breaker, BreakerRefusal(again_at=again_at)
        breaker = replace(breaker, era=breaker.era + 1)  # a late outcome of the lost probe no longer counts
    return replace(breaker, probing_since=now), Pass(era=breaker.era, probe=True)


def after_success(breaker: Breaker, passage: Pass, now: float) -> Breaker:
    """The call gave a usable answer."""
    if passage.era != breaker.era:
        return breaker
    if not passage.probe:
        return _counted(breaker, now, failed=False)
    n_probed = breaker.n_probed + 1
    if n_probed >= breaker.settings.successes:
        return Breaker(settings=breaker.settings, era=breaker.era + 1)
    return replace(breaker, probing_since=None, n_probed=n_probed)


def after_failure(breaker: Breaker, passage: Pass, now: float) -> Breaker:
    """The provider failed: too slow, away, overloaded, or unreadable.

    A caller's own mistake is no failure; ``withdrawn`` tells that.
    """
    if passage.era != breaker.era:
        return breaker
    if passage.probe:
        return _opened(breaker, now)
    breaker = _counted(breaker, now, failed=True)
    n, n_failed = sum(s.n for s in breaker.slices), sum(s.n_failed for s in breaker.slices)
    if n_failed >= breaker.settings.failures and n_failed >= breaker.settings.share * n:
        return _opened(breaker, now)
    return breaker


def withdrawn(breaker: Breaker, passage: Pass) -> Breaker:
    """The call ended without saying anything about the provider; a probe's place is free again."""
    return breaker if passage.era != breaker.era or not passage.probe else replace(breaker, probing_since=None)


def slice_index(settings: BreakerSettings, now: float) -> int:
    """The slice of the window that holds a moment."""
    return int(now // (settings.window_s / N_SLICES))


def _opened(breaker: Breaker, now: float) -> Breaker:
    return Breaker(settings=breaker.settings, state="open", era=breaker.era + 1, opened_at=now)


def _counted(breaker: Breaker, now: float, *, failed: bool) -> Breaker:
    index = slice_index(breaker.settings, now)
    recent = tuple(s for s in breaker.slices if s.index > index - N_SLICES)
    last = recent[-1] if recent and recent[-1].index == index else Slice(index=index)
    older = recent[:-1] if recent and recent[-1].index == index else recent
    return replace(breaker, slices=(*older, replace(last, n=last.n + 1, n_failed=last.n_failed + failed)))
