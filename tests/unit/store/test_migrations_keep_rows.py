"""A store that the first release filled is brought to this version with every row and value that it had."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from optimizer.adapters.store import Database, migrations
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS, METADATA, Utc
from optimizer.core.dataset.examples import make_example
from optimizer.core.family.settings import RolloutSettings
from optimizer.core.rollout.evidence_state import StoredEvidence, as_text, begin
from optimizer.core.rollout.start import fixed_settings
from optimizer.core.views.rollout_status import ArmTotals
from tests.stores import NOW, reading, writing

FIRST = "0100"
N_ROWS = 3
# The newest step that older versions refuse, and what decides a rollout since then.
DECIDES = "0126", "6e2e807f5333d799"


@pytest.fixture
def first_release(filled: Path, tmp_path: Path) -> Database:
    """A store with the tables of the first release, and rows in each."""
    shutil.copy(filled, tmp_path / "detent.db")
    return Database(f"sqlite:///{tmp_path / 'detent.db'}")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first-release")
    only_first = folder / "migrations"
    shutil.copytree(migrations.HERE, only_first)
    for step in (only_first / "versions").glob("r[0-9]*.py"):
        if not step.name.startswith(f"r{FIRST}"):
            step.unlink()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(migrations, "HERE", only_first)
        database = Database(f"sqlite:///{folder / 'detent.db'}")
        database.migrate()
    database.write(_fill)
    database.close()
    return folder / "detent.db"


def _fill(tx: sa.Connection) -> None:
    for name in sa.inspect(tx).get_table_names():
        if name != "alembic_version":
            table = sa.Table(name, sa.MetaData(), autoload_with=tx)
            columns = {column.name: column for column in table.columns}
            tx.execute(
                sa.insert(table), [{n: _value(name, column, i) for n, column in columns.items()} for i in range(N_ROWS)]
            )


def _value(table: str, column: sa.Column[Any], i: int) -> Any:
    """Unlike in each row, as a key has to be."""
    kind = column.type
    if isinstance(kind, sa.DateTime):
        return NOW.replace(tzinfo=None, microsecond=i)
    if isinstance(kind, sa.Boolean):
        return i % 2 > 0
    if isinstance(kind, sa.Integer):
        return i + 1
    if isinstance(kind, sa.Float):
        return i / 4
    if isinstance(kind, sa.JSON):
        return {"n": i, "ü": ["\u2028"]}
    return f"{table}.{column.name} {i}"


def _rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.read() as tx:
        names = [name for name in sa.inspect(tx).get_table_names() if name != "alembic_version"]
        return {
            name: [dict(row) for row in tx.exec_driver_sql(f'SELECT * FROM "{name}" ORDER BY rowid').mappings()]
            for name in names
        }


def test_every_row_of_the_first_release_is_there_with_each_value_that_it_had(first_release: Database) -> None:
    before = _rows(first_release)
    assert min(len(rows) for rows in before.values()) == N_ROWS
    first_release.migrate()
    after = _rows(first_release)
    for name, rows in before.items():
        kept = [{column: row[column] for column in rows[0]} for row in after[name]]
        assert kept == rows, name
    with first_release.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx), METADATA) == []
        assert tx.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    first_release.close()


def test_a_step_that_is_called_additive_leaves_what_the_version_before_it_reads_and_writes(tmp_path, monkeypatch):
    config = Config()
    config.set_main_option("script_location", str(migrations.HERE))
    steps = [*ScriptDirectory.from_config(config).walk_revisions()][::-1]
    additive = [step.revision for step in steps if getattr(step.module, "additive", False)]
    assert additive
    shutil.copytree(migrations.HERE, few := tmp_path / "migrations")
    monkeypatch.setattr(migrations, "HERE", few)
    for step in steps:
        if step.revision >= additive[0]:
            (few / "versions" / Path(step.path).name).unlink()
    database = Database(f"sqlite:///{tmp_path / 'detent.db'}")
    for step in (None, *(step for step in steps if step.revision >= additive[0])):
        if step is not None:
            shutil.copy(step.path, few / "versions")
        before = _schema(database) if step is not None else {}
        database.migrate()
        if step is not None and step.revision in additive:
            after = _schema(database)
            for table, (columns, unique) in before.items():
                of_later = {name: after[table][0][name] for name in columns}
                assert (of_later, after[table][1]) == (columns, unique), table
                new = [column for name, column in after[table][0].items() if name not in columns]
                assert all(nullable or default is not None for _, nullable, _, default in new), table
    database.close()


def test_what_decides_a_rollout_changes_only_with_a_step_that_older_versions_refuse() -> None:
    """An older version would watch a rollout that this one started by its own rule, and its decisions would not follow.

    Where this fails, write a step with ``additive = False``, which may do nothing else, and put both into ``DECIDES``.
    """
    settings = fixed_settings(RolloutSettings(margin=0.05), champion="v_1", labels=())
    begun = as_text(StoredEvidence(state=begin(settings)))
    decides = sha256(" ".join([*_members(settings), begun]).encode()).hexdigest()[:16]
    config = Config()
    config.set_main_option("script_location", str(migrations.HERE))
    steps = ScriptDirectory.from_config(config).walk_revisions()  # the last one first
    refused = next(step.revision for step in steps if not getattr(step.module, "additive", False))
    assert (refused, decides) == DECIDES


def _members(of: Any, place: str = "") -> list[str]:
    return (
        sorted(m for k, v in of.items() for m in _members(v, f"{place}/{k}"))
        if of and isinstance(of, dict)
        else [place]
    )


def _schema(database: Database) -> dict[str, tuple[dict[str, tuple[Any, ...]], list[list[str]]]]:
    """Of each table its columns, and what is unique in it."""
    with database.read() as tx:
        looked = sa.inspect(tx)
        return {
            table: (
                {
                    it["name"]: (str(it["type"]), it["nullable"], it["primary_key"], it["default"])
                    for it in looked.get_columns(table)
                },
                [index["column_names"] for index in looked.get_indexes(table) if index["unique"]]
                + [it["column_names"] for it in looked.get_unique_constraints(table)],
            )
            for table in looked.get_table_names()
        }


def test_a_new_row_joins_its_near_duplicate_of_the_first_release(first_release: Database) -> None:
    text = "my parcel of last week has not come yet and the courier says that it was never sent can you look"
    input = json.dumps({"document": text})
    first_release.write(lambda tx: tx.execute(sa.text("UPDATE examples SET input = :i WHERE rowid = 1"), {"i": input}))
    first_release.migrate()
    (old,) = reading(first_release).examples.standing("examples.family 0", ids=["examples.id 0"], groups=())
    given = {"family": "examples.family 0", "expected": {}, "origin": "import", "created_at": NOW}
    row = make_example(id="new", input={"document": f"{text} please"}, **given)
    assert writing(first_release).examples.add([row]) == ["joined"]
    (new,) = reading(first_release).examples.standing("examples.family 0", ids=["new"], groups=())
    assert (new.group, new.split) == (old.group, old.split)
    first_release.close()


def test_events_of_the_first_release_are_read_as_they_were_reported_and_summed_up(first_release: Database) -> None:
    first_release.migrate()
    with first_release.read() as tx:
        found = first_release.events.interaction(tx, "interactions.id 1", "interactions.family 1")
        assert (found.output, found.latency_ms) == ("interactions.output 1", 0.25)
        assert found.input == {"n": 1, "ü": ["\u2028"]}
        (event,) = first_release.events.feedback_of(tx, [("feedback_events.family 2", "feedback_events.interaction 2")])
        assert (event.score, event.success, event.occurred_at) == (0.5, False, NOW.replace(microsecond=2))
        served = first_release.events.arm_summary(tx, "interactions.family 2", "interactions.rollout 2")
        told = first_release.events.arm_summary(tx, "feedback_events.family 1", None)
    counts = dict.fromkeys(("n_interactions", "n_errors", "n_labelled", "n_success", "n_scored"), 0)
    nothing: dict[str, Any] = {**counts, "mean_score": None, "mean_latency_ms": None, "cost_usd": 0.0}
    of_served = {"variant": "interactions.variant 2", "role": "interactions.role 2"}
    of_told = {"variant": "feedback_events.variant 1", "role": "feedback_events.role 1"}
    one_served = {"n_interactions": 1, "n_errors": 1, "mean_latency_ms": 0.5, "cost_usd": 0.5}
    one_told = {"n_labelled": 1, "n_success": 1, "n_scored": 1, "mean_score": 0.25}
    assert served == [ArmTotals(**{**nothing, **of_served, **one_served})]
    assert told == [ArmTotals(**{**nothing, **of_told, **one_told})]
    first_release.close()


def test_a_new_event_writes_to_the_end_of_each_index_and_to_none_in_the_order_of_units() -> None:
    grows = {"id", "interaction"}  # our own ids begin with the time
    for table in (INTERACTIONS, FEEDBACK_EVENTS):
        for index in table.indexes:
            *_, before, last = index.table.c.id, *index.columns
            ends = (before, last) if last.name == "label" else (last,)  # which stands behind the time, to be read there
            assert any(isinstance(column.type, Utc) or column.name in grows for column in ends), index.name


def test_several_new_stores_are_made_at_once_by_threads_of_one_process(tmp_path: Path) -> None:
    stores = [Database(f"sqlite:///{tmp_path / f'{i}.db'}") for i in range(2)]
    together = Barrier(len(stores))

    def migrate(store: Database) -> None:
        together.wait(30)
        store.migrate()

    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(migrate, stores))
    for store in stores:
        with store.read() as tx:
            assert tx.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == migrations.revisions()[-1]
        store.close()
