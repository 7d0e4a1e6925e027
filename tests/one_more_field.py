"""Runs with one line more in the declaration of an event's fields, and prints what came of it.

Started by tests/unit/feedback/test_event_fields.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

LINE = '    mood: Annotated[float | None, EventField(SHARE, "how cheerful the answer was", "interaction")] = None\n'
BEFORE = "    conversation: "


def declare() -> None:
    """Puts optimizer.core.feedback.events into the interpreter as it would be with the line,
    before anything else reads it.
    """
    import optimizer.core.feedback as package

    path = Path(package.__path__[0]) / "events.py"
    source = path.read_text(encoding="utf-8")
    assert source.count(BEFORE) == 1
    module = ModuleType("optimizer.core.feedback.events")
    sys.modules[module.__name__] = module
    exec(compile(source.replace(BEFORE, LINE + BEFORE), str(path), "exec"), module.__dict__)


def main(folder: Path) -> dict[str, Any]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import text

    from api.routes.events import EVENT_SCHEMA
    from optimizer.adapters.store.tables import METADATA
    from optimizer.core.views.events import InteractionView, members_of
    from tests.rows.ingestion import Installation, token
    from tests.stores import new_database

    store = new_database(folder)
    with store.read() as tx:
        missing = [
            (kind, of, column.name)
            for kind, _, of, column in compare_metadata(MigrationContext.configure(tx), METADATA)
        ]
    store.write(
        lambda tx: tx.execute(text("ALTER TABLE interactions ADD COLUMN mood FLOAT"))
    )  # what the migration does
    here = Installation(store)
    answers = [
        here.send({"id": id, "assignment": token(), "mood": mood}) for id, mood in (("in_1", 0.5), ("in_2", 1.5))
    ]
    found = {
        "missing": missing,
        "answers": answers,
        "stored": InteractionView(**members_of(here.interaction("in_1"))).mood,
        "schema": EVENT_SCHEMA["properties"]["mood"],
    }
    store.close()
    return found


if __name__ == "__main__":
    declare()
    print(json.dumps(main(Path(sys.argv[1]))))
