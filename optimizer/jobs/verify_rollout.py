"""Checks a rollout's record: both hash chains, a replay of every decision from the stored blocks, and the state that stands in the store."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.core.decisions import Problem, compare, replay, verify_chain
from optimizer.core.errors import NotFound
from optimizer.core.evidence import verify_blocks, verify_evidence, verify_watch
from optimizer.core.rollout import iso
from optimizer.ports import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """``head`` is the last hash: compare it with the one in the log or in MLflow, since a whole chain can be rebuilt."""

    rollout: str
    n_decisions: int
    n_blocks: int
    head: str | None
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def text(self) -> str:
        if self.ok:
            return f"{self.rollout}: {self.n_decisions} decisions and {self.n_blocks} blocks, every link, every replayed state and all evidence fits. Head: {self.head}"
        return f"{self.rollout}: {len(self.problems)} problems\n" + "\n".join(f"  {p.detail}" for p in self.problems)


def _unreadable(id: str, what: str, broken: ValueError) -> VerifyReport:
    problem = Problem(seq=None, detail=f"a {what} cannot be read from the store: {broken}")
    return VerifyReport(rollout=id, n_decisions=0, n_blocks=0, head=None, problems=(problem,))


def verify_rollout(id: str, store: Store) -> VerifyReport:
    """Reads the rollout with its decisions and names everything that does not fit. Raises NotFound for an unknown rollout."""
    with store.read() as tx:
        rollout = store.rollouts.get(tx, id)
        if rollout is None:
            raise NotFound(f"There is no rollout {id!r}. See them with: detent rollout status FAMILY.", rollout=id)
        try:
            decisions = store.rollouts.decisions(tx, id)
        except ValueError as broken:  # a column that holds no value of its type any more, such as a time that is none
            return _unreadable(id, "decision", broken)
        try:
            blocks = store.blocks.of_rollout(tx, id)
        except ValueError as broken:
            return _unreadable(id, "block", broken)
        watch = store.blocks.watch(tx, id)
        reigns = [c for c in store.champions.history(tx, rollout.family) if c.rollout == id]
    replayed, problems = replay(decisions)
    problems = [*verify_chain(decisions), *verify_blocks(blocks), *problems, *compare(replayed, rollout)]
    if not problems:  # evidence of a broken record would only repeat what is broken
        problems += [
            *verify_evidence(rollout, decisions, blocks),
            *verify_watch(rollout, blocks, watch.state if watch is not None else None),
        ]
    promoted = rollout.outcome == "promoted"
    if promoted != bool(reigns):
        detail = "was promoted, but no champion names it" if promoted else "was not promoted, but a champion names it"
        problems.append(Problem(seq=None, detail=f"the rollout {detail}"))
    elif reigns and [(c.variant, c.since) for c in reigns] != [(rollout.candidate, rollout.ended_at)]:
        found = ", ".join(f"{c.variant} since {iso(c.since)}" for c in reigns)
        detail = f"the rollout promoted {rollout.candidate} when it ended, but the champions that name it are others: {found}"
        problems.append(Problem(seq=None, detail=detail))
    head = decisions[-1].hash if decisions else None
    return VerifyReport(rollout=id, n_decisions=len(decisions), n_blocks=len(blocks), head=head, problems=tuple(problems))
