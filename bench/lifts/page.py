"""docs/reference/families-measured.md from bench/results/families.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def page(result: Mapping[str, Any]) -> str:
    return ""
