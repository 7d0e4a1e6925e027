"""Rollouts as an operator runs them: the commands, the traffic of each stage, both arms, the way up and the ways back."""

from __future__ import annotations

import time
from random import Random
from typing import Any

import httpx

from optimizer.core.dataset import Example
from optimizer.demo.screen import Screen
from optimizer.demo.studies import Searched
from optimizer.demo.users import Traffic, Users
from optimizer.ports import Store

N_UNITS = 60  # per stage; the profile asks for 40 labelled events per stage
FRESH_EVERY = 10  # one document in ten is one that no study has asked about
SERVED_WITHIN_S = 45.0
SETTLE_S = 0.6  # the API looks for changes four times a second


class Rollouts:
    """Both rollouts of the demo; counts what the traffic took from the journal."""

    def __init__(self, *, screen: Screen, users: Users, store: Store, api_url: str) -> None:
        self._screen, self._users, self._store = screen, users, store
        self._http = httpx.Client(base_url=api_url, timeout=30.0, trust_env=False)
        self.n_visits = 0
        self.n_from_journal = 0
        self.forced: list[str] = []
        self.ids: dict[str, str] = {}
        self._shown: set[str] = set()  # families whose status was printed in full
        self.promoted: dict[str, tuple[str, str]] = {}  # family > (champion before, promoted)

    def up_and_promote(self, searched: Searched) -> None:
        """From 10 % up the ladder to the promotion."""
        family = searched.study.family
        if not self._start(searched):
            return
        for share in ("25 %", "50 %", "75 %"):
            self._traffic(searched)
            self._screen.command("rollout", "advance", family, "--reason", f"looked at both arms, on to {share}", "--confirm", family)
            time.sleep(SETTLE_S)
        self._traffic(searched)
        moved_back = self._users.n_moved_back(family)
        self._screen.say(f"  Sticky: {moved_back} of {N_UNITS} units went from the candidate back to the champion while the share grew.")
        before = str(self._rollout(family)["champion"])
        self._screen.command("rollout", "promote", family, "--reason", "the ladder is done", "--confirm", family)
        time.sleep(SETTLE_S)
        self.promoted[family] = (before, str(searched.candidate))
        self._served(family)
        self._screen.command("rollout", "verify", self.ids[family])

    def take_back(self, searched: Searched) -> None:
        """10 %, 25 %, then everything back at once."""
        family = searched.study.family
        if not self._start(searched):
            return
        self._traffic(searched)
        self._screen.command("rollout", "advance", family, "--confirm", family, "--reason", "looked at both arms")
        time.sleep(SETTLE_S)
        self._traffic(searched)
        self._screen.say("Suppose somebody complains. One command, no question asked:")
        self._screen.command("rollout", "rollback", family, "--reason", "the demo takes it back")
        time.sleep(SETTLE_S)
        self._served(family)

    def back_to_the_champion_before(self, family: str) -> None:
        """A champion rollback, where a promotion took place."""
        if family not in self.promoted:
            return
        self._screen.say(f"And the promoted champion of {family} can go at any time, too:")
        self._screen.command("champion", "rollback", family, "--reason", "the demo goes back")
        time.sleep(SETTLE_S)
        self._served(family)

    def _start(self, searched: Searched) -> bool:
        """Starts, approves and waits until the candidate is served; False where there is nothing to start with."""
        study, candidate = searched.study, searched.candidate
        if candidate is None:
            self._screen.say(f"  {study.family}: the study made no other variant than the champion, so there is nothing to roll out.")
            return False
        self._users.forget_paths(study.family)
        if searched.is_nominated:
            self._screen.command("variant", "diff", study.family, candidate)
            self._screen.command("rollout", "start", study.family, candidate)
        else:
            trial = searched.trial_of(candidate)
            assert trial is not None
            self.forced.append(study.family)
            self._screen.say(
                f"No variant of {study.family} was nominated. To show the mechanics, its trial {trial.number} is started as FORCED:"
            )
            self._screen.command("rollout", "start", study.family, candidate, "--confirm", study.family, "--reason", "forced by the demo")
        self.ids[study.family] = str(self._rollout(study.family)["id"])
        self._screen.command("rollout", "approve", study.family, "--reason", "diff reviewed")
        if not self.n_visits:
            self._screen.say(
                "  Most requests below are about documents of the study, so that its journal can answer them. The candidate was chosen on"
            )
            self._screen.say("  these documents, so its arm looks better here than it is: what counts is the confirmation on sealed ones.")
        deadline = time.monotonic() + SERVED_WITHIN_S
        while self._rollout(study.family)["status"] != "deploying":  # by the worker's next tick
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"the rollout of {study.family} was approved and not served within {SERVED_WITHIN_S:.0f} s; see var/logs/worker.log"
                )
            time.sleep(0.2)
        time.sleep(SETTLE_S)
        return True

    def _traffic(self, searched: Searched) -> Traffic:
        """A visit per unit, most of them about documents of the study, and both arms as the server counts them."""
        study = searched.study
        known, fresh = self._documents(searched)
        draw = Random(f"{study.family} {self.n_visits}")  # each user asks about another document in every stage
        pairs = [(f"user-{n}", draw.choice(fresh if fresh and n % FRESH_EVERY == 0 else known)) for n in range(N_UNITS)]
        with self._screen.bars() as bars:
            traffic = self._users.visit_all(
                study.family, pairs, told=lambda n: bars.show(study.family, n, len(pairs), f"{n} of {len(pairs)} requests served")
            )
        self.n_visits += len(traffic.visits)
        self.n_from_journal += traffic.n_from_journal
        self._screen.say(
            f"  {len(traffic.visits)} requests: {traffic.n_from_journal} answered from the journal, "
            f"{len(traffic.visits) - traffic.n_from_journal} by the model; {traffic.n_accepted} events accepted"
        )
        short = study.family in self._shown
        self._shown.add(study.family)
        self._screen.command("rollout", "status", study.family, show=_arms_only if short else _everything)
        return traffic

    def _documents(self, searched: Searched) -> tuple[list[Example], list[Example]]:
        """(dev documents of the study, which both arms have been asked about, other train documents). Never a sealed one."""
        dataset = searched.study.dataset or {}
        with self._store.read() as tx:
            dev = self._store.examples.of_split(tx, searched.study.family, split="dev")
            train = self._store.examples.of_split(tx, searched.study.family, split="train")
        in_study = {*dataset.get("dev", ()), *dataset.get("train", ())}
        return [e for e in dev if e.id in in_study], [e for e in train if e.id not in in_study]

    def _served(self, family: str) -> None:
        """Who gets what now, asked as the same users."""
        counts: dict[tuple[str, str], int] = {}
        for n in range(N_UNITS):
            served = self._users.fetch(family, f"user-{n}")
            counts[served["role"], served["variant"]] = counts.get((served["role"], served["variant"]), 0) + 1
        shown = "; ".join(f"{n} get {variant} ({role})" for (role, variant), n in sorted(counts.items(), key=lambda item: -item[1]))
        self._screen.say(f"  Of {N_UNITS} users now: {shown}")

    def _rollout(self, family: str) -> dict[str, Any]:
        answer = self._http.get(f"/v1/families/{family}/rollout")
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body


def _everything(line: str) -> bool:
    return True


def _arms_only(line: str) -> bool:
    """The ladder and the table of the arms."""
    return line.startswith(("Ladder", "Variant", "v_"))
