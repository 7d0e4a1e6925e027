"""Strategy ``race``: the proposals of other strategies enter one race, which says who meets the next examples.

The champion meets a few examples before all others: bootstrapping takes its threshold from them. Then each proposer's
contenders enter in waves and meet a few examples, whereupon their proposer is told what the race estimates. When it has
no more the race decides with its share of the calls, and the next proposer starts from the leader. At the end leader
and champion meet all examples that are left, so that the two are compared on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optimizer.core.base.values import ExampleResult
from optimizer.core.family.variant import Variant
from optimizer.core.search.racing import FIRST, ContinuousRejects, Race, Turn
from optimizer.core.search.strategy import Proposal, Strategy

CHAMPION_FIRST = 12  # examples that the champion meets before the first proposal
# contenders that enter at once: proposing may cost calls, and a proposer may learn from the scores of those before
WAVE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """A contender and the examples that it meets next."""

    proposal: Proposal
    turn: Turn


class RacedSearch:
    """Deterministic given the seed and the scores, as every strategy:
    run again against the journal it takes the same way.

    Args:
        proposers: who makes a strategy that starts from the given variant, in the order in which their contenders
            enter.
        examples: ids of the dev examples.
        calls: that contenders may meet examples with, all proposers' together and the last examples of leader and
            champion apart; the proposers that are left share what is left evenly. None:
            no cap but the rule's own share.
    """

    def __init__(
        self,
        champion: Variant,
        proposers: Sequence[Callable[[Variant], Strategy]],
        examples: Sequence[str],
        *,
        seed: int,
        calls: int | None = None,
        n_contenders: int = 0,
    ) -> None:
        self._waiting = list(proposers)
        self._calls, self._n_contenders = calls, n_contenders
        self._race = Race(examples, ContinuousRejects(calls=calls), seed=seed)
        self._champion = Proposal(variant=champion, proposer="champion")
        self._proposals = {champion.id: self._champion}
        self._race.enter(champion.id)
        self._current: Strategy | None = None
        self._untold: list[Proposal] = []  # contenders whose estimate their proposer has not heard
        self._measured: set[str] = set()  # examples that the champion has a score on
        self._unmeasured: dict[str, set[str]] = {}  # contender -> examples that it has met and has none on

    def heats(self) -> list[Heat]:
        """What to ask next, all before the next call; empty when the race is decided and its leader met all examples.

        While a proposer has contenders left, those that are in meet their first examples only: deciding among some of
        them would be paid for and then be undone by the next.
        """
        turns = [self._race.until(self._champion.variant.id, CHAMPION_FIRST)]
        while not any(turns):
            if self._current is not None:
                turns = self._next_wave(self._current)
            elif found := self._race.turns():
                turns = list(found)
            elif self._waiting:
                self._begin(self._waiting.pop(0))
            else:
                return self.last()
        return [self._heat(turn) for turn in turns if turn is not None]

    def last(self) -> list[Heat]:
        """The examples that champion and leader have not met yet: for the end of the race,
        and for one that is cut short.
        """
        pair = {p.variant.id: p for p in (self._champion, self.leader() or self._champion)}
        return [self._heat(turn) for proposal in pair.values() if (turn := self._rest(proposal)) is not None]

    @property
    def n_last(self) -> int:
        """The most examples that ``last`` may ask, for any leader."""
        rests = {
            id: len(rest.examples)
            for id, p in self._proposals.items()
            if id in self._race and (rest := self._rest(p)) is not None
        }
        champion = rests.pop(self._champion.variant.id, 0)
        return champion + max(rests.values(), default=0)

    def _rest(self, proposal: Proposal) -> Turn | None:
        return self._race.until(proposal.variant.id, len(self._race.order))

    def leader(self) -> Proposal | None:
        """Who wins if the race ends here; None before the first score."""
        leader = self._race.leader()
        return None if leader is None else self._proposals[leader]

    def tell(self, heat: Heat, results: Sequence[ExampleResult]) -> None:
        """A contender without a score where the champion has one cannot win, so it is out:
        what is missing is never a good score.
        """
        id, champion = heat.turn.variant, self._champion.variant.id
        if id not in self._race:
            return  # taken out while it was asked
        self._race.tell(heat.turn, [r.score for r in results])
        if id == champion:
            self._measured |= {r.example for r in results if r.score is not None}
        else:
            self._unmeasured.setdefault(id, set()).update(r.example for r in results if r.score is None)
        for contender, missing in self._unmeasured.items():
            if missing & self._measured:
                self._race.withdraw(contender)

    def _heat(self, turn: Turn) -> Heat:
        return Heat(proposal=self._proposals[turn.variant], turn=turn)

    def _next_wave(self, proposer: Strategy) -> list[Turn | None]:
        """Lets new contenders enter and meet their first examples;
        they are fewer than a wave where the proposer has no more.
        """
        estimates = self._race.estimates(self._champion.variant.id)
        for proposal in self._untold:
            proposer.tell(proposal, estimates.get(proposal.variant.id), [])
        self._untold = []
        while len(self._untold) < WAVE:
            new = proposer.ask()
            if new is None:
                self._current = None
                break
            if new.variant.id in self._proposals:
                proposer.tell(new, estimates.get(new.variant.id), [])
                continue
            self._proposals[new.variant.id] = new
            self._race.enter(new.variant.id)
            self._untold.append(new)
        return [self._race.until(proposal.variant.id, FIRST) for proposal in self._untold]

    def _begin(self, make: Callable[[Variant], Strategy]) -> None:
        """A proposer starts from the leader, and its contenders race with their part of the calls."""
        leader = self.leader() or self._champion
        if self._calls is not None:
            left = max(0, self._calls - self._race.n_met)
            first_looks = FIRST * self._n_contenders if self._waiting else 0
            share = max(0, min(left // (len(self._waiting) + 1), left - first_looks))
            self._race.go_by(ContinuousRejects(calls=self._race.n_met + share))
        self._current = make(leader.variant)
        self._untold = [leader]
