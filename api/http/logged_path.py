"""The path of a request as logs may hold it: a unit is stored as its HMAC only, and a log is a store too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KNOWN_SEGMENTS = 2  # of a path without a route; the rest may be anything, and is not logged


def logged_path(scope: Mapping[str, Any]) -> str:
    """The path with ``{unit}`` in the place of a unit; of a request that met no route its first two segments."""
    path, params = str(scope["path"]), scope.get("path_params")
    if params is None:
        start, rest = path.split("/")[: KNOWN_SEGMENTS + 1], path.split("/")[KNOWN_SEGMENTS + 1 :]
        return "/".join([*start, "…"] if rest else start)
    unit = params.get("unit")
    return path if not unit else path.removesuffix(str(unit)) + "{unit}"
