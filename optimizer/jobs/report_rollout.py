"""Reads a whole rollout for its report: every block and decision, what people see of it now, and whether its record is whole."""

from __future__ import annotations

from optimizer.core.decisions import verify_chain
from optimizer.core.errors import NotFound
from optimizer.core.evidence import verify_blocks
from optimizer.core.rollout_history import RolloutReport, history_of
from optimizer.jobs.rollout_view import rollout_view, with_forecast
from optimizer.ports import Clock, Store


def report_rollout(id: str, *, store: Store, clock: Clock) -> RolloutReport:
    """Raises NotFound for an unknown rollout."""
    with store.read() as tx:
        rollout = store.rollouts.get(tx, id)
        if rollout is None:
            raise NotFound(f"There is no rollout {id!r}. See them with: detent rollout status FAMILY.", rollout=id)
        seen = rollout_view(tx, store, clock, rollout)
        decisions = store.rollouts.decisions(tx, id)
        blocks = store.blocks.of_rollout(tx, id)
    broken = verify_blocks(blocks)
    problems = tuple(problem.detail for problem in (*verify_chain(decisions), *broken))
    return RolloutReport(
        rollout=rollout,
        view=with_forecast(seen, rollout, store=store, clock=clock),
        decisions=tuple(decisions),
        history=history_of(rollout, () if broken else blocks),
        problems=problems,
        made_at=clock.now(),
    )
