"""Tables of cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def named(cases: Mapping[str, Any]) -> dict[str, Any]:
    """For ``pytest.mark.parametrize(names, **named(...))``: each row begins with the name of its case."""
    return {"argvalues": list(cases.values()), "ids": list(cases)}
