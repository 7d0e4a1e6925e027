"""Sends what waits in the outbox to the Tracker.

The store is the truth: a Tracker that is away costs a backlog, never a result.

``mirror_once`` is called by the worker's loop. An item only names its subject; the content is read from the store when
it is sent, so that sending late or twice shows the latest state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from optimizer.core.family.family import Family, mask_of
from optimizer.core.family.variant import Variant
from optimizer.core.search.study import ENDED, shown_variants
from optimizer.core.serving.family_names import is_retired
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.keep_alerts import keep_alerts
from optimizer.ports import Alert, Clock, OutboxItem, Pages, Store, StudyEvidence, Tracker, Transaction

TOPICS = ("study", "rollout", "prompt", "family")
BATCH = 20
FIRST_WAIT_S, LONGEST_WAIT_S = 5, 3600
ALERT_AFTER = 11  # failures: the first was more than an hour before
UNHEARD = "mlflow_behind"
log = structlog.get_logger(__name__)


def mirror_once(
    store: Store,
    open_tracker: Callable[[], Tracker],
    clock: Clock,
    families: Mapping[str, Family | None],
    pages: Pages | None = None,
) -> int:
    """Sends the due items and puts moved aliases back.

    Returns how many items were sent; raises nothing that a Tracker may raise.

    Args:
        open_tracker: the same one each time; where it cannot even be opened, that is only a backlog, too.
        families: by name; their descriptions are shown. None: its file has a fault.
        pages: of studies and rollouts that have ended; None sends none.
    """
    now = clock.now()
    with store.read() as tx:
        due = ready(tx, store, now)
    n_sent = 0
    for item in due:
        try:
            _send(item, store, open_tracker(), families, pages)
        except Exception as e:  # whatever MLflow raises: the item waits, and the rest of the backlog with it
            _postpone(item, e, store, clock)
            break
        store.write(lambda tx, seq=item.seq: store.outbox.sent(tx, seq, clock.now()))  # type: ignore[misc]
        n_sent += 1
    if not due:
        _restore_aliases(store, open_tracker, clock, families)
    _keep_alert(store, clock)
    return n_sent


def ready(tx: Transaction, store: Store, now: datetime) -> list[OutboxItem]:
    """The next items to send. What is about a family whose name MLflow has still to change waits for that, however long
    each of them has to wait by itself: sent before it, it would go to what another family has there, or take the name.
    """
    items, held = list[OutboxItem](), set[str]()
    for item in store.outbox.unsent(tx, topics=TOPICS):
        families = _families_of(item, tx, store) if held or item.topic == "family" else set()
        if item.not_before <= now and not families & held:
            items.append(item)
        elif item.topic == "family":
            held |= families
    return items[:BATCH]


def wait_s(attempts: int) -> int:
    """Seconds until the next attempt after ``attempts`` failed ones: 5, 10, 20 … at most an hour."""
    doublings = min(max(attempts - 1, 0), 12)
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * (1 << doublings))


def wanted_aliases(store: Store, tx: Transaction, family: str) -> dict[str, str]:
    """The Variant that each alias should name: champion, the one before it, and the candidate of an active rollout."""
    champion = store.champions.current(tx, family)
    if champion is None:
        return {}
    aliases = {"champion": champion.variant}
    previous = next((c for c in store.champions.history(tx, family) if c.seq == champion.previous), None)
    if previous is not None and store.variants.get(tx, family, previous.variant) is not None:  # else it was forgotten
        aliases["previous"] = previous.variant
    rollout = store.rollouts.active(tx, family)
    if rollout is not None:
        aliases["candidate"] = rollout.candidate
    return aliases


def _families_of(item: OutboxItem, tx: Transaction, store: Store) -> set[str]:
    """Names of what it is about as of now; of a change of a name the earlier one, too."""
    if item.topic == "study":
        study = store.studies.get(tx, item.subject)
        return {study.family} if study is not None else set()
    if item.topic == "rollout":
        rollout = store.rollouts.get(tx, item.subject)
        return {rollout.family} if rollout is not None else set()
    name = str(item.payload.get("family") or item.subject)
    return {store.family_names.former(tx).get(name, name), str(item.payload.get("was", name))}


def _send(
    item: OutboxItem, store: Store, tracker: Tracker, families: Mapping[str, Family | None], pages: Pages | None
) -> None:
    family: str | None
    if item.topic == "study":
        family = _send_study(item.subject, store, tracker, families, pages)
    elif item.topic == "rollout":
        family = _send_rollout(item.subject, store, tracker, pages)
    else:
        family = str(item.payload.get("family") or item.subject)
    if family is None:
        return
    with store.read() as tx:
        family = store.family_names.former(tx).get(family, family)  # it may have been renamed or retired since
        is_shown = _is_shown(tx, store, family)
    if item.topic == "family":
        tracker.rename_family(str(item.payload["was"]), family, is_shown=is_shown)
    if is_shown:
        _send_prompts(family, store, tracker)


def _is_shown(tx: Transaction, store: Store, family: str) -> bool:
    """Whether there is anything to look at: a study, a rollout or anything reported; of a retired family never."""
    return not is_retired(family) and bool(
        store.studies.page(tx, family=family)[0]
        or store.rollouts.latest(tx, family)
        or store.events.arm_summary(tx, family, None)
        or store.exposures.totals(tx, family, None)
    )


def _send_study(
    id: str, store: Store, tracker: Tracker, families: Mapping[str, Family | None], pages: Pages | None
) -> str | None:
    with store.read() as tx:
        study = store.studies.get(tx, id)
        if study is None or is_retired(study.family):
            return None
        trials = store.studies.trials(tx, id)
        described = families.get(study.family)
        mask = mask_of(described)
        # Text of released train and dev examples only, as the study's page shows it; of the confirmation the scores
        # without what was written.
        dataset = study.dataset or {}
        chosen = {*dataset.get("train", ()), *dataset.get("dev", ())}
        released = [
            e
            for split in (("train", "dev") if mask is not None else ())
            for e in store.examples.of_split(tx, study.family, split=split, released_only=True)
            if e.id in chosen
        ]
        searched = store.studies.results(tx, study.id, "search")
        confirmation = {
            variant: [replace(r, output=None, error=None, call_key=None) for r in rows]
            for variant, rows in store.studies.results(tx, study.id, "confirmation").items()
        }
        variants: dict[str, Variant] = {}
        for variant_id in {*{t.variant for t in trials}, study.champion, study.winner} - {None}:
            record = store.variants.get(tx, study.family, str(variant_id))
            if record is not None:
                variants[record.variant.id] = record.variant
    # Masking may take long, so no read is open, and only what is written is masked.
    shown: Callable[[Any], Any] = mask or (lambda text: None)
    masked = [replace(e, input=shown(e.input), expected=shown(e.expected)) for e in released]
    examples = {e.id: e for e in masked if e.input is not None and e.expected is not None}
    place = {id: n for n, id in enumerate(dataset.get("dev", ()))}
    with_texts = shown_variants(study, trials)
    results = {
        variant: [
            replace(r, output=shown(r.output), error=shown(r.error))
            if variant in with_texts and r.example in examples
            else replace(r, output=None, error=None)
            for r in sorted(rows, key=lambda r: place.get(r.example, len(place)))
        ]
        for variant, rows in searched.items()
    }
    evidence = StudyEvidence(
        variants=variants,
        results=results,
        examples=examples,
        confirmation=confirmation,
        description=described.description if described is not None else "",
    )
    run = tracker.mirror_study(study, trials, evidence)
    if run is not None and run != study.mlflow_run_id:
        store.write(lambda tx: store.studies.update(tx, id, mlflow_run_id=run))
    # Only once it has ended: a page of 1,000 trials takes some twelve seconds, nearly all to weigh the settings.
    if run is not None and pages is not None and study.status in ENDED:
        tracker.attach_page(run, "report.html", pages.study(study))
    return study.family if study.outcome == "nominated" else None


def _send_rollout(id: str, store: Store, tracker: Tracker, pages: Pages | None) -> str | None:
    with store.read() as tx:
        rollout = store.rollouts.get(tx, id)
        decisions = store.rollouts.decisions(tx, id)
    if rollout is None or is_retired(rollout.family):
        return None
    run = tracker.mirror_rollout(rollout, decisions)
    if run is not None and pages is not None and not rollout.is_active:
        tracker.attach_page(run, f"rollouts/{rollout.id}.html", pages.rollout(rollout))
    return rollout.family


def _send_prompts(family: str, store: Store, tracker: Tracker) -> None:
    """Every Variant that was nominated or served, each with the aliases that name it now."""
    with store.read() as tx:
        set_aliases = wanted_aliases(store, tx, family)
        served = [c.variant for c in store.champions.history(tx, family)]
        finished, _ = store.studies.page(tx, family=family, status="finished")
        nominated = [s.winner for s in finished if s.outcome == "nominated" and s.winner]
        records = [
            store.variants.get(tx, family, id) for id in dict.fromkeys([*served, *nominated, *set_aliases.values()])
        ]
    for record in records:
        if record is None:
            continue
        tags = {"detent.family": family, "detent.source": record.source, "detent.study": record.study or ""}
        aliases = [alias for alias, variant in set_aliases.items() if variant == record.variant.id]
        tracker.mirror_prompt(family, record.variant, aliases, tags)
    if set_aliases:
        # A candidate that was neither nominated nor promoted loses its alias here.
        tracker.restore_aliases(family, set_aliases)


def _restore_aliases(
    store: Store, open_tracker: Callable[[], Tracker], clock: Clock, families: Mapping[str, Family | None]
) -> None:
    """Of a family whose champion and rollout MLflow has heard of, an alias that differs was moved by a person: it goes
    back, and an alert names the command meant. A family whose folder is gone is not shown as long as it is.
    """
    with store.read() as tx:
        without_file = {tenure.family for tenure in store.champions.all_current(tx)} - {*families}
    try:
        for family in sorted(without_file):
            open_tracker().rename_family(family, family, is_shown=False)
    except Exception as e:
        log.warning("mlflow_unreachable", error=str(e)[:500])
        return
    for family in families:
        with store.read() as tx:
            waiting = store.outbox.unsent(tx, topics=("rollout", "prompt", "family"))  # a study moves no alias
            if any(family in _families_of(item, tx, store) for item in waiting) or not _is_shown(tx, store, family):
                continue
            aliases = wanted_aliases(store, tx, family)
        if not aliases:
            continue
        try:
            moved = open_tracker().restore_aliases(family, aliases)
            if moved is None:  # it has served since it had its first champion
                _send_prompts(family, store, open_tracker())
        except Exception as e:
            log.warning("mlflow_unreachable", family=family, error=str(e)[:500])
            return
        for alias in moved or ():
            if alias.found is None:
                meant = f"detent rollout status {alias.family}"
            elif alias.alias == "previous":
                meant = f"detent champion rollback {alias.family}"
            else:
                meant = f"detent rollout start {alias.family} --variant {alias.found}"
            detail = (
                f"In MLflow's Prompt Registry the alias {alias.alias!r} of detent-{alias.family} stood on"
                f" {alias.found or 'nothing'}. What is served is decided by the store, so it was put back to"
                f" {alias.restored or 'nothing'}. If you meant to change what is served: {meant}"
            )
            alert = Alert(
                id=new_id("al"),
                kind="alias_moved",
                detail=detail,
                level="warning",
                opened_at=clock.now(),
                family=alias.family,
                subject=f"{alias.alias} > {alias.found}",
            )
            store.write(lambda tx, alert=alert: store.alerts.open(tx, alert))  # type: ignore[misc]
            log.warning("alias_moved", family=family, alias=alias.alias, found=alias.found, restored=alias.restored)


def _keep_alert(store: Store, clock: Clock) -> None:
    """One alert while something fails again and again: MLflow is away, or refuses it."""
    with store.read() as tx:
        failing = [item for item in store.outbox.unsent(tx, topics=TOPICS) if item.attempts >= ALERT_AFTER]
        is_open = bool(store.alerts.all(tx, open_only=True, kind=UNHEARD))
    if not failing and not is_open:
        return
    wanted = [
        Alert(
            id=new_id("al"),
            kind=UNHEARD,
            detail=f"MLflow has not taken the {item.topic} {item.subject} for more than an hour"
            f" ({str(item.last_error).splitlines()[0]}). What is served does not depend on MLflow.",
            level="warning",
            opened_at=clock.now(),
        )
        for item in failing[:1]
    ]
    store.write(lambda tx: keep_alerts(tx, store, UNHEARD, wanted, at=clock.now()))


def _postpone(item: OutboxItem, error: Exception, store: Store, clock: Clock) -> None:
    again = clock.now() + timedelta(seconds=wait_s(item.attempts + 1))
    reason = f"{type(error).__name__}: {error}"[:500]
    store.write(lambda tx: store.outbox.failed(tx, item.seq, reason, again))
    log.warning("mirror_postponed", topic=item.topic, subject=item.subject, attempts=item.attempts + 1, error=reason)
