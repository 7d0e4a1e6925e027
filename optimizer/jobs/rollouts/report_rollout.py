"""Reads a whole rollout for its report: every block and decision, its present view, and whether its record is whole."""

from __future__ import annotations

from optimizer.core.rollout.decision_log import verify_chain
from optimizer.core.rollout.verification import BlockChain, fold
from optimizer.core.serving.rollout import visible
from optimizer.core.views.rollout_story import RolloutReport, history_of
from optimizer.jobs.context import Context
from optimizer.jobs.request import ItemRequest
from optimizer.jobs.rollouts.rollout_view import rollout_view, with_forecast
from optimizer.jobs.rollouts.verify_rollout import Progress, with_progress
from optimizer.ports import Clock, Store


def read_report(context: Context, request: ItemRequest) -> RolloutReport:
    """A rollout told from its blocks, for its page: what happened, on which evidence, and what the gates cannot see.

    It is read by a process of its own, one at a time; a record of very many blocks is read by command.
    """
    with context.store.read() as tx:
        visible(context.store.rollouts.get(tx, request.id), request.id, context.access)
    return report_rollout(request.id, store=context.store, clock=context.clock, progress=context.progress)


def report_rollout(id: str, *, store: Store, clock: Clock, progress: Progress | None = None) -> RolloutReport:
    """Reads every block once; calls ``progress`` with how many it read. Raises NotFound for an unknown rollout."""
    chain = BlockChain()
    with store.read() as tx:
        rollout = visible(store.rollouts.get(tx, id), id)
        view = rollout_view(tx, store, clock, rollout)
        decisions = store.rollouts.decisions(tx, id)
        history = history_of(
            rollout, fold(rollout, with_progress(store.blocks.each(tx, id), view.n_blocks, progress), chain)
        )
    return RolloutReport(
        rollout=rollout,
        view=with_forecast(view, rollout, store=store, clock=clock),
        decisions=tuple(decisions),
        history=history_of(rollout, ()) if chain.problems else history,
        problems=tuple(problem.detail for problem in (*verify_chain(decisions), *chain.problems)),
        made_at=clock.now(),
    )
