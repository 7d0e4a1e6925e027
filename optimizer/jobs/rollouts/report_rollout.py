"""Reads a whole rollout for its report: every block and decision, what people see of it now,
and whether its record is whole.
"""

from __future__ import annotations

from optimizer.core.rollout.decision_log import verify_chain
from optimizer.core.rollout.verification import BlockChain, fold
from optimizer.core.serving.rollout import unknown_rollout
from optimizer.core.views.rollout_story import RolloutReport, history_of
from optimizer.jobs.rollouts.rollout_view import rollout_view, with_forecast
from optimizer.jobs.rollouts.verify_rollout import Progress, told
from optimizer.ports import Clock, Store


def report_rollout(id: str, *, store: Store, clock: Clock, progress: Progress | None = None) -> RolloutReport:
    """Reads every block once; ``progress`` hears how many. Raises NotFound for an unknown rollout."""
    chain = BlockChain()
    with store.read() as tx:
        rollout = store.rollouts.get(tx, id)
        if rollout is None:
            raise unknown_rollout(id)
        seen = rollout_view(tx, store, clock, rollout)
        decisions = store.rollouts.decisions(tx, id)
        history = history_of(rollout, fold(rollout, told(store.blocks.each(tx, id), seen.n_blocks, progress), chain))
    return RolloutReport(
        rollout=rollout,
        view=with_forecast(seen, rollout, store=store, clock=clock),
        decisions=tuple(decisions),
        history=history_of(rollout, ()) if chain.problems else history,
        problems=tuple(problem.detail for problem in (*verify_chain(decisions), *chain.problems)),
        made_at=clock.now(),
    )
