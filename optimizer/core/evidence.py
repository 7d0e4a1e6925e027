"""Checks that a Rollout's decisions follow from its blocks: the chain of the blocks, and every judgement made again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from optimizer.core.blocks import FIRST_PREVIOUS_HASH, StoredBlock, block_hash, content_text
from optimizer.core.canonical import canonical_json
from optimizer.core.decisions import Problem
from optimizer.core.judgement import judge
from optimizer.core.moves import is_system
from optimizer.core.rollout import Decision, Rollout, from_record, identity
from optimizer.core.watch import Watch, Watched, after, as_text, begin, from_text

FROM_EVIDENCE = ("advance", "promote", "hold", "resume", "rollback")  # acts that a system actor may only do on evidence


def verify_blocks(blocks: Sequence[StoredBlock]) -> list[Problem]:
    """Every broken link, gap or changed byte, by the number of its block."""
    problems: list[Problem] = []
    previous = FIRST_PREVIOUS_HASH
    for place, b in enumerate(blocks, start=1):
        if b.seq != place:
            problems.append(Problem(seq=None, detail=f"block {place} is missing: the chain goes on with {b.seq}"))
            break
        if b.previous_hash != previous:
            problems.append(
                Problem(seq=None, detail=f"block {b.seq} ({b.kind}) does not follow the one before it: its previous hash is another")
            )
        if _hash_of(b) != b.hash:
            problems.append(
                Problem(seq=None, detail=f"block {b.seq} ({b.kind}) was changed: its content does not give its hash {b.hash[:12]}")
            )
        previous = b.hash
    return problems


def verify_evidence(rollout: Rollout, decisions: Sequence[Decision], blocks: Sequence[StoredBlock]) -> list[Problem]:
    """Decisions whose recorded evidence is not what their blocks say, and moves of the tick without any. The chains must be whole."""
    problems: list[Problem] = []
    watches = _watches(rollout, blocks)
    watch, n = next(watches), 0
    before: Rollout | None = None
    for d in decisions:
        evidence = d.content["inputs"]["evidence"]
        if evidence is None:
            if is_system(d.actor) and d.kind in FROM_EVIDENCE:
                problems.append(Problem(seq=d.seq, detail=f"decision {d.seq} ({d.kind}) was made by {d.actor} without evidence"))
        elif before is not None:
            if evidence["blocks"] > len(blocks):
                detail = f"decision {d.seq} ({d.kind}) rests on {evidence['blocks']} blocks, and only {len(blocks)} are stored"
                problems.append(Problem(seq=d.seq, detail=detail))
                break
            while n < evidence["blocks"]:
                watch, n = next(watches), n + 1
            problems += _again(before, watch, d, evidence)
        before = from_record(identity(rollout), d.content["after"])
    return problems


def verify_watch(rollout: Rollout, blocks: Sequence[StoredBlock], stored: str | None) -> list[Problem]:
    """What the tick goes on from is what all the blocks together say; where the last ones are missing, nothing else would show it."""
    if stored is None:
        return [] if not blocks else [Problem(seq=None, detail=f"{len(blocks)} blocks are stored, and not what the tick knew after them")]
    try:
        known = from_text(stored).watch
    except ValueError as broken:
        return [Problem(seq=None, detail=f"what the tick knew of the rollout cannot be read: {broken}")]
    *_, replayed = _watches(rollout, blocks)
    if as_text(Watched(watch=known)) == as_text(Watched(watch=replayed)):
        return []
    if known.n_blocks > len(blocks):
        return [Problem(seq=None, detail=f"block {len(blocks) + 1} is missing: the tick had closed {known.n_blocks}")]
    return [Problem(seq=None, detail=f"what the tick knew after {known.n_blocks} blocks is not what the {len(blocks)} blocks give")]


def _again(before: Rollout, watch: Watch, d: Decision, evidence: Any) -> list[Problem]:
    found = judge(before, watch, at=d.at, clock_at=datetime.fromisoformat(d.content["inputs"]["clock_at"]))
    if canonical_json(found.evidence) != canonical_json(evidence):
        return [Problem(seq=d.seq, detail=f"decision {d.seq} ({d.kind}) recorded other evidence than its {evidence['blocks']} blocks give")]
    if is_system(d.actor) and found.act != d.kind:
        return [Problem(seq=d.seq, detail=f"decision {d.seq} ({d.kind}) does not follow: its blocks say {found.act}")]
    return []


def _watches(rollout: Rollout, blocks: Sequence[StoredBlock]) -> Iterator[Watch]:
    """The Watch before the first block, and after each."""
    watch = begin(rollout.settings)
    yield watch
    for block in blocks:
        watch = after(watch, block, rollout.settings, rollout.ladder)
        yield watch


def _hash_of(b: StoredBlock) -> str | None:
    try:
        return block_hash(previous_hash=b.previous_hash, seq=b.seq, kind=b.kind, content=content_text(b.content), closed_at=b.closed_at)
    except (TypeError, ValueError):  # content that is no JSON any more
        return None
