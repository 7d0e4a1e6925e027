"""Tables of cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest


def named(arguments: str | tuple[str, ...], cases: Mapping[str, Any]) -> pytest.MarkDecorator:
    """``pytest.mark.parametrize`` of a table in which each row begins with the name of its case."""
    return pytest.mark.parametrize(arguments, list(cases.values()), ids=list(cases))
