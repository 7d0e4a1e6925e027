"""Reads a rollout's whole record: checks both hash chains, a replay of every decision from its blocks, and the rest of
the store; and tells it for its page.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pydantic import computed_field

from optimizer.core.base.answers import shown
from optimizer.core.base.phrasing import count
from optimizer.core.rollout.blocks import StoredBlock
from optimizer.core.rollout.decision_log import RecordProblem, compare, replay, verify_chain
from optimizer.core.rollout.evidence_state import begin
from optimizer.core.rollout.verification import (
    BlockChain,
    CountedUnits,
    PromotionWithdrawal,
    ReplayedDecisions,
    against_audit,
    against_champions,
    against_outbox,
    fold,
    verify_state,
)
from optimizer.core.serving.rollout import Decision, Rollout, visible
from optimizer.core.views.rollout_story import RolloutReport, history_of
from optimizer.jobs.context import Context
from optimizer.jobs.request import ItemRequest
from optimizer.jobs.rollouts.rollout_view import rollout_view, with_forecast
from optimizer.ports import Clock, Store, Transaction

TELL_EVERY = 1000  # blocks between two reports of progress
Progress = Callable[[int, int], None]  # blocks read, and blocks that there should be


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """Whether a record is whole.

    ``head`` is the last hash. Compare it with the one in the log or in MLflow, since a whole chain can be forged anew.
    """

    rollout: str
    n_decisions: int
    n_blocks: int
    head: str | None
    problems: tuple[RecordProblem, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def text(self) -> str:
        if self.ok:
            return (
                f"{self.rollout}: {count(self.n_decisions, 'decision')} and {count(self.n_blocks, 'block')}, every"
                f" link, every replayed state and all evidence fits. Head: {self.head}"
            )
        return f"{self.rollout}: {count(len(self.problems), 'problem')}\n" + "\n".join(
            f"  {shown(p.detail)}" for p in self.problems
        )


def read_verification(context: Context, request: ItemRequest) -> VerifyReport:
    """Whether a rollout's record is whole: both hash chains, every decision again from its blocks, state, audit and
    champions.

    It is read by a process of its own, one at a time; a record of very many blocks is checked by command.
    """
    with context.store.read() as tx:
        visible(context.store.rollouts.get(tx, request.id), request.id, context.access)
    return verify_rollout(request.id, context.store, progress=context.progress)


def verify_rollout(id: str, store: Store, *, progress: Progress | None = None) -> VerifyReport:
    """Names everything in the rollout's record that does not fit; reads every block once.

    Raises NotFound for an unknown rollout.
    """
    with store.read() as tx:
        rollout = visible(store.rollouts.get(tx, id), id)
        try:
            decisions = store.rollouts.decisions(tx, id)
        except ValueError as broken:  # a column holds no value of its type any more, such as a time
            problem = RecordProblem(seq=None, detail=f"a decision cannot be read from the store: {broken}")
            return VerifyReport(rollout=id, n_decisions=0, n_blocks=0, head=None, problems=(problem,))
        replayed, problems = replay(decisions)
        # The family may have been renamed since.
        family_name = replayed.family if replayed is not None else rollout.family
        is_same_family = family_name in store.family_names.names_of(tx, rollout.family)
        as_recorded = replace(rollout, family=family_name) if is_same_family else rollout
        problems = [*verify_chain(decisions), *problems, *compare(replayed, as_recorded)]
        chain, block_problems = _blocks(tx, store, rollout, decisions if not problems else None, progress)
        problems = [*chain.problems, *problems]
        if not problems:  # in a broken record the other checks would only repeat the fault
            problems = [
                *against_audit(decisions, store.audit.of_subject(tx, id)),
                *against_outbox(decisions, store.outbox.last(tx, "rollout", id)),
                *block_problems,
            ]
        problems += against_champions(rollout, store.champions.history(tx, rollout.family))
    head = decisions[-1].hash if decisions else None
    return VerifyReport(rollout=id, n_decisions=len(decisions), n_blocks=chain.n, head=head, problems=tuple(problems))


def with_progress(blocks: Iterable[StoredBlock], n: int, progress: Progress | None) -> Iterator[StoredBlock]:
    """The same blocks; ``progress`` hears of every thousandth."""
    for read, block in enumerate(blocks):
        if progress is not None and read % TELL_EVERY == 0:
            progress(read, n)
        yield block


def _blocks(
    tx: Transaction, store: Store, rollout: Rollout, decisions: Sequence[Decision] | None, progress: Progress | None
) -> tuple[BlockChain, list[RecordProblem]]:
    """The chain of the blocks, and what does not fit them; without decisions only the chain is checked."""
    stored = store.blocks.state(tx, rollout.id)
    chain = BlockChain()
    blocks = with_progress(store.blocks.each(tx, rollout.id), stored.n_blocks if stored is not None else 0, progress)
    if decisions is None:
        deque(chain.read(blocks), maxlen=0)
        return chain, []
    replayed, counted, state = ReplayedDecisions(rollout, decisions), CountedUnits(), begin(rollout.settings)
    taken_back = PromotionWithdrawal(
        rollout, store.champions.history(tx, rollout.family), store.audit.of_subject(tx, rollout.champion)
    )
    replayed.look(state)
    for step in fold(rollout, blocks, chain):
        state = step.after
        counted.add(step.block)
        replayed.look(state)
        taken_back.look(state)
    if chain.problems:
        return chain, []
    try:
        n_matured, n_values = store.unit_counts.sums(tx, rollout.id)
        units = counted.against(state, n_matured=n_matured, n_values=n_values)
    except ValueError as broken:
        units = [RecordProblem(seq=None, detail=f"for what units were counted cannot be read from the store: {broken}")]
    return chain, [
        *replayed.end(chain.n),
        *taken_back.end(chain.n),
        *verify_state(state, stored.state if stored is not None else None),
        *units,
    ]


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
