"""Strategy ``race``: the proposals of other strategies enter one race, which says who meets the next examples.

The champion meets a few examples first, from which bootstrapping takes its threshold. Then each proposer's contenders
enter in waves and meet a few examples, and the proposer is told what the race estimates. When it has no more, the race
decides with its share of the calls, and the next proposer starts from the leader. At the end leader and champion meet
the examples that are left, as far as the calls pay for both to meet the same, and no fewer than the leader has met.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from optimizer.core.base.values import ExampleResult
from optimizer.core.family.variant import Variant
from optimizer.core.search import strategy_calls
from optimizer.core.search.racing import ContinuousRejects, Race, RaceTurn, first_look
from optimizer.core.search.strategy import QUALITY, RACE, RACED, Proposal, SearchSetting, Strategy, strategy, unusable

CHAMPION_FIRST = 12  # examples that the champion meets before a proposer that takes its threshold from them
# contenders that enter at once: proposing may cost calls, and a proposer may learn from the scores of those before
WAVE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceRound:
    """A contender and the examples that it meets next."""

    proposal: Proposal
    turn: RaceTurn


@strategy(
    name=RACE,
    does=f"lets the candidates of {' and '.join(RACED)} meet the same examples, and asks those that are behind no more",
    aims=QUALITY,
    n_trials=lambda definition: strategy_calls.n_bootstrapped(definition) + definition.n_settings,
    calls=strategy_calls.race_calls,
)
def race(setting: SearchSetting) -> Strategy:
    """Heats of ``RacedSearch`` drive it, so it is no part of a sequence of strategies."""
    raise unusable(f"Strategy {RACE} stands alone and cannot be part of another.")


class RacedSearch:
    """Deterministic given the seed and the scores, as every strategy is: with the same journal it takes the same way.

    Args:
        proposers: makes a strategy that starts from the given variant; in the order in which their contenders enter.
        examples: ids of the dev examples.
        calls: with which champion and contenders of all proposers may meet examples; the proposers that remain share
            evenly what remains. None: only the rule's own share.
        n_contenders: the most of each proposer.
        n_champion_first: examples that the champion meets before the first proposal, where the first look takes fewer.
    """

    def __init__(
        self,
        champion: Variant,
        proposers: Sequence[Callable[[Variant], Strategy]],
        examples: Sequence[str],
        *,
        seed: int,
        calls: int | None = None,
        n_contenders: Sequence[int] = (),
        n_champion_first: int = CHAMPION_FIRST,
    ) -> None:
        self._waiting, self._calls, self._n_contenders = list(proposers), calls, list(n_contenders)
        self._first = first_look(calls, 1 + sum(n_contenders))
        self._n_champion_first = max(self._first, n_champion_first)
        self._race = Race(examples, ContinuousRejects(calls=calls), seed=seed)
        self._champion = Proposal(variant=champion, proposer="champion")
        self._proposals = {champion.id: self._champion}
        self._race.enter(champion.id)
        self._current: Strategy | None = None
        self._decided_for = ""  # the leader, once the rule asks nothing more: the last examples then change nothing
        self._untold: list[Proposal] = []  # contenders whose estimate their proposer has not heard
        self._measured: set[str] = set()  # examples that the champion has a score on
        self._unmeasured: dict[str, set[str]] = {}  # contender -> examples that it has met and has none on

    def heats(self) -> list[RaceRound]:
        """What to ask next, all before the next call; empty when the race is decided and its leader met all examples.

        While a proposer has contenders left, those that are in meet their first examples only: deciding among some of
        them would be paid for and then be undone by the next.
        """
        turns = [self._race.until(self._champion.variant.id, self._n_champion_first)]
        while not any(turns):
            if self._current is not None:
                # A wave of new contenders meets its first examples; it is smaller where the proposer has no more.
                estimates = self._race.estimates(self._champion.variant.id)
                for proposal in self._untold:
                    self._current.tell(proposal, estimates.get(proposal.variant.id), [])
                self._untold = []
                while len(self._untold) < WAVE:
                    new = self._current.ask()
                    if new is None:
                        self._current = None
                        break
                    if new.variant.id in self._proposals:
                        self._current.tell(new, estimates.get(new.variant.id), [])
                        continue
                    self._proposals[new.variant.id] = new
                    self._race.enter(new.variant.id)
                    self._untold.append(new)
                turns = [self._race.until(proposal.variant.id, self._first) for proposal in self._untold]
            elif race_turns := self._race.turns():
                turns = list(race_turns)
            elif self._waiting:
                # A proposer starts from the leader, and its contenders race with their part of the calls.
                make = self._waiting.pop(0)
                leader = self.leader() or self._champion
                if self._calls is not None:
                    calls_left = max(0, self._calls - self._race.n_met)
                    for_others = self._first * sum(self._n_contenders[-len(self._waiting) :] if self._waiting else ())
                    share = max(0, min(calls_left // (len(self._waiting) + 1), calls_left - for_others))
                    self._race.rule = ContinuousRejects(calls=self._race.n_met + share)
                self._current = make(leader.variant)
                self._untold = [leader]
            else:
                self._decided_for = (self.leader() or self._champion).variant.id
                return self.last()
        return [RaceRound(proposal=self._proposals[turn.variant], turn=turn) for turn in turns if turn is not None]

    def last(self, n_calls: int | None = None) -> list[RaceRound]:
        """What champion and leader have not met of the examples that both can still pay for.

        It ends a race, also one that is cut short. Where the calls do not bring the champion as far as its leader has
        come, none is made: a few examples would undo what the rule has decided on more.

        Args:
            n_calls: that may be made, where more are left than the race planned with.
        """
        ids = [proposal.variant.id for proposal in self.pair]
        met = [len(self._race.standing.scores[id]) for id in ids]
        room = inf if self._calls is None else max(0, self._calls - self._race.n_met, n_calls or 0)
        upto = max(n for n in range(len(self._race.order) + 1) if sum(max(0, n - m) for m in met) <= room)
        return [
            RaceRound(proposal=self._proposals[turn.variant], turn=turn)
            for id in ids
            if upto >= max(met) and (turn := self._race.until(id, upto)) is not None
        ]

    @property
    def pair(self) -> list[Proposal]:
        """The champion, and the leader where that is another."""
        return list({p.variant.id: p for p in (self._champion, self.leader() or self._champion)}.values())

    @property
    def n_last(self) -> int:
        """The most examples that ``last`` may ask for any leader, and that must be reserved for it.

        Under a cap on calls there are none, since the rule has planned to the end.
        """
        if self._calls is not None:
            return 0
        rests = {
            id: len(rest.examples)
            for id, p in self._proposals.items()
            if id in self._race and (rest := self._race.until(p.variant.id, len(self._race.order))) is not None
        }
        champion = rests.pop(self._champion.variant.id, 0)
        return champion + max(rests.values(), default=0)

    def leader(self) -> Proposal | None:
        """Who wins if the race ends here; None before the first score."""
        leader = self._decided_for if self._decided_for in self._race else self._race.leader()
        return None if leader is None else self._proposals[leader]

    def tell(self, heat: RaceRound, results: Sequence[ExampleResult]) -> None:
        """A contender without a score where the champion has one is out: a missing score is never a good one."""
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
