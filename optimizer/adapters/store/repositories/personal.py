"""Finds and takes out what any table holds of one person; what is summed up or decided stays.

Rows under the person's unit are deleted. Of each other table one function says what becomes of a row that shows the
person; a table without one loses the texts and names that do, so a table that comes later is not forgotten here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    String,
    Table,
    and_,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)

from optimizer.adapters.store.example_places import drop_bands
from optimizer.adapters.store.family_names import FamilyKey
from optimizer.adapters.store.rows import chunks
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS, METADATA
from optimizer.adapters.store.tables.events import IDEMPOTENCY_KEYS as KEYS, LATER_PARTS as LATER
from optimizer.adapters.store.tables.examples import EXAMPLE_INDEXES as INDEXES, EXAMPLES, GRAPHS, STUDENTS
from optimizer.adapters.store.tables.rollouts import OVERRIDES
from optimizer.adapters.store.tables.studies import STUDIES, TRIAL_RESULTS as RESULTS
from optimizer.core.base.canonical import texts_in
from optimizer.core.feedback.personal_traces import LEAST_NAME, PersonalTraces, RowName, is_name
from optimizer.core.feedback.review_kinds import RELEASE_EXAMPLE
from optimizer.core.feedback.traffic_sums import hash_of
from optimizer.ports.deletion import RowKey, TracedRows, UnitRows

Row = RowMapping
Change = Mapping[str, Any] | None  # new values; None deletes the row, an empty mapping leaves it
OfRow = Callable[[Row, PersonalTraces], Change]
Narrowing = Callable[[Table, PersonalTraces], ColumnElement[bool]]
AT_ONCE = 500
# Sums and what was decided, which hold no unit and no text of users; keys and names; and other people's own rows.
LEFT_ALONE = frozenset(
    {
        "api_keys",
        "arm_stats",
        "callers",
        "champions",
        "cohort_blocks",
        "decisions",
        "example_bands",
        "example_indexes",
        "example_renderings",
        "exposure_counts",
        "exposure_sums",
        "family_names",
        "feedback_events",
        "freezes",
        "graphs",
        "interactions",
        "key_usage",
        "later_parts",
        "minute_stats",
        "overrides",
        "pipeline_hours",
        "rollouts",
        "serving_version",
        "stat_sums",
        "student_bypasses",
        "student_watches",
        "students",
        "tier_answers",
        "truncated_inputs",
        "variant_performance",
        "watermarks",
    }
)


class PersonalTables:
    """ports.PersonalData on the database."""

    def of_unit(self, tx: Connection, unit: str) -> UnitRows:
        keys: dict[str, list[RowKey]] = {}
        names, requests, corrections, others = {hash_of(unit)}, list[list[str]](), list[str](), list[str]()
        examples = set[RowName]()
        i, f, e = INTERACTIONS.c, FEEDBACK_EVENTS.c, EXAMPLES.c
        columns = i.input, i.tags, i.output, i.parts, i.conversation
        interactions: dict[str, list[str]] = {}  # by family
        for row in tx.execute(select(i.family, i.id, *columns).where(i.unit_hmac == unit)):
            keys.setdefault(INTERACTIONS.name, []).append((row.family, row.id))
            interactions.setdefault(row.family, []).append(row.id)
            requests.append(texts_in(row.input))
            others += texts_in([row.output, row.tags, [part.get("output") for part in row.parts or ()]])
            names |= {row.id, *([row.conversation] if len(row.conversation or "") >= 2 * LEAST_NAME else ())}
        of_interactions = [(family, some) for family, ids in interactions.items() for some in chunks(ids)]
        for family, some in of_interactions:
            named = and_(LATER.c.family == family, LATER.c.interaction.in_(some))
            for later in tx.execute(select(LATER.c.interaction, LATER.c.parts).where(named)):
                keys.setdefault(LATER.name, []).append((family, later.interaction))
                others += texts_in([part.get("output") for part in later.parts])
        events = select(f.family, f.id, f.tags, f.label, f.expected)
        for condition in _whose(FEEDBACK_EVENTS, unit, of_interactions):
            for event in tx.execute(events.where(condition)):
                keys.setdefault(FEEDBACK_EVENTS.name, []).append((event.family, event.id))
                corrections += texts_in([event.label, event.expected])
                others += texts_in(event.tags)
                names |= {event.id, f"co_{event.id}"}
                examples.add((event.family, f"co_{event.id}"))
        for condition in _whose(EXAMPLES, unit, of_interactions):
            for example in tx.execute(select(e.family, e.id, e.input, e.expected).where(condition)):
                keys.setdefault(EXAMPLES.name, []).append((example.family, example.id))
                requests.append(texts_in(example.input))
                corrections += texts_in(example.expected)
                names.add(example.id)
                examples.add((example.family, example.id))
        for condition in _whose(GRAPHS, unit, of_interactions):
            for graph in tx.execute(select(GRAPHS.c.id, GRAPHS.c.given).where(condition)):
                keys.setdefault(GRAPHS.name, []).append((graph.id,))
                others += texts_in(graph.given)
                names.add(graph.id)
        for override in tx.execute(select(OVERRIDES.c.family).where(OVERRIDES.c.unit_hmac == unit)):
            keys.setdefault(OVERRIDES.name, []).append((override.family, unit))
        traces = PersonalTraces.of(
            unit,
            names=filter(is_name, names),
            examples=examples,
            interactions=((family, id) for family, ids in interactions.items() for id in ids),
            requests=requests,
            corrections=corrections,
            others=others,
        )
        # A row without a person that quotes them goes as a copy, and with it what learned from it.
        of_nobody = e.unit_hmac.is_(None), e.family.in_(select(STUDENTS.c.family))
        rows = tx.execute(select(e.family, e.id, e.input, e.expected).where(*of_nobody)) if keys else ()
        copies = {(row.family, row.id) for row in rows if _quotes([row.input, row.expected], traces)}
        learned = {STUDENTS.name: [*_students_of(tx, examples | copies)], INDEXES.name: [*_indexes_of(tx, traces)]}
        # A variant that names one goes, too.
        traces = replace(traces, names=traces.names | {id for rows in learned.values() for _, id in rows})
        keys = learned | keys  # before the rows by which alone it is found, should the process be killed between them
        return UnitRows(keys={table: list(dict.fromkeys(of)) for table, of in keys.items() if of}, traces=traces)

    def remove(self, tx: Connection, table: str, keys: Sequence[RowKey]) -> int:
        rows = _table(table)
        n = sum(tx.execute(delete(rows).where(_named(rows, some))).rowcount for some in chunks(keys))
        if table == EXAMPLES.name:
            drop_bands(tx, [(family, id) for family, id in keys])
        return n

    def remove_answers(self, tx: Connection, unit: str) -> int:
        written = json.dumps(unit, ensure_ascii=False)
        return tx.execute(delete(KEYS).where(func.instr(type_coerce(KEYS.c.answer, String), written) > 0)).rowcount

    def tables(self) -> Sequence[str]:
        return sorted(table.name for table in METADATA.sorted_tables if table.name not in LEFT_ALONE)

    def traced(self, tx: Connection, table: str, traces: PersonalTraces, after: RowKey | None) -> TracedRows:
        rows = _table(table)
        place = list(rows.primary_key.columns)
        query = _rows_of(rows).order_by(*place).limit(AT_ONCE)
        if after is not None:
            limits = zip(after, place, strict=True)
            query = query.where(tuple_(*place) > tuple_(*(literal(value, column.type) for value, column in limits)))
        if (narrowed := _NARROWED.get(table)) is not None:
            query = query.where(narrowed(rows, traces))
        page = tx.execute(query).mappings().all()
        keys = [_key(rows, row) for row in page if _change(rows, row, traces) != {}]
        return TracedRows(keys=keys, after=_key(rows, page[-1]) if len(page) == AT_ONCE else None)

    def clear(self, tx: Connection, table: str, traces: PersonalTraces, keys: Sequence[RowKey]) -> int:
        rows, n = _table(table), 0
        for some in chunks(keys):
            query = _rows_of(rows).where(_named(rows, some))
            for row in tx.execute(query).mappings().all():
                values = _change(rows, row, traces)
                if values is None:
                    n += self.remove(tx, table, [_key(rows, row)])
                elif values:
                    n += tx.execute(update(rows).where(_named(rows, [_key(rows, row)])).values(**values)).rowcount
        return n


# --- rows by name -----------------------------------------------------------------------------------------------------


def _table(name: str) -> Table:
    return METADATA.tables[name]


def _rows_of(table: Table) -> Select[Any]:
    """With the family of each, where only the study of a row knows it."""
    if table is not RESULTS:
        return select(table)
    family = select(STUDIES.c.family).where(STUDIES.c.id == table.c.study).scalar_subquery()
    return select(table, family.label("family"))


def _named(table: Table, keys: Sequence[RowKey]) -> ColumnElement[bool]:
    return tuple_(*table.primary_key.columns).in_(keys)


def _key(table: Table, row: Row) -> RowKey:
    return tuple(row[column.name] for column in table.primary_key.columns)


def _whose(
    table: Table, unit: str, of_interactions: Iterable[tuple[str, Sequence[str]]]
) -> Iterable[ColumnElement[bool]]:
    """Rows under the unit, and rows without one that are about an interaction of it."""
    yield table.c.unit_hmac == unit
    for family, some in of_interactions:
        yield and_(table.c.family == family, table.c.interaction.in_(some))


def _students_of(tx: Connection, examples: Collection[RowKey]) -> Iterable[RowKey]:
    """Students that learned from one of these examples."""
    for family in {family for family, _ in examples}:
        own = {id for its, id in examples if its == family}
        for row in tx.execute(select(STUDENTS.c.id, STUDENTS.c.rows).where(STUDENTS.c.family == family)):
            if not own.isdisjoint(row.rows):
                yield (family, row.id)


def _indexes_of(tx: Connection, traces: PersonalTraces) -> Iterable[RowKey]:
    """Lists that hold one of these examples, or quote the person."""
    for row in tx.execute(select(INDEXES.c.family, INDEXES.c.id, INDEXES.c.examples)):
        if any(
            (row.family, example["id"]) in traces.examples or _quotes([example["input"], example["output"]], traces)
            for example in row.examples
        ):
            yield (row.family, row.id)


# --- what becomes of a row that shows the person ----------------------------------------------------------------------


def _change(table: Table, row: Row, traces: PersonalTraces) -> Change:
    if (change := _CHANGES.get(table.name)) is not None:
        return change(row, traces)
    return _without(table, row, traces, shows=traces.are_quoted_in)


def _without(table: Table, row: Row, traces: PersonalTraces, *, shows: Callable[[str], bool]) -> Change:
    """Its texts without those that show the person, and under other names."""
    values: dict[str, Any] = {}
    for column in table.columns:
        value = row[column.name]
        is_text = isinstance(value, str | dict | list) and not isinstance(column.type, FamilyKey)
        if is_text and not column.primary_key and (cleared := traces.without(value, shows=shows)) != value:
            values[column.name] = cleared
    return values


def _quotes(value: Any, traces: PersonalTraces) -> bool:
    texts = texts_in(value)
    return any(map(traces.are_named_in, texts)) or traces.are_quoted_in("\n".join(texts))


def _texts_of(*names: str) -> OfRow:
    """These columns are emptied where one of them shows the person; the figures beside them stay."""

    def change(row: Row, traces: PersonalTraces) -> Change:
        return (
            dict.fromkeys(names) if any(traces.are_shown_in("\n".join(texts_in(row[name]))) for name in names) else {}
        )

    return change


def _whole(*names: str) -> OfRow:
    """The row goes where one of these columns quotes or names the person."""
    return lambda row, traces: None if any(_quotes(row[name], traces) for name in names) else {}


def _variant(row: Row, traces: PersonalTraces) -> Change:
    shown = row["content"].get("examples") or ()
    if any(traces.is_example(row["family"], example["id"]) for example in shown):
        return None
    return _whole("content", "note")(row, traces)


def _of_example(row: Row, traces: PersonalTraces) -> Change:
    """The row goes with the example that it is about."""
    return None if traces.is_example(row["family"], row["example"]) else {}


def _review(row: Row, traces: PersonalTraces) -> Change:
    theirs = traces.examples if row["kind"] == RELEASE_EXAMPLE else traces.interactions
    return None if (row["family"], row["subject"]) in theirs else _whole("subject", "payload")(row, traces)


def _record(row: Row, traces: PersonalTraces) -> Change:
    """What was done to a row of theirs was done to something without a name."""
    values: dict[str, Any] = dict(_without(_table("audit"), row, traces, shows=traces.are_quoted_in) or {})
    family, subject = row["family"], row["subject"]
    if subject != family and any((family, subject) in rows for rows in (traces.examples, traces.interactions)):
        values["subject"] = traces.alias(subject)
    return values | _without_interactions("detail", values.get("detail", row["detail"]), family, traces)


def _without_interactions(column: str, value: Any, family: str, traces: PersonalTraces) -> dict[str, Any]:
    """The column with its list of interactions in which theirs have other names; nothing where none of them is."""
    if not isinstance(ids := value.get("interactions"), list):
        return {}
    others = [traces.alias(id) if (family, id) in traces.interactions else id for id in ids]
    return {column: value | {"interactions": others}} if others != ids else {}


def _without_examples(ids: Iterable[str], family: str, traces: PersonalTraces) -> list[str]:
    """As many, with theirs under other names."""
    return [traces.alias(id) if traces.is_example(family, id) else id for id in ids]


def _result(row: Row, traces: PersonalTraces) -> Change:
    texts = "output", "error", "judgement"
    if not traces.is_example(row["family"], row["example"]):
        return _texts_of(*texts)(row, traces)
    return {**dict.fromkeys(texts), "call_key": None, "example": traces.alias(row["example"])}


def _entry(row: Row, traces: PersonalTraces) -> Change:
    """An entry that was learned from the person alone or quotes them loses its text; it stays as one that has gone."""
    evidence = [id for id in row["evidence"] if not traces.is_example(row["family"], id)]
    is_quoted = traces.are_quoted_in(row["text"])
    if not is_quoted and len(evidence) == len(row["evidence"]):
        return {}
    values: dict[str, Any] = {"evidence": evidence}
    if is_quoted or not evidence:
        values |= {"text": "", "state": "retired", "reason": "a person that it was learned from was forgotten"}
    return values


def _run(row: Row, traces: PersonalTraces) -> Change:
    if row["kind"] == "forget":  # the run itself knows the unit until its end
        return {}
    values: dict[str, Any] = dict(_without(_table("judge_runs"), row, traces, shows=traces.are_shown_in) or {})
    return values | _without_interactions("request", values.get("request", row["request"]), row["family"], traces)


def _study(row: Row, traces: PersonalTraces) -> Change:
    values: dict[str, Any] = dict(_without(_table("studies"), row, traces, shows=traces.are_shown_in) or {})
    parts = values.get("dataset", row["dataset"]) or {}
    named = {
        name: _without_examples(part, row["family"], traces) if isinstance(part, list) else part
        for name, part in parts.items()
    }
    return values | {"dataset": named} if named != parts else values


def _step(row: Row, traces: PersonalTraces) -> Change:
    record = [
        edit | {"evidence": _without_examples(edit["evidence"], row["family"], traces)} if "evidence" in edit else edit
        for edit in row["record"]
    ]
    return {"record": record} if record != row["record"] else {}


def _sum(row: Row, traces: PersonalTraces) -> Change:
    """The unit's hash goes, and what it reported stays in the sums."""
    units = {name: outcomes for name, outcomes in row["units"].items() if name not in traces.names}
    return {"units": units} if len(units) < len(row["units"]) else {}


def _counts(row: Row, traces: PersonalTraces) -> Change:
    counts = json.loads(row["counts"])
    left = {stage: {u: c for u, c in units.items() if u not in traces.units} for stage, units in counts.items()}
    return {"counts": json.dumps(left, separators=(",", ":"))} if left != counts else {}


def _watch(row: Row, traces: PersonalTraces) -> Change:
    """The order of the last requests counts, so another name takes the unit's place."""
    state = row["state"]
    for unit in traces.units:
        state = state.replace(unit, traces.alias(unit))
    return {"state": state} if state != row["state"] else {}


def _imported(row: Row, traces: PersonalTraces) -> Change:
    """Another person's example is theirs, whatever it says; one without a person may be a copy."""
    if row["unit_hmac"] is None and _quotes([row["input"], row["expected"]], traces):
        return None
    return {"beside": traces.alias(row["beside"])} if traces.is_example(row["family"], row["beside"]) else {}


def _kept_answer(row: Row, traces: PersonalTraces) -> Change:
    return None if traces.are_shown_in("\n".join(texts_in([row["key"], row["answer"]]))) else {}


_CHANGES: Mapping[str, OfRow] = {
    "audit": _record,
    "examples": _imported,
    "holdout_looks": _of_example,
    "idempotency_keys": _kept_answer,
    "judge_runs": _run,
    "lm_calls": _texts_of("request", "answer", "error"),
    "playbook_entries": _entry,
    "playbook_steps": _step,
    "reviews": _review,
    "rollout_units": _counts,
    "rollout_watches": _watch,
    "sealed_inputs": _of_example,
    "studies": _study,
    "traffic_sums": _sum,
    "trial_results": _result,
    "variants": _variant,
}


def _holding(column: str, name: Callable[[str], str] = str) -> Narrowing:
    """Read by the database, where a row of hashes is long and few hold this one. ``name``: a unit's, in the column."""
    return lambda table, traces: or_(
        *(func.instr(type_coerce(table.c[column], String), name(unit)) > 0 for unit in traces.units)
    )


_NARROWED: Mapping[str, Narrowing] = {
    "rollout_units": _holding("counts"),
    "rollout_watches": _holding("state"),
    "traffic_sums": _holding("units", hash_of),
}
