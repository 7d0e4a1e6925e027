"""Forgets a person: takes what they said, and what was made of it, out of everything that this home keeps.

What was counted and decided stays, so that `rollout verify` still fits. The work is a queued run. It looks at
everything first, and writes down by what the person is known, in digests, before it deletes anything: a run that was
killed goes on from there, and ends as it would have.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import structlog
from pydantic import Field

from optimizer.core.base.errors import Busy, Conflict, DetentError, NotFound, Refused
from optimizer.core.base.phrasing import count
from optimizer.core.base.values import Budget, grouped
from optimizer.core.feedback.personal_traces import PersonalTraces
from optimizer.core.rollout.transitions import apply
from optimizer.core.serving import champion
from optimizer.core.serving.family_names import is_retired
from optimizer.core.serving.rollout import Decision
from optimizer.core.views.forgetting import FORGOTTEN, ForgetQuery, ForgetResult, ForgetRun, PlaceCount
from optimizer.jobs.context import Context
from optimizer.jobs.ids import new_id
from optimizer.jobs.record_change import Succession, log_head, record_transition, replace_champion, transition_request
from optimizer.jobs.request import ItemRequest, Request
from optimizer.jobs.runs.queue_run import read_run
from optimizer.jobs.upkeep.later_tables import refuse_later_tables
from optimizer.ports import Clock, Store, Transaction
from optimizer.ports.deletion import DOUBT, PersonalPlace, RowKey

ACT = "person.forget"
WHY = "a person was forgotten"
ROWS_AT_ONCE = 500
VARIANTS = "variants"
WRITTEN_ON = ("alerts", "outbox", "reviews", "rollout_units", "rollout_watches", "traffic_sums")  # by other duties
MADE_OF_TEXTS = (VARIANTS, "examples", "playbook_entries")  # whose keys are a family and an id
MOST_NAMED = 20  # rows that a sentence names
OF_FAMILIES = ("interactions", "feedback_events", "examples")  # tables whose keys begin with a family
log = structlog.get_logger(__name__)


class ForgetRequest(Request):
    unit: Annotated[str, Field(min_length=1, max_length=10_000)]
    confirm: Annotated[str | None, Field(max_length=10_000, description="The unit again; there is no undo")] = None
    own_words: Annotated[
        bool,
        Field(description="What families' files say word for word is theirs, although the person wrote the same"),
    ] = False
    dry_run: Annotated[bool, Field(description="Count what would go, and change nothing")] = False


def forget_person(context: Context, request: ForgetRequest) -> ForgetRun:
    """Queues the forgetting of a person: everything under their unit, and what quotes them; 202 with its Location.

    Sums, blocks and decisions stay. Variants that quote the person go; where one of them is champion, the first one
    before it that does not quote them serves. A dry run counts, place by place. There is no undo.

    Raises:
        Refused: ``confirm`` is not the unit.
    """
    if not request.dry_run and request.confirm != request.unit:
        raise Refused(
            "Forgetting a person deletes what they said and what was made of it, for good. If that is meant, confirm it"
            " with the unit itself: ?confirm=UNIT, or --confirm UNIT. To see what would go: ?dry_run=true or --dry-run."
        )
    store, unit = context.store, context.hmac_unit(request.unit)
    query = ForgetQuery(unit=unit, own_words=request.own_words, dry_run=request.dry_run)
    if older := list(context.older_hmacs(request.unit)):
        query["older"] = older

    def queue(tx: Transaction) -> ForgetRun:
        for waiting in store.runs.unfinished(tx):
            if isinstance(waiting, ForgetRun) and waiting.request == query:
                return waiting
        if not request.dry_run:
            store.personal.remove_answers(tx, request.unit)  # a run knows the HMAC alone
        return queue_forgetting(tx, store, query, actor=context.actor, at=context.clock.now())

    return store.write(queue, rows=2)


def queue_forgetting(tx: Transaction, store: Store, query: ForgetQuery, *, actor: str, at: datetime) -> ForgetRun:
    refuse_later_tables(tx, store, "Forgetting a person")
    run = ForgetRun(
        id=new_id("fg"),
        family="",
        request=query,
        budget=Budget(),
        status="queued",
        n=0,
        created_by=actor,
        created_at=at,
    )
    store.runs.add(tx, run)
    if not query["dry_run"]:
        store.audit.add(tx, at=at, actor=actor, action=ACT, family=None, subject=run.id, detail={})
    return run


def read_forgetting(context: Context, request: ItemRequest) -> ForgetRun:
    """How far the forgetting of a person is, and what it found where."""
    return read_run(context, request.id, ForgetRun)


@dataclass(frozen=True, kw_only=True)
class ForgettingHome:
    """What a run works on.

    Args:
        places: beside the store.
        own_texts: what families' files say.
        notes: folder for what a run that was killed, and one that asks for the same person again, goes on from.
        not_reached: what this home cannot look at, as sentences.
        take_in: what waits to come into the store goes there first.
        remember: keeps the person's HMAC where an older backup is restored by, and whether families' own words stayed.
        is_alone: no other process of this home runs studies, or could begin to.
    """

    store: Store
    clock: Clock
    places: Sequence[PersonalPlace]
    own_texts: Callable[[], Iterable[str]]
    notes: Path
    not_reached: Sequence[str] = ()
    take_in: Callable[[str], None] = lambda unit: None
    remember: Callable[[str, datetime, bool], None] = lambda unit, at, own_words: None
    is_alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _ForgetPlan:
    """What was found before anything was deleted."""

    traces: PersonalTraces
    result: ForgetResult


def waits_for(tx: Transaction, store: Store, run: ForgetRun) -> str | None:
    """Why the run cannot begin, or None. Studies hold examples in memory, and would write them down again."""
    study = next((one for one in store.studies.unfinished(tx) if one.status != "queued"), None)
    if study is None or run.status != "queued" or run.request["dry_run"]:
        return None
    return f"The study {study.id} is {study.status}. Wait for it, or end it: detent study cancel {study.id}."


def carry_out_forgetting(
    id: str, home: ForgettingHome, *, watched: Callable[[ForgetRun], None] = lambda run: None
) -> ForgetRun:
    """Runs it, or goes on with one that a killed process left. Returns the run at its end, or queued where it has to
    wait for a study.

    What stands in its way is kept with it and never raised; a fault of ours is kept and raised. Raises Busy where the
    store could not take something: the run stays running, and the next call goes on with it.
    """
    store, clock = home.store, home.clock

    def begin(tx: Transaction) -> ForgetRun:
        run = store.runs.get(tx, id)
        if not isinstance(run, ForgetRun):
            raise NotFound(f"There is no forgetting {id!r}.", run=id)
        if run.has_ended or (not home.is_alone and waits_for(tx, store, run) is not None):
            return run
        return cast(ForgetRun, store.runs.update(tx, id, status="running", started_at=run.started_at or clock.now()))

    run = store.write(begin)
    if run.status != "running":
        return run
    notes = home.notes / f"{id}.json"
    if run.result is not None:  # of a process that was killed when all was done
        notes.unlink(missing_ok=True)
        return _end(home, run, status="finished")
    try:
        plan = _plan_of(run, home, notes)
        if not run.request["dry_run"]:
            # On disk before anything is deleted.
            notes.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = notes.with_suffix(".part")
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(json.dumps(plan.result).encode() + b"\n" + plan.traces.dumped())
                out.flush()
                os.fsync(out.fileno())
            part.replace(notes)
            _forget(plan, home, run, watched)
            _keep(store, id, result=plan.result)
            for file, _ in notes_of(plan.traces.unit, home.notes):
                file.unlink()
    except Busy:
        raise
    except DetentError as error:
        return _end(home, run, status="failed", error=error.detail, error_type=error.slug)
    except Exception as fault:  # its words may be the person's
        _end(home, run, status="failed", error=type(fault).__name__, error_type=DetentError.slug)
        raise
    return _end(home, run, status="finished", result=plan.result)


def _end(home: ForgettingHome, run: ForgetRun, **ended: Any) -> ForgetRun:
    ended_run = _keep(home.store, run.id, request=_without_unit(run), finished_at=home.clock.now(), **ended)
    log.info("forgetting ended", run=run.id, status=ended_run.status)
    return ended_run


def _without_unit(run: ForgetRun) -> dict[str, Any]:
    """The run need not know it any more: its notes do, until its end."""
    return {key: value for key, value in run.request.items() if key != "older"} | {"unit": ""}


def _keep(store: Store, id: str, **changes: Any) -> ForgetRun:
    return cast(ForgetRun, store.write(lambda tx: store.runs.update(tx, id, **changes)))


# --- what is there ----------------------------------------------------------------------------------------------------


def _plan_of(run: ForgetRun, home: ForgettingHome, notes: Path) -> _ForgetPlan:
    """What a killed run wrote down, with what came since; else what is found now.

    Raises Conflict where somebody has something to do first; nothing was changed then.
    """
    store = home.store
    unit = run.request["unit"]
    before = _read_notes(notes) or next((plan for _, plan in notes_of(unit, notes.parent)), None)
    if before is None and not unit:  # what has no text would be "theirs"
        raise Conflict("Who was to be forgotten is not known any more. Say it again: detent data forget --unit UNIT.")
    units = before.traces.units if before is not None else (unit, *run.request.get("older", ()))
    if not run.request["dry_run"]:
        _take_in(home, units)
    keys_of: dict[str, list[RowKey]] = {}
    traces = PersonalTraces.of(units[0]) if before is None else before.traces
    for each in units:
        with store.read() as tx:
            rows = store.personal.of_unit(tx, each)
        traces = traces.joined(rows.traces)
        for table, keys in rows.keys.items():
            keys_of.setdefault(table, []).extend(keys)
    if run.request["own_words"]:
        traces = traces.without_quotes_of(home.own_texts())
    if before is not None:
        return replace(before, traces=traces)
    families = {key[0] for table in OF_FAMILIES for key in keys_of.get(table, ())}
    places = [PlaceCount(place=f"store: {table}", n=len(keys)) for table, keys in sorted(keys_of.items())]
    variants: dict[str, list[str]] = {}
    for table, traced_keys in _traced(store, traces, store.personal.tables()):
        if n := len([key for key in traced_keys if key not in keys_of.get(table, ())]):
            places.append(PlaceCount(place=f"store: {table}", n=n))
        if table == VARIANTS:
            variants = grouped((family, variant) for family, variant in traced_keys)
    first, left = list[str](), list[str]()
    for place in home.places:
        traced = place.look(traces)
        first += traced.first
        left += traced.left
        if traced.n:
            places.append(PlaceCount(place=place.name, n=traced.n))
    left += _doubts(store, traces, variants)
    champions, without = _successors(store, variants)
    first += without
    if first and not run.request["dry_run"]:
        raise Conflict(f"The person cannot be forgotten yet; nothing was changed. {' '.join(first)}")
    result = ForgetResult(
        places=places,
        families=sorted(families | variants.keys()),
        variants={family: sorted(ids) for family, ids in sorted(variants.items())},
        champions=champions,
        first=first,
        not_reached=[*left, *home.not_reached],
    )
    return _ForgetPlan(traces=traces, result=result)


def _traced(store: Store, traces: PersonalTraces, tables: Sequence[str]) -> Iterable[tuple[str, list[RowKey]]]:
    """Table by table, each part of it in a transaction of its own: a long one would keep the store's log from being
    emptied.
    """
    for table in tables:
        keys, after = list[RowKey](), None
        while True:
            with store.read() as tx:
                part = store.personal.traced(tx, table, traces, after)
            keys += part.keys
            if (after := part.after) is None:
                break
        yield table, keys


def _doubts(store: Store, traces: PersonalTraces, variants: Mapping[str, Sequence[str]]) -> Iterable[str]:
    """What serves, teaches or is searched with and may hold a short request of the person's, which stays."""
    if not traces.doubtful.requests:
        return
    for table, keys in _traced(store, traces.doubtful, MADE_OF_TEXTS):
        rows = [f"{id} of {family}" for family, id in keys if table != VARIANTS or id not in variants.get(family, ())]
        if rows:
            more = f" and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
            yield f"store: {table}, {', '.join(rows[:MOST_NAMED])}{more}: {DOUBT}"


def _successors(store: Store, variants: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """By family, which variant serves next where the champion quotes the person; and what has to be done first where
    none can.
    """
    successors, first = dict[str, str](), list[str]()
    with store.read() as tx:
        for family, quoting in sorted(variants.items()):
            history = store.champions.history(tx, family)
            if not history or is_retired(family) or champion.current_of(history).variant not in quoting:
                continue
            there = store.variants.ids(tx, family) - {*quoting}
            clean = champion.first_beneath(history, there.__contains__)
            if clean is not None:
                successors[family] = clean.variant
                continue
            current = champion.current_of(history).variant
            first.append(
                f"The champion {current} of {family} quotes the person, and so does each one before it. Serve another"
                f" variant first: detent champion set {family} VARIANT --reason WHY --confirm {family}."
            )
    return successors, first


# --- taking it away ---------------------------------------------------------------------------------------------------


def _forget(plan: _ForgetPlan, home: ForgettingHome, run: ForgetRun, watched: Callable[[ForgetRun], None]) -> None:
    store, traces = home.store, plan.traces
    steps: list[Callable[[], object]] = [
        lambda: _remember(home, traces.units, own_words=run.request["own_words"]),
        lambda: _serve_others(plan, home, run.created_by),
        lambda: _remove_rows(store, traces.units),
        lambda: _clear_tables(store, traces, store.personal.tables()),
        *(partial(place.clear, traces) for place in home.places),
        lambda: _take_in(home, traces.units),
        lambda: _remove_rows(store, traces.units),  # of requests that were under way
        lambda: _clear_tables(store, traces, WRITTEN_ON),
        lambda: _tell(store, home.clock, plan, run),
        lambda: _keep(store, run.id, request=_without_unit(run)),
        store.compact,
    ]
    for n, step in enumerate(steps):
        with suppress(Busy):  # it only shows how far the run is
            watched(_keep(store, run.id, n=len(steps), n_done=n))
        step()
    log.info("person forgotten", run=run.id, places=len(home.places))


def _serve_others(plan: _ForgetPlan, home: ForgettingHome, actor: str) -> None:
    """Ends rollouts of variants that quote the person, and goes back to champions that do not."""
    store, clock = home.store, home.clock

    def change(tx: Transaction) -> list[Decision | None]:
        decisions: list[Decision | None] = []
        for family, variants in plan.result["variants"].items():
            rollout = store.rollouts.active(tx, family)
            if rollout is not None and rollout.candidate in variants:
                request = transition_request(
                    rollout, "rollback", clock.now(), clock, actor=actor, reason=f"{WHY}, whom the candidate quotes"
                )
                decisions.append(record_transition(tx, store, apply(rollout, request)))
            history = store.champions.history(tx, family)
            successor = plan.result["champions"].get(family)
            if successor is not None and (current := champion.current_of(history)).variant in variants:
                why = f"{WHY}, whom {current.variant} quotes"
                tenure = champion.fall_back(history, expect=None, to=successor, at=clock.now(), by=actor, why=why)
                by = Succession(action="champion.forget", says="is champion again", undo="")
                decisions.append(replace_champion(tx, store, clock, tenure, before=current, by=by, why=why).decision)
        return decisions

    for decision in store.write(change):
        log_head(decision)


def _take_in(home: ForgettingHome, units: Iterable[str]) -> None:
    for unit in units:
        home.take_in(unit)


def _remember(home: ForgettingHome, units: Iterable[str], *, own_words: bool) -> None:
    for unit in units:
        home.remember(unit, home.clock.now(), own_words)


def _remove_rows(store: Store, units: Sequence[str]) -> None:
    """As long as there are any: what was under way when the run began comes in meanwhile."""
    there = list(units)
    while there:
        with store.read() as tx:
            rows = store.personal.of_unit(tx, there[0])
        if not rows.keys:
            del there[0]
        for table, keys in rows.keys.items():
            for some in _parts(keys):
                store.write(lambda tx, table=table, some=some: store.personal.remove(tx, table, some), rows=len(some))  # type: ignore[misc]


def _clear_tables(store: Store, traces: PersonalTraces, tables: Sequence[str]) -> None:
    for table, keys in _traced(store, traces, tables):
        for some in _parts(keys):
            store.write(
                lambda tx, table=table, some=some: store.personal.clear(tx, table, traces, some),  # type: ignore[misc]
                rows=len(some),
            )


def _parts(keys: Sequence[RowKey]) -> Iterable[Sequence[RowKey]]:
    for start in range(0, len(keys), ROWS_AT_ONCE):
        yield keys[start : start + ROWS_AT_ONCE]


def _tell(store: Store, clock: Clock, plan: _ForgetPlan, run: ForgetRun) -> None:
    """To the record, without who it was; to processes that serve; and to MLflow, which shows what is left."""
    now = clock.now()
    n = sum(place["n"] for place in plan.result["places"])
    with store.read() as tx:
        studies = [id for family in plan.result["families"] for id in _studies_shown(tx, store, family)]

    def change(tx: Transaction) -> None:
        detail = {"found": count(n, "trace"), "variants": {f: list(v) for f, v in plan.result["variants"].items()}}
        if not any(row["action"] == FORGOTTEN for row in store.audit.of_subject(tx, run.id)):  # else before a kill
            store.audit.add(
                tx, at=now, actor=run.created_by, action=FORGOTTEN, family=None, subject=run.id, detail=detail
            )
        store.minute_stats.set_watermark(tx, FORGOTTEN, now)
        for family in plan.result["families"]:
            if family and not is_retired(family):
                store.outbox.add(tx, "prompt", family, {}, now)
        for study in studies:
            store.outbox.add(tx, "study", study, {}, now)
        store.serving_version.bump(tx)

    store.write(change)


def _studies_shown(tx: Transaction, store: Store, family: str) -> Iterable[str]:
    """Those that MLflow shows."""
    cursor = None
    while True:
        studies, cursor = store.studies.page(tx, family=family, cursor=cursor)
        yield from (study.id for study in studies if study.mlflow_run_id is not None)
        if cursor is None:
            return


# --- notes of a run that may be killed --------------------------------------------------------------------------------


def _read_notes(file: Path) -> _ForgetPlan | None:
    try:
        result, _, traces = file.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    return _ForgetPlan(traces=PersonalTraces.loaded(traces), result=json.loads(result))


def notes_of(unit: str, folder: Path) -> Iterator[tuple[Path, _ForgetPlan]]:
    """Of runs for the same person that failed, too: the next one takes them over."""
    for file in sorted(folder.glob("*.json")):
        plan = _read_notes(file)
        if plan is not None and plan.traces.unit == unit:
            yield file, plan
