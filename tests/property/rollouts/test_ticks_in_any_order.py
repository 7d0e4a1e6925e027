"""Two workers' ticks, operators, freezes and users, in any order and at the same time, on a real database:
what stands there stays valid.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st

from optimizer.adapters.store import Database
from optimizer.core.base.errors import Conflict, GateNotMet, StaleVersion
from optimizer.core.rollout.transitions import OPERATOR_ACTS, OperatorAct
from optimizer.core.statistics.outcomes import threshold
from optimizer.core.statistics.quality_gate import ALPHA_SHIP, margin_needed
from optimizer.jobs.rollouts.tick import tick
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from tests.clock import Clock
from tests.examples import n_examples
from tests.rows.rollout_acts import roll_back_champion, start_rollout
from tests.stores import new_database
from tests.worlds.rollout_world import Behaviour, F, World

EXPECTED = (Conflict, GateNotMet, StaleVersion)  # somebody was faster, or it is not allowed: both are answers
BEHAVIOURS = {
    "better": Behaviour(success=1.0),
    "worse": Behaviour(success=0.1),
    "failing": Behaviour(errors=1.0),
    "silent": Behaviour(silent=True),
    "lossy": Behaviour(lost=0.7),
}


@dataclass(frozen=True)
class Step:
    """What happens next. ``at_once``: together with a tick of the second worker, in two threads."""

    kind: str
    word: str = ""
    confirmed: bool = False
    at_once: bool = False


steps = st.one_of(
    st.builds(Step, st.just("tick"), at_once=st.booleans()),
    st.builds(Step, st.just("labels"), st.sampled_from(sorted(BEHAVIOURS))),
    st.builds(Step, st.just("labels"), st.just("better")),
    st.builds(Step, st.just("requests"), st.sampled_from(sorted(BEHAVIOURS))),
    st.builds(Step, st.just("operate"), st.sampled_from(OPERATOR_ACTS), st.booleans(), st.booleans()),
    st.builds(Step, st.sampled_from(["freeze", "unfreeze", "start", "champion"]), at_once=st.booleans()),
    st.builds(Step, st.just("sleep"), st.sampled_from(["20", "70", "400", "-40"])),
)


class Life:
    """One database that two workers and the operators have open, each with connections of their own."""

    def __init__(self, folder: Path) -> None:
        first = new_database(folder)
        self.stores = (first, Database(first.url))
        few = {"min_labelled_per_stage": 20, "guardrails": {"min_history": 50}, "max_labelled": 300}
        settings = {"ladder": [0.3, 0.6], "margin": 0.2, **few}
        self.world = World(store=first, clock=Clock(scale=60.0), rollout_settings=settings)
        self.by: Any = {"actor": "ann", "store": first, "clock": self.world.clock}
        self.world.history(60)
        self.world.start()

    def do(self, step: Step) -> None:
        act = getattr(self, step.kind)
        if not step.at_once:
            self._try(lambda: act(step))
            return
        faults: list[BaseException] = []

        def caught(fn: Callable[[], Any]) -> None:
            try:
                self._try(fn)
            except BaseException as fault:
                faults.append(fault)

        threads = [
            threading.Thread(target=caught, args=(fn,))
            for fn in (lambda: act(step), lambda: tick(self.stores[1], self.world.clock))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []

    def _try(self, fn: Callable[[], Any]) -> None:
        try:
            fn()
        except EXPECTED:
            return
        finally:
            self.world._state = None

    def tick(self, step: Step) -> None:
        tick(self.stores[0], self.world.clock)

    def labels(self, step: Step) -> None:
        self.world.behaviours[self.world.candidate] = BEHAVIOURS[step.word]
        self.world.labels(40)

    def requests(self, step: Step) -> None:
        self.world.behaviours[self.world.candidate] = BEHAVIOURS[step.word]
        self.world.requests(40, 40.0)

    def operate(self, step: Step) -> None:
        word: OperatorAct = step.word  # type: ignore[assignment]
        self.world.operate(word, confirm=F if step.confirmed else None)

    def freeze(self, step: Step) -> None:
        self.world.freeze()

    def unfreeze(self, step: Step) -> None:
        self.world.unfreeze()

    def start(self, step: Step) -> None:
        start_rollout(self.world.family, self.world.candidate, confirm=F, **self.by)

    def champion(self, step: Step) -> None:
        roll_back_champion(F, reason="r", **self.by)

    def sleep(self, step: Step) -> None:
        self.world.clock.pass_seconds(float(step.word))

    def close(self) -> None:
        for store in self.stores:
            store.close()


def check(life: Life) -> None:
    store = life.stores[1]
    with store.read() as tx:
        active = store.rollouts.all_active(tx)
        rollouts = [store.rollouts.latest(tx, F)]
        ids = {c.rollout for c in store.champions.history(tx, F) if c.rollout} | {r.id for r in rollouts if r}
        found = {id: (store.rollouts.get(tx, id), store.rollouts.decisions(tx, id)) for id in ids}
        champion = store.champions.current(tx, F)
    assert len(active) <= 1
    assert champion is not None
    for id, (rollout, decisions) in found.items():
        assert verify_rollout(id, store).problems == ()
        assert [d.seq for d in decisions] == list(range(1, rollout.version + 1)), "one decision per version"
        assert sum(d.kind == "promote" for d in decisions) == (rollout.outcome == "promoted")
        for d in decisions:
            if d.kind in ("advance", "promote") and not d.forced:
                evidence, stage = d.content["inputs"]["evidence"], d.content["before"]["stage"]
                last = stage == len(rollout.ladder) - 1
                assert (d.kind == "promote") == last
                assert evidence["log_e"][f"ship{margin_needed(rollout.ladder[stage], is_last=last)}"] >= threshold(
                    ALPHA_SHIP
                )
                assert evidence["labelled_in_stage"] >= 20
            if d.kind in ("advance", "promote"):
                assert not d.content["before"]["held"]


@settings(max_examples=n_examples(6), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=3, max_size=14))
def test_any_order_of_ticks_operators_freezes_and_traffic_ends_in_a_valid_state(wanted: list[Step]) -> None:
    with tempfile.TemporaryDirectory(prefix="detent-test-") as folder, closing(Life(Path(folder))) as life:
        for step in wanted:
            life.do(step)
        check(life)


@settings(max_examples=n_examples(4), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["advance", "promote", "rollback", "hold", "resume"]), min_size=2, max_size=4))
def test_commands_of_several_people_and_two_ticks_at_the_very_same_time_leave_one_decision_a_version(acts):
    with tempfile.TemporaryDirectory(prefix="detent-test-") as folder, closing(Life(Path(folder))) as life:
        life.labels(Step("labels", "better"))
        life.world.clock.pass_seconds(120)
        barrier, faults = threading.Barrier(len(acts) + 2), []

        def together(fn: Callable[[], Any]) -> None:
            barrier.wait()
            try:
                life._try(fn)
            except BaseException as fault:
                faults.append(fault)

        work: list[Callable[[], Any]] = [
            lambda act=act: life.operate(Step("operate", act, confirmed=True)) for act in acts
        ]
        work += [lambda store=store: tick(store, life.world.clock) for store in life.stores]
        threads = [threading.Thread(target=together, args=(fn,)) for fn in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == []
        check(life)
