"""Strategy ``race``: the proposals of other strategies enter one race, which says who meets the next examples.

The champion meets every dev example first: the others are compared with it, and bootstrapping takes its threshold from it. Then
contenders enter in waves, and after each their proposer is told what the race estimates. At the end the leader meets all
examples that are left, so that the winner is compared with the champion on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optimizer.core.racing import ExpectedGain, Race, Turn
from optimizer.core.strategy import Proposal, Strategy
from optimizer.core.study import ExampleResult
from optimizer.core.variant import Variant

WAVE = 4  # contenders that enter at once: proposing may cost calls, and a proposer may learn from the scores of those before


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """A contender and the examples that it meets next."""

    proposal: Proposal
    turn: Turn


class RacedSearch:
    """Deterministic given the seed and the scores, as every strategy: run again against the journal it takes the same way.

    Args:
        proposers: who makes a strategy that starts from the given variant, in the order in which their contenders enter.
        examples: ids of the dev examples.
        width: calls worth having in flight at once.
    """

    def __init__(
        self, champion: Variant, proposers: Sequence[Callable[[Variant], Strategy]], examples: Sequence[str], *, seed: int, width: int = 1
    ) -> None:
        self._waiting = list(proposers)
        self._race = Race(examples, ExpectedGain(width=width), seed=seed)
        self._champion = Proposal(variant=champion, proposer="champion")
        self._proposals = {champion.id: self._champion}
        self._race.enter(champion.id)
        self._current: Strategy | None = None
        self._untold: list[Proposal] = []  # contenders whose estimate their proposer has not heard

    def heats(self) -> list[Heat]:
        """What to ask next, all of it before this is asked again; empty when the race is decided and its leader has met every example."""
        rest = self._race.rest(self._champion.variant.id)
        while rest is None:
            turns = self._race.turns()
            if turns:
                return [self._heat(turn) for turn in turns]
            if not self._next_wave():
                return self.last()
        return [self._heat(rest)]

    def last(self) -> list[Heat]:
        """The examples that the leader has not met yet: for the end of the race, and for one that is cut short."""
        leader = self.leader()
        rest = None if leader is None else self._race.rest(leader.variant.id)
        return [] if rest is None else [self._heat(rest)]

    def leader(self) -> Proposal | None:
        """Who wins if the race ends here; None before the first score."""
        leader = self._race.leader()
        return None if leader is None else self._proposals[leader]

    def tell(self, heat: Heat, results: Sequence[ExampleResult]) -> None:
        self._race.tell(heat.turn, [r.score for r in results])

    def _heat(self, turn: Turn) -> Heat:
        return Heat(proposal=self._proposals[turn.variant], turn=turn)

    def _next_wave(self) -> bool:
        """Lets new contenders enter; False when no proposer has any left."""
        while True:
            if self._current is None:
                if not self._waiting:
                    return False
                self._begin(self._waiting.pop(0))
            assert self._current is not None
            self._tell_proposer(self._current)
            while (proposal := self._current.ask()) is not None:
                if proposal.variant.id not in self._proposals:
                    self._proposals[proposal.variant.id] = proposal
                    self._race.enter(proposal.variant.id)
                    self._untold.append(proposal)
                if len(self._untold) >= WAVE:
                    return True
            self._current = None
            if self._untold:
                return True

    def _begin(self, make: Callable[[Variant], Strategy]) -> None:
        """A proposer starts from whoever leads."""
        leader = self.leader() or self._champion
        self._current = make(leader.variant)
        self._untold = [leader]

    def _tell_proposer(self, proposer: Strategy) -> None:
        estimates = self._race.estimates(self._champion.variant.id)
        for proposal in self._untold:
            proposer.tell(proposal, estimates.get(proposal.variant.id), [])
        self._untold = []
