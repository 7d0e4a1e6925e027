"""The week after a promotion: the new champion beside the one before it, which 5 % of the units still get.

The blocks and evidence of the rollout go on. A guardrail takes the promotion back by itself. A drop in quality only
opens an alert that proposes to, since labels come late and a person should look.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import structlog

from optimizer.core.base.errors import Conflict, Refused, StaleVersion
from optimizer.core.base.phrasing import when
from optimizer.core.rollout.cohorts import closing_time
from optimizer.core.rollout.next_action import ACTOR, guardrail_alarm
from optimizer.core.serving.assignment import held_back_until
from optimizer.core.serving.rollout import Champion, Rollout, is_frozen, iso
from optimizer.core.statistics.stopping_rule import e_value_text, harm_evidence
from optimizer.jobs.families.each_family import each_family
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.read_freezes import freezes_of
from optimizer.jobs.rollouts.change_champion import ChampionRollbackRequest, Grounds, return_to_earlier
from optimizer.jobs.rollouts.watch_rollout import ENDED, MAX_STEPS, UNTIL_NEXT, look_after_promotion, write_blocks
from optimizer.ports import Alert, Clock, Store, Transaction

WORSE = "champion_worse"
LAST_TICKS = timedelta(minutes=1)  # after a holdback, in which its last cohort closes
Found = Literal["watched", "rolled_back", "overtaken", "failed"]
log = structlog.get_logger(__name__)


def watch_holdbacks(store: Store, clock: Clock, at: datetime) -> dict[str, Found]:
    """Watches every family in the week after its promotion, and says what became of each.

    ``at`` is the tick's real time. What kept one family from being watched is raised once the others have been.
    """
    with store.read() as tx:
        freezes = store.freezes.all(tx)
        champions = store.champions.all_current(tx)
        in_holdback = {
            champion.family: (champion, rollout)
            for champion in champions
            if not is_frozen(freezes, champion.family)
            and (rollout := rollout_of_holdback(tx, store, clock, champion)) is not None
        }
        # Alerts about a champion whose tenure is over.
        alerts = store.alerts.all(tx, open_only=True, kind=WORSE)
        now = {champion.family: champion.variant for champion in champions}
        over = [alert for alert in alerts if now.get(alert.family or "") != alert.subject]
    for alert in over:
        store.write(lambda tx, alert=alert: store.alerts.close(tx, WORSE, alert.family, alert.subject, at))  # type: ignore[misc]

    def watch(promoted: tuple[Champion, Rollout]) -> tuple[str, Found]:
        family = promoted[0].family
        try:
            return family, _watch(store, clock, *promoted, at)
        except (StaleVersion, Conflict):  # a person acted meanwhile; the next tick looks again
            return family, "overtaken"
        except Refused as cannot:  # the clock went back
            log.warning("holdback not watched", family=family, why=cannot.detail)
            return family, "failed"

    return dict(each_family(in_holdback, watch))


def rollout_of_holdback(tx: Transaction, store: Store, clock: Clock, champion: Champion) -> Rollout | None:
    """The rollout that promoted this champion, while it is still watched; else None."""
    rollout = store.rollouts.latest(tx, champion.family) if champion.rollout is not None else None
    if rollout is None or rollout.id != champion.rollout:
        return None
    until = held_back_until(rollout, clock.scale, freezes_of(tx, store, champion.family, clock.now()))
    return (
        rollout
        if until is not None and clock.now() < until + closing_time(rollout) / clock.scale + LAST_TICKS
        else None
    )


def _watch(store: Store, clock: Clock, champion: Champion, rollout: Rollout, at: datetime) -> Found:
    for _ in range(MAX_STEPS):
        with store.read() as tx:
            blocks = look_after_promotion(tx, store, clock, rollout, at)
        store.write(lambda tx, blocks=blocks: write_blocks(tx, store, blocks))  # type: ignore[misc]
        if not blocks.more:
            break
    state = blocks.known.state
    alarm = guardrail_alarm(rollout, state, at=at)
    # The tick does not take back what a person did.
    if alarm is not None and bool(rollout.settings.get("adopted")):
        detail = (
            f"{champion.variant} does worse than {rollout.champion}, which 5 % of the users still get: {alarm}."
            f" {champion.by} adopted it at {when(champion.since)}. Nothing was changed. Take it back: detent champion"
            f" rollback {champion.family}. Look: detent rollout status {champion.family}"
        )
        store.write(lambda tx: store.alerts.open(tx, _alert(champion, detail, at)))
        return "watched"
    if alarm is not None:
        why = (
            f"{alarm}; compared with the champion before it in the holdback of {rollout.id} (block {state.n_blocks},"
            f" {state.head[:12]})"
        )
        evidence = {"rollout": rollout.id, "blocks": state.n_blocks, "head": state.head, "alarm": alarm, "at": iso(at)}
        f = champion.family
        detail = (
            f"The promotion of {champion.variant} by rollout {rollout.id} was taken back: {alarm}. From {when(at)} on"
            f" {rollout.champion} was champion of {f} again. {UNTIL_NEXT} Look: detent champion history {f}"
        )
        report = return_to_earlier(
            ChampionRollbackRequest(family=champion.family, reason=why, expect=champion.variant),
            actor=ACTOR,
            store=store,
            clock=clock,
            grounds=Grounds(
                evidence=evidence,
                alert=Alert(
                    id=new_id("al"), kind=ENDED, level="critical", family=f, subject=f, opened_at=at, detail=detail
                ),
            ),
        )
        if not report.changed:
            return "overtaken"
        log.warning("champion rolled back", family=champion.family, what=report.what, why=why)
        return "rolled_back"
    # Else jobs/champions/watch_switch.py.
    # The quality gate compares both arms in the same hours, so drift that both share moves nothing.
    whole = state.whole_days
    harm = harm_evidence(state.quality.peaks, None if whole is None else whole.peak("roll"))
    if harm.proven and not champion.forced:
        detail = (
            f"{champion.variant}, promoted by {rollout.id}, does worse than {rollout.champion}, which 5 % of the users"
            f" still get: evidence {e_value_text(harm.log_e)}, {1 / harm.alpha:.1f} suffices. Look: detent rollout"
            f" status {champion.family}. The way back: detent champion rollback {champion.family}"
        )
        store.write(lambda tx: store.alerts.open(tx, _alert(champion, detail, at)))
    return "watched"


def _alert(champion: Champion, detail: str, at: datetime) -> Alert:
    return Alert(
        id=new_id("al"),
        kind=WORSE,
        level="critical",
        family=champion.family,
        subject=champion.variant,
        opened_at=at,
        detail=detail,
    )
