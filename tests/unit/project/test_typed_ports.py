"""What the ports take and give is typed: ``Any`` stands in them where what is kept is not of this version, or of all
tables alike.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.unit.project.test_product_imports import ROOT

VALUES_OF_COLUMNS = "new values by column; the row's own class refuses a name that it has not"
KEY = "the key of a row, as its table has it"
MESSAGE = "a message as JSON: those that wait may be an older version's, and its topic's reader looks at each member"
ROWS = "the rows of every table alike, for backups"
STAY = {
    "alerts.payload_of": MESSAGE,
    "alerts.message_of": MESSAGE,
    "outbox.OutboxItem": MESSAGE,
    "outbox.Outbox.add": MESSAGE,
    "outbox.Outbox.last": MESSAGE,
    "alerts.Audit.add": "what was asked of an act, by each package in its own words",
    "examples.Examples.sealed_among": "an input, as the family's own file declares it",
    "examples.Examples.unreleased_among": "an input, as the family's own file declares it",
    "examples.Spelled": "an output, as the family's own file declares it",
    "sources.SourceRow": "an input, as the family's own file declares it",
    "judging.Runs.update": VALUES_OF_COLUMNS,
    "studies.Studies.update": VALUES_OF_COLUMNS,
    "performance.PipelineStats.sums": "values of the groupings that are asked for, in their order",
    "deletion.RowKey": KEY,
    "store.Tables.each": ROWS,
    "store.Tables.add": ROWS,
    "studies.JournalEntry": "a request in its provider's own form",
    "studies.TierAnswers": "rows of recorded answers, which a study's own file may have more members in",
    "transaction.Transaction": "sqlalchemy's connection, of which ports know nothing",
}


def open_places(source: str) -> Iterator[str]:
    """The functions, members and names of a module whose types say ``Any``."""

    def within(node: ast.AST, name: str) -> Iterator[str]:
        for one in ast.iter_child_nodes(node):
            if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from within(one, f"{name}.{one.name}")
            elif isinstance(one, ast.Assign) and not name:
                yield from within(one, f".{ast.unparse(one.targets[0])}")
            elif isinstance(one, ast.Name) and one.id == "Any":
                yield name[1:]
            else:
                yield from within(one, name)

    return within(ast.parse(source), "")


def test_ports_take_and_give_values_of_types() -> None:
    files = sorted((ROOT / "optimizer" / "ports").glob("*.py"))
    places = {f"{file.stem}.{place}" for file in files for place in open_places(file.read_text(encoding="utf-8"))}
    assert sorted(places - STAY.keys()) == []
    assert sorted(STAY.keys() - places) == [], "these are typed by now: take them off the list"


def test_a_place_without_a_type_would_be_found() -> None:
    source = (
        "Row = dict[str, Any]\nclass P:\n    x: Any\n    def f(self, a: list[Any]) -> int: ...\n    def g(self): ...\n"
    )
    assert list(open_places(source)) == ["Row", "P", "P.f"]
