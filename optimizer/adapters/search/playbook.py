"""Strategy ``playbook``: a section of the instruction that grows by lessons from mistakes, as in ACE.

ACE: Zhang et al. 2025, arXiv 2510.04618. The Generator is the best variant so far, on training examples. The Reflector,
a call of the proposer, reads its failures by kind and writes lessons. The Curator takes them into the family's
playbook: a call of the proposer says what to merge and to retire, and rules do the rest. The rest is ours: a new
section first has to do better on the same training examples and then on dev, and entries that bring nothing are
retired, with the figures.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from optimizer.adapters.search.answered_examples import answers, batches, pairs_of
from optimizer.core.base.errors import InvalidInput, ModelFailed
from optimizer.core.base.phrasing import count
from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.family.variant import Variant
from optimizer.core.search import strategy_calls
from optimizer.core.search.playbook.clusters import cluster_failures
from optimizer.core.search.playbook.entries import (
    Add,
    Count,
    Edit,
    Entries,
    Restore,
    Retire,
    Support,
    active,
    apply_edits,
    id_of,
    section_texts,
    with_section,
)
from optimizer.core.search.playbook.reflection import (
    CurationProposal,
    Lesson,
    Limits,
    curate,
    read_curation,
    read_lessons,
    to_curate,
    to_reflect,
)
from optimizer.core.search.space import doc_of, instruction_fault, instruction_of, with_instruction
from optimizer.core.search.strategy import PLAYBOOK, QUALITY, Proposal, SearchSetting, strategy
from optimizer.core.search.strategy_calls import PLAYBOOK_BATCH, TEMPLATES

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DevScore:
    """What a variant is worth on dev."""

    score: float
    by_example: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _PendingProposal:
    """A proposal that waits for its score: entries that it has and its parent has not, and the other way round."""

    parent: str
    new: tuple[str, ...]
    gone: tuple[str, ...] = ()


@strategy(
    name=PLAYBOOK,
    does="writes a section of lessons from what went wrong, and keeps those that help",
    writes="always",
    aims=QUALITY,
    n_trials=lambda definition: definition.n_instructions + strategy_calls.STARTS,
    calls=strategy_calls.playbook_calls,
    proposals=strategy_calls.playbook_proposals,
)
class PlaybookSearch:
    """At most ``n_instructions`` steps; before them the playbook as it stands, and the family's templates.

    A family's templates are the instructions that its space lists, such as the depths of graph_verification.
    """

    def __init__(self, setting: SearchSetting) -> None:
        assert setting.playbook is not None
        self._setting, self._playbook = setting, setting.playbook
        definition = setting.definition
        self._limits = Limits(n_entries=int(definition["playbook_entries"]), n_chars=int(definition["playbook_chars"]))
        self._n_remaining = int(definition["n_instructions"])
        self._parent = setting.start
        self._seen = {setting.start.id}
        self._dev_scores: dict[str, _DevScore] = {}
        self._open: dict[str, _PendingProposal] = {}
        self._entries: Entries = {}
        self._n_steps = 0
        train = [example for example in setting.train if example.released]
        self._batches = batches(train, PLAYBOOK_BATCH, random.Random(setting.seed))
        self._proposals = self._all()

    def ask(self) -> Proposal | None:
        return next(self._proposals, None)

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        id = proposal.variant.id
        if score is not None:
            self._dev_scores[id] = _DevScore(
                score=score, by_example={r.example: r.score for r in results if r.score is not None}
            )
        opened = self._open.pop(id, None)
        best = self._dev_scores.get(self._parent.id)
        is_better = score is not None and (best is None or score > best.score)
        if opened is not None:
            self._judge(opened, self._dev_scores.get(id), self._dev_scores.get(opened.parent))
        if is_better:
            self._parent = proposal.variant

    def _all(self) -> Iterator[Proposal]:
        self._entries = self._playbook.opened()
        # The start with the active entries of earlier studies that its instruction does not show.
        start = self._setting.start
        shown = set(section_texts(instruction_of(start) or ""))
        new = tuple(entry.id for entry in active(self._entries) if entry.text not in shown)
        variant = with_section(start, self._entries.values())
        if new and self._is_usable(start, variant):
            self._open[variant.id] = _PendingProposal(parent=start.id, new=new)
            yield Proposal(
                variant=variant, proposer=PLAYBOOK, params={"from": "playbook", "n_entries": len(active(self._entries))}
            )
        setting = self._setting
        listed = [(space.get("instruction") or {}).get("choices") for space in (setting.space, setting.family.space)]
        for number, text in enumerate(next(filter(None, listed), ())[:TEMPLATES], 1):
            variant = with_section(with_instruction(setting.start, text), self._entries.values())
            if self._is_usable(setting.start, variant):
                yield Proposal(variant=variant, proposer=PLAYBOOK, params={"from": "template", "template": number})
        while self._n_remaining > 0 and (batch := next(self._batches, None)) is not None:
            self._n_remaining -= 1
            self._n_steps += 1
            proposal = self._step(self._parent, batch)
            if proposal is not None:
                yield proposal

    def _step(self, parent: Variant, batch: Sequence[Example]) -> Proposal | None:
        """One proposal. What fails on the way ends this one, not the study."""
        before = answers(self._setting, parent, batch)
        clusters = cluster_failures(before, self._setting.family.output)
        if not clusters:
            log.info("nothing_to_learn_from", strategy=PLAYBOOK, step=self._n_steps)
            return None
        # The Reflector's lessons, without those that no prompt may show.
        text = self._answer_of(to_reflect(doc_of(parent), clusters), "reflect")
        if text is None:
            return None
        try:
            lessons, faults = read_lessons(text, clusters)
        except ValueError as unreadable:
            lessons, faults = [], [str(unreadable)]
        for fault in faults:
            log.warning("proposal_unusable", strategy=PLAYBOOK, step=self._n_steps, why=fault)
        lessons = [lesson for lesson in lessons if not self._leaks(lesson.text)]
        if not lessons:
            return None
        edits = curate(self._entries, lessons, self._proposed_changes(lessons), self._limits)
        entries = apply_edits(self._entries, edits)
        was, is_now = ({entry.id for entry in active(some)} for some in (self._entries, entries))
        new = tuple(entry.id for entry in active(entries) if entry.id not in was)
        child = with_section(parent, entries.values())
        if not new or not self._is_usable(parent, child):
            self._keep([edit for edit in edits if isinstance(edit, Support)])
            return None
        pairs = pairs_of(before, answers(self._setting, child, batch))
        counts = _counts(new, pairs)
        if sum(after - first for first, after in pairs) <= 0:
            log.info("proposal_no_better", strategy=PLAYBOOK, step=self._n_steps, pairs=len(pairs))
            why = _no_better(pairs, "training example")
            tried = [edit for edit in edits if isinstance(edit, Add) and id_of(edit.text) in new]
            self._keep([*tried, *counts, *(Retire(id=id, reason=why) for id in new)])
            return None
        removed = tuple(entry.id for entry in self._entries.values() if entry.id in was - is_now)
        self._keep([*edits, *counts])
        self._open[child.id] = _PendingProposal(parent=parent.id, new=new, gone=removed)
        n = len(pairs)
        params = {
            "step": self._n_steps,
            "parent": parent.id,
            "batch_before": sum(first for first, _ in pairs) / n,
            "batch_after": sum(after for _, after in pairs) / n,
            "n_new": len(new),
            "n_entries": len(is_now),
        }
        return Proposal(variant=child, proposer=PLAYBOOK, params=params)

    def _proposed_changes(self, lessons: Sequence[Lesson]) -> CurationProposal:
        """What the Curator proposes for the present entries; nothing where it fails, or there are none."""
        entries = active(self._entries)
        text = self._answer_of(to_curate(entries, lessons), "curate") if entries else None
        if text is None:
            return CurationProposal()
        try:
            proposed = read_curation(text)
        except ValueError as fault:
            log.warning("proposal_unusable", strategy=PLAYBOOK, step=self._n_steps, why=str(fault))
            return CurationProposal()
        merges = [(ids, merged) for ids, merged in proposed.merges if not self._leaks(merged)]
        return CurationProposal(merges=merges, retirements=proposed.retirements)

    def _answer_of(self, prompt: str, role: str) -> str | None:
        try:
            return self._setting.propose([{"role": "user", "content": prompt}], f"{PLAYBOOK}:{self._n_steps}:{role}")
        except (ModelFailed, InvalidInput) as failure:
            log.warning("proposal_failed", strategy=PLAYBOOK, step=self._n_steps, role=role, why=failure.detail)
            return None

    def _leaks(self, text: str) -> bool:
        return self._setting.leaks(Variant(messages=({"role": "user", "content": text},)))

    def _judge(self, opened: _PendingProposal, child: _DevScore | None, parent: _DevScore | None) -> None:
        """Counts what the new entries did on dev; where they brought nothing, what they replaced is active again."""
        if child is None or parent is None:
            why, edits = "what they do on dev could not be measured", list[Edit]()
        else:
            both = parent.by_example.keys() & child.by_example.keys()
            pairs = [(parent.by_example[id], child.by_example[id]) for id in sorted(both)]
            edits = _counts(opened.new, pairs)
            if child.score > parent.score:
                self._keep(edits, judged=True)
                return
            why = _no_better(pairs, "dev example")
        self._keep(
            [
                *edits,
                *(Retire(id=id, reason=why) for id in opened.new),
                *(Restore(id=id) for id in opened.gone),
            ],
            judged=True,
        )

    def _keep(self, edits: Sequence[Edit], *, judged: bool = False) -> None:
        """Numbered by the place in the search."""
        if not edits:
            return
        self._playbook.keep(1 + 2 * self._n_steps + judged, edits)
        self._entries = apply_edits(self._entries, edits)

    def _is_usable(self, before: Variant, variant: Variant) -> bool:
        why_not = instruction_fault(before, variant, self._seen, self._setting.fits, self._setting.leaks)
        if why_not is not None:
            log.warning("proposal_unusable", strategy=PLAYBOOK, step=self._n_steps, why=why_not)
            return False
        self._seen.add(variant.id)
        return True


def _counts(ids: Sequence[str], pairs: Sequence[tuple[float, float]]) -> list[Edit]:
    """The counts from scores without the entries and with them."""
    helpful, harmful = sum(after > before for before, after in pairs), sum(after < before for before, after in pairs)
    return [Count(id=id, helpful=helpful, harmful=harmful) for id in ids] if helpful or harmful else []


def _no_better(pairs: Sequence[tuple[float, float]], what: str) -> str:
    helpful, harmful = sum(after > before for before, after in pairs), sum(after < before for before, after in pairs)
    return f"no better on {count(len(pairs), what)}: {helpful} helped, {harmful} harmed"
