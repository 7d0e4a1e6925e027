"""Takes examples from a source into the store: each is checked, masked, put into its split for good, and counted.

Nothing is dropped silently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Annotated, Any

from pydantic import Field

from optimizer.core.base.canonical import digest
from optimizer.core.base.phrasing import count
from optimizer.core.dataset.examples import Example, Split, make_example, more_for_holdout, text_without_group
from optimizer.core.dataset.near_duplicates import MOST_TEXTS, NearDuplicates, near_duplicates
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.masking import Masker, MaskTooSlow
from optimizer.core.family.rendering import with_own_labels
from optimizer.jobs.context import Context
from optimizer.jobs.request import FamilyRequest, StrictModel
from optimizer.ports import Added, Clock, SourceRow, Store, Transaction

BATCH = 100  # rows per transaction: of 500 words each, a second and a half
N_KEPT = 5  # rejected rows kept per reason
CONFLICT = "the same input or id is there with another content"  # the first one stays, since a study may have used it
TWICE = "the same input or id stands in this source before, with another content"
TWO_SPLITS = "it says nearly the same as examples of another split than it would stand in"
SEALED = "it was sealed in a retired family of this name, and its group would open it"
N_REASONS = 20  # said one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What was taken, what was not, and why.

    ``reasons``: reason > number of rows; ``cases``: reason > the first rows it met.
    """

    family: str
    n_read: int
    n_accepted: int
    n_duplicate: int
    n_rejected: int
    reasons: Mapping[str, int]
    cases: Mapping[str, Sequence[str]]
    splits: Mapping[Split, int]  # of the whole family, after this import
    n_gate: int  # holdout examples that the family's gates require
    labels: Mapping[str, int]  # of a family of labels: rows of this source that have each, those without any included
    near_duplicates: NearDuplicates | None = None  # of the whole source, by TextsWithoutGroup
    n_released: int = 0  # of those that were there already: a person vouches for them now
    n_joined: int = 0  # of those taken: they stand in the group of a row that says nearly the same

    @property
    def n_holdout(self) -> int:
        return self.splits.get("holdout", 0)

    def with_next(self, part: ImportReport) -> ImportReport:
        """The report on both parts; ``part`` of the same source was taken after this one."""
        reasons = Counter(self.reasons) + Counter(part.reasons)
        return replace(
            part,
            n_read=self.n_read + part.n_read,
            n_accepted=self.n_accepted + part.n_accepted,
            n_duplicate=self.n_duplicate + part.n_duplicate,
            n_rejected=self.n_rejected + part.n_rejected,
            n_released=self.n_released + part.n_released,
            n_joined=self.n_joined + part.n_joined,
            reasons=dict(reasons),
            cases={why: [*self.cases.get(why, ()), *part.cases.get(why, ())][:N_KEPT] for why in reasons},
            labels={label: n + part.labels.get(label, 0) for label, n in self.labels.items()},
        )

    def sentences(self) -> list[str]:
        """The report for a person, one sentence per fact."""
        lines = [
            f"{self.family}: {count(self.n_read, 'row')} read, {self.n_accepted:,} taken, {self.n_duplicate:,} there"
            f" already, {self.n_rejected:,} not taken."
        ]
        if self.n_released:
            lines.append(f"  of those there already, released for prompts and studies now: {self.n_released}")
        if self.n_joined:
            lines.append(
                f"  of those taken, in one group with a row that says nearly the same, so in its split: {self.n_joined}"
            )
        ordered = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
        for reason, n in ordered[:N_REASONS]:
            lines.append(f"  not taken, {reason}: {n} (such as {', '.join(self.cases[reason])})")
        if len(ordered) > N_REASONS:
            lines.append(
                f"  not taken, for {len(ordered) - N_REASONS} more reasons: {sum(n for _, n in ordered[N_REASONS:])}"
            )
        unused = [label for label, n in self.labels.items() if n == 0]
        if unused:
            lines.append(
                f"  no row of this source has the label{'s' if len(unused) > 1 else ''} {', '.join(map(repr, unused))}"
                " of family.yaml"
            )
        if self.near_duplicates is not None:
            lines.append(self.near_duplicates.text)
        total = sum(self.splits.values())
        lines.append(
            f"The family now has {count(total, 'example')}: {self.splits.get('train', 0)} train,"
            f" {self.splits.get('dev', 0)} dev, {self.n_holdout} holdout."
        )
        if self.n_holdout >= self.n_gate:
            lines.append(f"The gates ask for {count(self.n_gate, 'holdout example')}: enough.")
        else:
            lines.append(
                f"The gates ask for {count(self.n_gate, 'holdout example')} and there are {self.n_holdout}: about"
                f" {more_for_holdout(self.n_gate - self.n_holdout)} more examples give so many. Until then a rollout"
                f" has to be forced, or rollout.gates.n lowered in families/{self.family}/family.yaml."
            )
        return lines


class ImportedRow(StrictModel):
    where: Annotated[str | None, Field(description="What names it for a person, such as `line 12`")] = None
    input: dict[str, Any] = Field(default_factory=dict)
    expected: dict[str, Any] = Field(default_factory=dict)
    id: str | None = None
    group: Annotated[str | None, Field(description="Rows of one group, such as a customer, are in one split")] = None
    rejected: Annotated[str | None, Field(description="Why its source could not be read there; it is counted")] = None


class ImportRequest(FamilyRequest):
    rows: Annotated[Sequence[ImportedRow], Field(description="In the order of their source")]
    curated: Annotated[
        bool, Field(description="A person vouches for the texts: they may be quoted in prompts without a review")
    ] = False


def import_examples(context: Context, request: ImportRequest) -> ImportReport:
    """Takes examples in, and says what was taken, what was not, and why. Safe to repeat.

    A row that cannot be taken is counted with its reason and stops nothing. Rows are kept by 100 in a transaction. Send
    a long source in parts. Rows that are there already are released where `curated` says so.

    Raises NotFound where there is no such family.
    """
    rows = (
        SourceRow(**{**row.__dict__, "where": f"row {place}" if row.where is None else row.where})
        for place, row in enumerate(request.rows, start=1)
    )
    return import_rows(
        rows,
        family=context.family(request.family),
        store=context.store,
        clock=context.clock,
        actor=context.actor,
        curated=request.curated,
    )


def import_rows(
    rows: Iterable[SourceRow], *, family: Family, store: Store, clock: Clock, actor: str, curated: bool
) -> ImportReport:
    """Reads ``rows`` once, in batches of 100, each in a transaction of its own: an import that broke off can be
    repeated.

    Args:
        curated: a person vouches for these texts, so they may become few-shot examples without a review; rows that are
            there already are released, too.
    Returns:
        The report; it counts a row that cannot be taken with its reason, which stops nothing.
    """
    masker, kind, tally = Masker(family.privacy.rules), kind_of(family), _ImportTally(family)

    def add(tx: Transaction, examples: Sequence[Example]) -> tuple[list[Added], int]:
        added = store.examples.add(tx, examples, spelled=partial(with_own_labels, family.output))
        duplicates = [e.id for e, outcome in zip(examples, added, strict=True) if curated and outcome == "duplicate"]
        unreleased = [
            e.id for e in store.examples.standing(tx, family.name, ids=duplicates, groups=()) if not e.released
        ]
        for id in unreleased:
            store.examples.release(tx, family.name, id, actor)
        return added, len(unreleased)

    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        tally.n_read += len(batch)
        examples: list[tuple[SourceRow, Example]] = []
        for row in batch:
            reason = row.rejected or kind.example_fault(family, row.input, row.expected)
            if reason is not None:
                tally.reject(row, reason)
                continue
            try:
                examples.append((row, _example(row, family, masker, clock.now(), curated)))
            except MaskTooSlow:
                tally.reject(row, "a mask of the family's own takes too long for its text")
        verdicts, n_released = store.write(partial(add, examples=[e for _, e in examples]))
        tally.n_released += n_released
        for (row, example), verdict in zip(examples, verdicts, strict=True):
            tally.add(row, example, verdict)
    with store.read() as tx:
        report = tally.report(store.examples.counts(tx, family.name))
    counts = ("n_read", "n_accepted", "n_duplicate", "n_rejected", "n_released")

    def record(tx: Transaction) -> ImportReport:
        store.audit.add(
            tx,
            at=clock.now(),
            actor=actor,
            action="import",
            family=family.name,
            subject="examples",
            detail={**{name: getattr(report, name) for name in counts}, "curated": curated},
        )
        return report

    return store.write(record)


class _ImportTally:
    """What became of the rows so far."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self.n_read, self.n_released, self._n_by_verdict = 0, 0, Counter[Added]()
        self._reasons, self._cases = Counter[str](), dict[str, list[str]]()
        self._ids_taken = set[str]()
        self._labels = dict.fromkeys(family.output.labels or (), 0)

    def reject(self, row: SourceRow, reason: str) -> None:
        self._reasons[reason] += 1
        cases = self._cases.setdefault(reason, [])
        if len(cases) < N_KEPT:
            cases.append(row.where)

    def add(self, row: SourceRow, example: Example, verdict: Added) -> None:
        label = example.expected.get(self._family.output.field)
        if isinstance(label, str) and label in self._labels:
            self._labels[label] += 1
        if verdict == "id_conflict":
            self.reject(row, TWICE if example.id in self._ids_taken else CONFLICT)
        elif verdict == "sealed":
            self.reject(row, SEALED)
        elif verdict == "two_splits":
            self.reject(row, TWO_SPLITS)
        else:
            self._n_by_verdict[verdict] += 1
            if verdict in ("accepted", "joined"):
                self._ids_taken.add(example.id)

    def report(self, splits: Mapping[Split, int]) -> ImportReport:
        return ImportReport(
            family=self._family.name,
            n_read=self.n_read,
            n_accepted=self._n_by_verdict["accepted"] + self._n_by_verdict["joined"],
            n_duplicate=self._n_by_verdict["duplicate"],
            n_rejected=self._reasons.total(),
            reasons=dict(self._reasons),
            cases=self._cases,
            splits=splits,
            n_gate=self._family.rollout.gates.n,
            labels=self._labels,
            n_released=self.n_released,
            n_joined=self._n_by_verdict["joined"],
        )


class TextsWithoutGroup:
    """The texts of a source's rows, stored as they pass: whether many look alike is asked of all of them together."""

    def __init__(self, family: Family) -> None:
        self._family, self._masker = family, Masker(family.privacy.rules)
        self._texts = dict[str, tuple[str, str]]()  # group that stands for the input > (where, text)

    def passing(self, rows: Iterable[SourceRow]) -> Iterator[SourceRow]:
        for row in rows:
            if len(self._texts) < MOST_TEXTS:
                self._keep(row)
            yield row

    def _keep(self, row: SourceRow) -> None:
        kind = kind_of(self._family)
        if not kind.asks_models or row.rejected or kind.example_fault(self._family, row.input, row.expected):
            return
        with suppress(MaskTooSlow):
            example = _example(row, self._family, self._masker, datetime.fromtimestamp(0, UTC), False)
            if text := text_without_group(example):
                self._texts.setdefault(example.group, (row.where, text))

    def with_look_alikes(self, report: ImportReport) -> ImportReport:
        """The report of all rows, with those that look alike."""
        return replace(report, near_duplicates=near_duplicates(dict(self._texts.values())))


def _example(row: SourceRow, family: Family, masker: Masker, at: datetime, curated: bool) -> Example:
    return make_example(
        family=family.name,
        id=_nameless(row.id, masker, "ex_"),
        group=_nameless(row.group, masker, "group_"),
        input=masker.mask(kind_of(family).kept_of(row.input)),
        expected=masker.mask(with_own_labels(family.output, row.expected)),
        origin="curated" if curated else "import",
        created_at=at,
    )


def _nameless(name: str | None, masker: Masker, prefix: str) -> str | None:
    """An id or group as given; its hash where the family's masking would change it.

    So equal names stay equal, and no person is named.
    """
    if name is None or masker.mask(str(name)) == str(name):
        return name
    return prefix + digest(str(name).encode(errors="surrogatepass"))[:24]
