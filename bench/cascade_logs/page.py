"""docs/reference/cascades-measured.md, made of bench/results/cascades.json and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def page(result: Mapping[str, Any]) -> str:
    return ""
