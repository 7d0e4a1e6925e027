"""A circuit breaker as values: what is known of one provider's failures, and whether the next call may go out.

    closed ── enough failures in the window ──> open ── cool-down over ──> half-open ── enough probes well ──> closed
                                                 ^                            │
                                                 └──────── a probe failed ────┘

Time is an argument (seconds of any clock that never goes back). Every change gives a new Breaker.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

State = Literal["closed", "open", "half_open"]

N_SLICES = 10  # slices of the window; counts are per slice, so a busy model costs no more memory than a quiet one


class DeclaredPart(BaseModel):
    """A part of config/models.yaml: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_number(cls, value: Any, field: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[str(field.field_name)].annotation is not bool:
            raise ValueError(f"{str(value).lower()} is no value of it")  # pydantic would count it as 1 or 0
        return value


class Backoff(DeclaredPart):
    """Pauses between two attempts of one call: ``initial_s``, doubled each time up to ``max_s``, plus a random part of
    up to ``jitter_s``.
    """

    initial_s: float = Field(default=0.2, gt=0, le=60)
    max_s: float = Field(default=2.0, gt=0, le=300)
    jitter_s: float = Field(default=0.2, ge=0, le=60)
    total_s: float = Field(default=20.0, gt=0, le=3600)  # after so long no further attempt begins

    @model_validator(mode="after")
    def _grows(self) -> Backoff:
        if self.initial_s > self.max_s:
            raise ValueError(f"initial_s ({self.initial_s:g}) must not be above max_s ({self.max_s:g})")
        return self


class BreakerSettings(DeclaredPart):
    """When the gateway leaves a model alone, and for how long."""

    failures: int = Field(default=5, ge=1, le=10_000)  # within the window
    share: float = Field(default=0.5, ge=0, le=1)  # of the calls in the window: a few of very many are no outage
    window_s: float = Field(default=30.0, gt=0, le=3600)
    cool_down_s: float = Field(default=15.0, gt=0, le=3600)
    successes: int = Field(default=2, ge=1, le=100)  # probes in a row that close it again


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
