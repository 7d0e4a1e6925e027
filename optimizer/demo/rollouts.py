"""Two rollouts that move by themselves: users come, and what they report decides.

The demo only starts, approves and watches.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from optimizer.core.dataset.examples import Example
from optimizer.demo.screen import Screen
from optimizer.demo.users import Users

N_BEFORE = 80  # users of the champion before the rollouts, for the guardrails' comparison
BATCH = 24  # users per family and turn
RETURNING_EVERY = 8  # one visit in eight is of a user who was here before
# between two turns: some ten users of the candidate decide a stage, and what users take of the processor the search
# beside them lacks
PAUSE_S = 2.0
MOVED_WITHIN_S = 285.0
N_ASKED = 60  # users who are asked at the end what they get
SETTLE_S = 0.6  # the API looks for changes four times a second
TOLD = ("deploy", "advance", "hold", "resume", "lapse", "promote", "rollback")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCandidate:
    """The start of a rollout."""

    family: str
    variant: str
    is_nominated: bool


class DemoRollouts:
    """The rollouts of the demo, by family, with their users; ``rows``: what these send, by family."""

    def __init__(self, *, screen: Screen, users: Users, rows: Mapping[str, Sequence[Example]]) -> None:
        self._screen, self._users, self._rows = screen, users, rows
        self._draw = Random("demo")
        self._n_units: dict[str, int] = {}
        self._n_shown: dict[str, int] = {}  # family > decisions shown
        self.n_visits = 0
        self.n_answered = 0  # by the model
        self.forced: list[str] = []
        self.ids: dict[str, str] = {}

    def move_by_themselves(self, candidates: Sequence[DemoCandidate]) -> None:
        """All at once, until each has ended."""
        say = self._screen.say
        say("No person advances them: every five seconds the worker looks at what users report. Users send rows that")
        say("were held out of the import (neither train, dev nor sealed). The model answered each row once under each")
        say(
            "prompt, before the users came: an hour of rollout time takes 1.25 seconds (simulated clock), and nobody is"
        )
        say("to wait hours for an answer. Gates and code are the product's.")
        for candidate in candidates:
            family = candidate.family
            if candidate.is_nominated:
                self._screen.command("variant", "diff", family, candidate.variant)
                self._screen.command("rollout", "start", family, candidate.variant)
            else:
                self.forced.append(family)
                self._screen.say(
                    f"{candidate.variant} of {family} was not nominated by a search, so its rollout is started as"
                    " FORCED:"
                )
                self._screen.command(
                    "rollout", "start", family, candidate.variant, "--confirm", family, "--reason", "forced by the demo"
                )
            self.ids[family] = str(self._rollout(family)["id"])
            self._screen.command("rollout", "approve", family, "--reason", "diff reviewed")
        # Traffic until all have ended, every decision told as it falls.
        deadline = time.monotonic() + MOVED_WITHIN_S
        with self._screen.bars() as bars:
            moving = [candidate.family for candidate in candidates]
            while moving and time.monotonic() < deadline:
                for name in list(moving):
                    self._visit(name, BATCH)
                    rollout = self._rollout(name)
                    decisions = self._decisions(name)
                    for decision in decisions[self._n_shown.get(name, 0) :]:
                        if decision["kind"] in TOLD:
                            bars.line(f"{name}: {decision['content']['what']}. Why: {decision['reason']}")
                    self._n_shown[name] = len(decisions)
                    share, has_ended = rollout["share"] or 0.0, rollout["ended_at"] is not None
                    where = f"ended: {rollout['outcome']}" if has_ended else f"{rollout['status']} at {share:.0%}"
                    bars.show(
                        name,
                        100 if has_ended else round(share * 100),
                        100,
                        f"{where}, {self._n_units[name]} users so far",
                    )
                    if has_ended:
                        moving.remove(name)
                time.sleep(PAUSE_S)
        for name in moving:
            self._screen.say(
                f"  {name} has not ended within {MOVED_WITHIN_S / 60:g} minutes; inconclusive never ships, so it"
                " would go on waiting."
            )
        self._screen.say(f"  {self.n_visits} requests, with {self.n_answered} answers of the model")
        for candidate in candidates:
            self._screen.command("rollout", "verify", self.ids[candidate.family])
            self._served(candidate.family)

    def answer(self, family: str, variant: str) -> None:
        """The model answers what users may send under this prompt, before they come."""
        self._screen.say(f"  The model answers what users of {family} will send, under {variant} ...")
        self.n_answered += self._users.answer_all(family, variant, self._rows[family])

    def visit_champion(self, family: str) -> None:
        """Users before the rollout."""
        self.answer(family, str(self._users.fetch(family, "user-0")["variant"]))
        self._visit(family, N_BEFORE)

    def back_to_the_champion_before(self, family: str) -> bool:
        """A champion rollback, where a promotion took place; whether users get the champion before again."""
        if self.outcome(family) != "promoted":
            self._screen.say(f"{family} was not promoted, so there is no champion to go back to.")
            return False
        before = self._rollout(family)["champion"]
        self._screen.say(
            "The holdback keeps 5 % of the users on the champion before for a week of rollout time. Suppose a user"
            " complains."
        )
        self._screen.say("One command, no question asked:")
        self._screen.command("champion", "rollback", family, "--reason", "the demo goes back")
        time.sleep(SETTLE_S)
        return self._served(family) == {before}

    def outcome(self, family: str) -> str:
        """How the family's rollout ended, such as ``promoted``; "" where it had none, or none that ended in time."""
        return str(self._rollout(family)["outcome"] or "") if family in self.ids else ""

    def why(self, family: str) -> str:
        """The reason of the rollout's last decision that moved anything; "" where there was none."""
        decisions = self._decisions(family) if family in self.ids else []
        return next((str(d["reason"]) for d in reversed(decisions) if d["kind"] in ("promote", "rollback")), "")

    def _visit(self, family: str, n: int) -> None:
        pairs = []
        for _ in range(n):
            n_units = self._n_units.get(family, 0)
            if n_units and self._draw.randrange(RETURNING_EVERY) == 0:
                unit = self._draw.randrange(n_units)
            else:
                unit, self._n_units[family] = n_units, n_units + 1
            pairs.append((f"user-{unit}", self._draw.choice(self._rows[family])))
        self.n_visits += len(self._users.visit_all(family, pairs).visits)

    def _decisions(self, family: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._users.get(f"/v1/rollouts/{self.ids[family]}/decisions")["items"]
        return items

    def _served(self, family: str) -> set[str]:
        """Asks as users who gets what now; returns the variants that any of them got."""
        prompts = [self._users.fetch(family, f"user-{n}") for n in range(N_ASKED)]
        counts = Counter((prompt["role"], prompt["variant"]) for prompt in prompts)
        listed = "; ".join(f"{n} get {variant} ({role})" for (role, variant), n in counts.most_common())
        self._screen.say(f"  Of {N_ASKED} users of {family} now: {listed}")
        return {variant for _, variant in counts}

    def _rollout(self, family: str) -> dict[str, Any]:
        return self._users.get(f"/v1/families/{family}/rollout")
