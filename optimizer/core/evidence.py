"""Checks that a Rollout's decisions follow from its blocks: the chain of the blocks, and every judgement made again, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from optimizer.core.blocks import FIRST_PREVIOUS_HASH, StoredBlock, block_hash
from optimizer.core.canonical import canonical_json
from optimizer.core.decisions import Problem
from optimizer.core.judgement import judge
from optimizer.core.moves import is_system
from optimizer.core.rollout import Decision, Rollout, from_record, identity
from optimizer.core.watch import Watch, Watched, after, as_text, begin, from_text

FROM_EVIDENCE = ("advance", "promote", "hold", "resume", "rollback")  # acts that a system actor may only do on evidence


@dataclass(kw_only=True)
class BlockChain:
    """The links of a rollout's blocks as they are read; ``problems`` names every broken link, gap or changed byte by its block."""

    n: int = 0
    head: str = FIRST_PREVIOUS_HASH
    problems: list[Problem] = field(default_factory=list)
    _gap: bool = False

    def read(self, blocks: Iterable[StoredBlock]) -> Iterator[StoredBlock]:
        """Checks every block, and hands on those before the first fault.

        A ValueError of ``blocks`` (a column that holds no value of its type any more, such as a time that is none) ends it as a fault.
        """
        following = iter(blocks)
        while True:
            try:
                block = next(following)
            except StopIteration:
                return
            except ValueError as broken:
                self._say(f"a block cannot be read from the store: {broken}")
                return
            self._check(block)
            if not self.problems:
                yield block

    def cannot_be_folded(self, block: StoredBlock, broken: Exception) -> None:
        self._say(f"block {block.seq} ({block.kind}) holds what no tick closes: {broken!r}")

    def _check(self, b: StoredBlock) -> None:
        """After a gap the rest is only counted: none of it could fit."""
        self.n += 1
        if self._gap:
            return
        if b.seq != self.n:
            self._gap = True
            self._say(f"block {self.n} is missing: the chain goes on with {b.seq}")
            return
        if b.previous_hash != self.head:
            self._say(f"block {b.seq} ({b.kind}) does not follow the one before it: its previous hash is another")
        if _hash_of(b) != b.hash:
            self._say(f"block {b.seq} ({b.kind}) was changed: its content does not give its hash {b.hash[:12]}")
        self.head = b.hash

    def _say(self, detail: str) -> None:
        self.problems.append(Problem(seq=None, detail=detail))


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """One block of a whole chain, and what is known before and after it."""

    block: StoredBlock
    before: Watch
    after: Watch


def fold(rollout: Rollout, blocks: Iterable[StoredBlock], chain: BlockChain) -> Iterator[Folded]:
    """Every block once: checked, and folded for as long as the chain is whole. Nothing is kept, however many there are.

    What it has given before a fault turned up is to be thrown away: look at ``chain.problems`` at the end.
    """
    watch = begin(rollout.settings)
    for block in chain.read(blocks):
        before = watch
        try:
            watch = after(before, block, rollout.settings, rollout.ladder)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as broken:  # hashed anew around what is no outcome
            chain.cannot_be_folded(block, broken)
            continue
        yield Folded(block=block, before=before, after=watch)


class Judged:
    """Decisions whose recorded evidence is not what their blocks say, and moves of the tick without any."""

    def __init__(self, rollout: Rollout, decisions: Sequence[Decision]) -> None:
        self.problems: list[Problem] = []
        self._waiting: list[tuple[Rollout, Decision]] = []  # with the rollout before it, in the order of their blocks
        before: Rollout | None = None
        for d in decisions:
            evidence = d.content["inputs"]["evidence"]
            if evidence is None and is_system(d.actor) and d.kind in FROM_EVIDENCE:
                self._say(d, f"decision {d.seq} ({d.kind}) was made by {d.actor} without evidence")
            elif evidence is not None and before is not None:
                self._waiting.append((before, d))
            before = from_record(identity(rollout), d.content["after"])
        self._waiting.reverse()

    def look(self, watch: Watch) -> None:
        """Judges what rests on exactly the blocks of ``watch``; to be called before the first block, and after each."""
        while self._waiting and self._waiting[-1][1].content["inputs"]["evidence"]["blocks"] <= watch.n_blocks:
            before, d = self._waiting.pop()
            evidence = d.content["inputs"]["evidence"]
            found = judge(before, watch, at=d.at, clock_at=datetime.fromisoformat(d.content["inputs"]["clock_at"]))
            if _text(found.evidence) != _text(evidence):
                self._say(d, f"decision {d.seq} ({d.kind}) recorded other evidence than its {evidence['blocks']} blocks give")
            elif is_system(d.actor) and found.act != d.kind:
                self._say(d, f"decision {d.seq} ({d.kind}) does not follow: its blocks say {found.act}")

    def end(self, n_blocks: int) -> list[Problem]:
        """All problems, now that there are no more blocks."""
        if self._waiting:
            _, d = self._waiting[-1]
            n = d.content["inputs"]["evidence"]["blocks"]
            self._say(d, f"decision {d.seq} ({d.kind}) rests on {n} blocks, and only {n_blocks} are stored")
        return sorted(self.problems, key=lambda p: p.seq or 0)

    def _say(self, d: Decision, detail: str) -> None:
        self.problems.append(Problem(seq=d.seq, detail=detail))


def verify_watch(replayed: Watch, stored: str | None) -> list[Problem]:
    """What the tick goes on from is what all the blocks together say; where the last ones are missing, nothing else would show it."""
    n = replayed.n_blocks
    if stored is None:
        return [] if not n else [Problem(seq=None, detail=f"{n} blocks are stored, and not what the tick knew after them")]
    try:
        known = from_text(stored).watch
    except ValueError as broken:
        return [Problem(seq=None, detail=f"what the tick knew of the rollout cannot be read: {broken}")]
    if as_text(Watched(watch=known)) == as_text(Watched(watch=replayed)):
        return []
    if known.n_blocks > n:
        return [Problem(seq=None, detail=f"block {n + 1} is missing: the tick had closed {known.n_blocks}")]
    return [Problem(seq=None, detail=f"what the tick knew after {known.n_blocks} blocks is not what the {n} blocks give")]


def _hash_of(b: StoredBlock) -> str | None:
    try:
        return block_hash(previous_hash=b.previous_hash, seq=b.seq, kind=b.kind, content=b.text, closed_at=b.closed_at)
    except (TypeError, ValueError):  # bytes that are no text any more
        return None


def _text(evidence: Mapping[str, Any]) -> bytes | None:
    """Without its sentence, which a later version may put better; the decision's own hash holds it."""
    try:
        return canonical_json({name: value for name, value in evidence.items() if name != "reason"})
    except ValueError:  # what canonical JSON cannot hold, such as the NaN of a forged block
        return None
