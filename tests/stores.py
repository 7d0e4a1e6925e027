"""Stores and values for tests of the store: a migrated database is copied rather than migrated anew."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, Engine, create_engine, event, select

from optimizer.adapters.files import family_files, family_positions
from optimizer.adapters.models.language_models import Models
from optimizer.adapters.store import Database, engine
from optimizer.adapters.store.tables.performance import VARIANT_PERFORMANCE
from optimizer.core.base.values import Budget
from optimizer.core.family.variant import Variant, VariantRecord
from optimizer.core.feedback.events import Arm, FeedbackEvent, Interaction
from optimizer.core.models.language import ModelAnswer
from optimizer.core.search.study import Study
from optimizer.core.serving.rollout import Rollout
from optimizer.host.config import Settings
from optimizer.ports import JournalEntry
from tests.made_once import made_once
from tests.rows.event_rows import rows_of

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
FAMILY = "summarization"
EMBEDDED_ONLY = Models(Path("no such file"), Path("no such folder"))  # as a home without config/models.yaml has them


@cache
def _template() -> Engine:
    """Has connected once, which is when a dialect learns the version of its database."""
    made = create_engine("sqlite://", json_serializer=engine._to_json, json_deserializer=engine._from_json)
    made.connect().close()
    return made


def _create_engine(url: str, **options: Any) -> Engine:
    """Statements are compiled once in all tests of a process, not anew for each store:
    that was a third of what a small test does.
    """
    made = create_engine(url, **options)
    if made.name == "sqlite":
        made.dialect = made.pool._dialect = _template().dialect
        made._compiled_cache = _template()._compiled_cache
    return made


_read_once = lru_cache(maxsize=256)(family_positions.read_yaml)


def _read_yaml(text: str) -> family_positions.SourceFile:
    """The same few families stand in hundreds of homes, and YAML is slow to read; each gets data of its own."""
    found = _read_once(text)
    return replace(found, data=deepcopy(found.data))


def _has_log_without_name(path: Path) -> bool:
    """Looks at this process and those that it started: those of everybody else, at every end of a store that nothing
    has written, were a tenth of what a small test does.
    """
    name = os.path.realpath(path)
    deleted = {f"{name}{suffix}{engine.DELETED}" for suffix in engine.BESIDE}
    for process in ("self", *(str(child.pid) for child in multiprocessing.active_children())):
        with suppress(OSError):
            files = {engine._target(opened) for opened in (engine.PROCESSES / process / "fd").iterdir()}
            if name in files and files & deleted:
                return True
    return False


engine.create_engine = _create_engine
engine._has_log_without_name = _has_log_without_name
family_files.read_yaml = _read_yaml


def _migrate(path: Path) -> None:
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()


@cache
def _migrated() -> Path:
    return made_once("detent.db", _migrate)


def new_database(folder: Path) -> Database:
    """The one of this folder, made where there is none."""
    if not (path := folder / "detent.db").exists():
        shutil.copy(_migrated(), path)
    database = Database(f"sqlite:///{path}")
    event.listen(database._writing, "connect", _without_waiting_for_the_disk)
    return database


def _without_waiting_for_the_disk(connection: sqlite3.Connection, _record: object) -> None:
    """What these tests write has to outlast no loss of power; what does is tested with real processes, tests/crash."""
    connection.execute("PRAGMA synchronous = OFF")


class _Ports:
    """A store's ports for whoever has no transaction at hand: each call has one of its own."""

    def __init__(self, within: Callable[[Callable[[Connection], Any]], Any], of: Any) -> None:
        self._within, self._of = within, of

    def __getattr__(self, port: str) -> _Port:
        return _Port(self._within, getattr(self._of, port))


class _Port(_Ports):
    def __getattr__(self, act: str) -> Callable[..., Any]:
        return lambda *args, **named: self._within(lambda tx: getattr(self._of, act)(tx, *args, **named))


def writing(store: Database) -> Any:
    """``writing(store).runs.add(run)`` is ``store.write(lambda tx: store.runs.add(tx, run))``."""
    return _Ports(store.write, store)


def reading(store: Database) -> Any:
    """``reading(store).runs.get(id)`` asks in a reading transaction; several that must see one moment share one."""

    def within(ask: Callable[[Connection], Any]) -> Any:
        with store.read() as tx:
            return ask(tx)

    return _Ports(within, store)


def take_step(tx: Connection, revision: ModuleType) -> None:
    """One migration, in a store that has taken all of them and lost again what this one makes."""
    with Operations.context(MigrationContext.configure(tx)):
        revision.upgrade()


def migrate_store(settings: Settings) -> None:
    """What ``wiring.migrate_store`` makes of a home without a store."""
    settings.run_dir().mkdir(parents=True, exist_ok=True)
    shutil.copy(_migrated(), settings.var() / "detent.db")


@contextmanager
def temporary_database() -> Iterator[Database]:
    """For property tests, where every example needs its own."""
    with tempfile.TemporaryDirectory(prefix="detent-test-") as folder:
        database = new_database(Path(folder))
        try:
            yield database
        finally:
            database.close()


def minutes(n: float) -> datetime:
    return NOW + timedelta(minutes=n)


def arm(**changes: Any) -> Arm:
    usual = {"variant": "v_aaaaaaaaaaaa", "rollout": "ro_1", "role": "champion", "stage": 0.1, "unit_hmac": "u1"}
    return Arm(**{"family": FAMILY, **usual, **changes})


def interaction(id: str = "in_1", *, of: Arm | None = None, **changes: Any) -> Interaction:
    usual = {"occurred_at": NOW, "received_at": NOW, "content_hash": f"hash of {id}", "output": "A text."}
    usual["latency_ms"] = 12.5
    return Interaction(id=id, arm=of or arm(), **{**usual, **changes})


def feedback(id: str = "fb_1", *, of: Arm | None = None, **changes: Any) -> FeedbackEvent:
    usual = {"occurred_at": NOW, "received_at": NOW, "content_hash": f"hash of {id}", "source": "user", "success": True}
    return FeedbackEvent(id=id, arm=of or arm(), **{**usual, **changes})


def keep_events(store: Database, events: Iterable[Interaction | FeedbackEvent]) -> None:
    """As ingestion keeps what it has told from what is stored: none of them may be stored already."""
    found = list(events)
    interactions = [one for one in found if isinstance(one, Interaction)]
    feedback = [one for one in found if isinstance(one, FeedbackEvent)]
    store.write(lambda tx: store.events.add_new(tx, rows_of(interactions), rows_of(feedback)))


def keep_one_request(store: Database, family: str, variant: str | None = None) -> None:
    """Without one a rollout's guardrails would be blind."""
    arm, now = Arm(family=family, variant=variant, unit_hmac="somebody"), datetime.now(UTC)
    keep_events(store, [interaction(of=arm, occurred_at=now, received_at=now)])


def daily_performance(store: Database) -> list[dict[str, Any]]:
    """Rows of the daily roll-up, which operators read by SQL, in their order."""
    c = VARIANT_PERFORMANCE.c
    with store.read() as tx:
        query = select(VARIANT_PERFORMANCE).order_by(c.family, c.day, c.variant, c.model)
        return [dict(row) for row in tx.execute(query).mappings()]


def study(id: str = "st_1", **changes: Any) -> Study:
    usual: dict[str, Any] = {
        "family": FAMILY,
        **{"strategy": "bootstrap", "aim": "quality", "status": "queued", "seed": 0, "budget": Budget(calls=100)},
        **{"definition": {"n_train": 10}, "champion": "v_aaaaaaaaaaaa", "created_at": NOW, "created_by": "tester"},
    }
    return Study(id=id, **{**usual, **changes})


def rollout(id: str = "ro_1", **changes: Any) -> Rollout:
    usual: dict[str, Any] = {
        "family": FAMILY,
        **{"candidate": "v_bbbbbbbbbbbb", "champion": "v_aaaaaaaaaaaa", "aim": "quality", "ladder": (0.1, 0.5)},
        **{"salt": "salt", "status": "pending", "stage": -1, "held": False, "version": 1, "stage_history": ()},
        **{"settings": {"margin": 0.02}, "created_at": NOW, "created_by": "tester"},
    }
    return Rollout(id=id, **{**usual, **changes})


def variant(text: str = "Summarize: {{document}}") -> Variant:
    return Variant(messages=({"role": "user", "content": text},))


def keep_variant(store: Database, family: str, variant: Variant, at: datetime = NOW, **changes: Any) -> str:
    """As somebody has saved it; returns its id."""
    record = VariantRecord(
        **{"family": family, "variant": variant, "source": "person", "created_at": at, "created_by": "ann", **changes}
    )
    writing(store).variants.add(record)
    return variant.id


def call(id: str = "ca_1", **changes: Any) -> JournalEntry:
    usual: dict[str, Any] = {
        **{"key": "key 1", "status": "sent", "purpose": "search", "model": "embedded", "attempt": 1},
        **{"reserved_usd": 0.5, "sent_at": NOW, "study": "st_1", "family": FAMILY},
    }
    return JournalEntry(id=id, **{**usual, **changes})


def answer(text: str = "An answer.", **changes: Any) -> ModelAnswer:
    return ModelAnswer(
        text=text, **{"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.25, "latency_ms": 80.0, **changes}
    )
