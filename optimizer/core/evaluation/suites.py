"""The suites that a Family asks before a rollout: those of its file, and its golden scenarios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.core.base.phrasing import count
from optimizer.core.family.family import Family, GoldenRow
from optimizer.core.family.settings import Regression, Targets

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
        """What a rollout calls it among its gates."""
        return {DEFAULT: "suite", GOLDEN: GOLDEN}.get(self.name, f"suite {self.name}")

    @property
    def compares(self) -> bool:
        """Whether the champion is asked the same."""
        return self.targets.regression is not None

    @property
    def asked(self) -> str:
        """Its name, and how much it asks."""
        if self.name == GOLDEN:
            return f"{self.name} ({count(len({row.scenario for row in self.rows}), 'scenario')})"
        return f"{self.name} ({count(self.targets.n, 'dev example')})"

    @property
    def said(self) -> str:
        """In a sentence about what a Variant was evaluated against."""
        if self.name == GOLDEN:
            return f"the family's {count(len({row.scenario for row in self.rows}), 'golden scenario')}"
        return "the family's targets" if self.name == DEFAULT else f"suite {self.name} of the family"


def suites_of(family: Family) -> Mapping[str, Suite]:
    """By name, in the order in which they are asked: what a rollout has as gates.

    What a file says under ``golden`` is asked of its golden scenarios, beside the usual regression where it names none.
    Where it says so and there are no scenarios, the suite is there all the same, and cannot be met.
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
