"""Two rollouts that move by themselves: users come, and what they report decides. The demo only starts, approves and watches."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from random import Random
from typing import Any

import httpx

from optimizer.core.dataset import Example
from optimizer.demo.screen import Bars, Screen
from optimizer.demo.studies import Searched
from optimizer.demo.users import Users
from optimizer.ports import Store

N_BEFORE = 80  # users of the champion before the rollouts: what the guardrails compare with
BATCH = 24  # users per family and turn
RETURNING_EVERY = 8  # one visit in eight is of a user who was here before
PAUSE_S = 1.0
MOVED_WITHIN_S = 285.0
MARGIN = "0.05"  # by default a tenth of the champion's mean, which is near 0 here: the demo would take twice as many users
N_ASKED = 60  # users who are asked at the end what they get
SETTLE_S = 0.6  # the API looks for changes four times a second
TOLD = ("deploy", "advance", "hold", "resume", "lapse", "promote", "rollback")


class Rollouts:
    """The rollouts of the demo, by family; counts what their traffic took from the journal."""

    def __init__(self, *, screen: Screen, users: Users, store: Store, api_url: str) -> None:
        self._screen, self._users, self._store = screen, users, store
        self._http = httpx.Client(base_url=api_url, timeout=30.0, trust_env=False)
        self._draw = Random("demo")
        self._n_units: dict[str, int] = {}
        self._told: dict[str, int] = {}  # family > decisions shown
        self.n_visits = 0
        self.n_from_journal = 0
        self.forced: list[str] = []
        self.ids: dict[str, str] = {}

    def move_by_themselves(self, up: Searched, down: Searched) -> None:
        """``up`` with its nominated winner, or its best trial; ``down`` with a careless edit. Both at once, until both have ended."""
        say = self._screen.say
        say(
            "Nobody advances them: the worker looks every ten seconds. Users come in batches, each with a unit of their own; each asks about a"
        )
        say(
            "document of the study's dev split that the study has asked both variants about, so that the journal can answer. The candidate going"
        )
        say("up was chosen on these documents, so its arm looks better here than it is: what counts is the confirmation on sealed ones.")
        say("An hour of rollout time takes 2.5 seconds here (simulated clock); gates, error rates and code are the product's.")
        candidates = {up.study.family: up.candidate, down.study.family: self._careless_edit(down)}
        searched = {s.study.family: s for s in (up, down) if candidates[s.study.family] is not None}
        for family, one in searched.items():
            self._start(family, str(candidates[family]), is_nominated=one is up and up.is_nominated)
        self._watch(searched)
        for family in searched:
            self._screen.command("rollout", "verify", self.ids[family])
            self._served(family)

    def visit_champion(self, searched: Searched) -> int:
        """Users before the rollout; how many visits they made."""
        return self._visit(searched, N_BEFORE)

    def back_to_the_champion_before(self, family: str) -> None:
        """A champion rollback, where a promotion took place."""
        if family not in self.ids or self._rollout(family)["outcome"] != "promoted":
            self._screen.say(f"{family} was not promoted, so there is no champion to go back to.")
            return
        self._screen.say(
            "The holdback keeps 5 % of the users on the champion before for a week of rollout time. Suppose somebody complains."
        )
        self._screen.say("One command, no question asked:")
        self._screen.command("champion", "rollback", family, "--reason", "the demo goes back")
        time.sleep(SETTLE_S)
        self._served(family)

    def outcome(self, family: str) -> str:
        """How the family's rollout ended, in words; "" where it had none."""
        if family not in self.ids:
            return ""
        rollout = self._rollout(family)
        if rollout["ended_at"] is None:
            return "still running when the demo stopped watching"
        return "promoted by itself" if rollout["outcome"] == "promoted" else f"rolled back by itself ({rollout['outcome']})"

    def _careless_edit(self, searched: Searched) -> str:
        """A variant that somebody made by hand, asked about the same documents, so that the journal can answer for it."""
        family, n = searched.study.family, len((searched.study.dataset or {}).get("dev", ()))
        self._screen.say(f"For {family}, somebody wants shorter answers, and allows two tokens:")
        answer = self._screen.command(
            "variant", "create", family, "--from", "champion", "--model", "max_tokens=2", "--note", "shorter answers", "--json", show=_nothing
        )  # fmt: skip
        made = str(json.loads(answer)["variant"])
        self._screen.command("family", "evaluate", family, "--variant", made, "--n", str(n))
        return made

    def _start(self, family: str, candidate: str, *, is_nominated: bool) -> None:
        if is_nominated:
            self._screen.command("variant", "diff", family, candidate)
            self._screen.command("rollout", "start", family, candidate, "--margin", MARGIN)
        else:
            self.forced.append(family)
            self._screen.say(f"{candidate} of {family} was not nominated, so its rollout is started as FORCED:")
            self._screen.command("rollout", "start", family, candidate, "--confirm", family, "--reason", "forced by the demo")
        self.ids[family] = str(self._rollout(family)["id"])
        self._screen.command("rollout", "approve", family, "--reason", "diff reviewed")

    def _watch(self, searched: Mapping[str, Searched]) -> None:
        """Traffic until both have ended, every decision told as it falls."""
        deadline = time.monotonic() + MOVED_WITHIN_S
        with self._screen.bars() as bars:
            moving = dict(searched)
            while moving and time.monotonic() < deadline:
                for family, one in list(moving.items()):
                    self._visit(one, BATCH)
                    rollout = self._rollout(family)
                    self._tell_decisions(bars, family)
                    self._move_bar(bars, family, rollout)
                    if rollout["ended_at"] is not None:
                        del moving[family]
                time.sleep(PAUSE_S)
        for family in moving:
            self._screen.say(
                f"  {family} has not ended within {MOVED_WITHIN_S / 60:g} minutes; inconclusive never ships, so it would go on waiting."
            )
        self._screen.say(
            f"  {self.n_visits} requests: {self.n_from_journal} answered from the journal, {self.n_visits - self.n_from_journal} by the model"
        )
        for family in searched:
            self._screen.command("rollout", "status", family)

    def _visit(self, searched: Searched, n: int) -> int:
        family, documents = searched.study.family, self._documents(searched)
        pairs = []
        for _ in range(n):
            known = self._n_units.get(family, 0)
            if known and self._draw.randrange(RETURNING_EVERY) == 0:
                unit = self._draw.randrange(known)
            else:
                unit, self._n_units[family] = known, known + 1
            pairs.append((f"user-{unit}", self._draw.choice(documents)))
        traffic = self._users.visit_all(family, pairs)
        self.n_visits += len(traffic.visits)
        self.n_from_journal += traffic.n_from_journal
        return len(traffic.visits)

    def _documents(self, searched: Searched) -> list[Example]:
        """Dev documents of the study, which every trial and the careless edit have been asked about. Never a sealed one."""
        in_study = set((searched.study.dataset or {}).get("dev", ()))
        with self._store.read() as tx:
            return [e for e in self._store.examples.of_split(tx, searched.study.family, split="dev") if e.id in in_study]

    def _tell_decisions(self, bars: Bars, family: str) -> None:
        answer = self._http.get(f"/v1/rollouts/{self.ids[family]}/decisions")
        decisions = answer.raise_for_status().json()["items"]
        for decision in decisions[self._told.get(family, 0) :]:
            if decision["kind"] in TOLD:
                bars.line(f"{family}: {decision['content']['what']}. Why: {decision['reason']}")
        self._told[family] = len(decisions)

    def _move_bar(self, bars: Bars, family: str, rollout: Mapping[str, Any]) -> None:
        share, ended = rollout["share"] or 0.0, rollout["ended_at"] is not None
        where = f"ended: {rollout['outcome']}" if ended else f"{rollout['status']} at {share:.0%}"
        bars.show(family, 100 if ended else round(share * 100), 100, f"{where}, {self._n_units[family]} users so far")

    def _served(self, family: str) -> None:
        """Who gets what now, asked as users."""
        counts: dict[tuple[str, str], int] = {}
        for n in range(N_ASKED):
            served = self._users.fetch(family, f"user-{n}")
            counts[served["role"], served["variant"]] = counts.get((served["role"], served["variant"]), 0) + 1
        shown = "; ".join(f"{n} get {variant} ({role})" for (role, variant), n in sorted(counts.items(), key=lambda item: -item[1]))
        self._screen.say(f"  Of {N_ASKED} users of {family} now: {shown}")

    def _rollout(self, family: str) -> dict[str, Any]:
        answer = self._http.get(f"/v1/families/{family}/rollout")
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body


def _nothing(line: str) -> bool:
    return False
