"""docs/reference/reliability.md, made of bench/results/siege.json and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.pages import text_of

LOAD = "load: "  # begins the cases of the second part
FILE = "file: "  # begins those of the first that are no bodies of requests


def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    load = [cell for cell in cells if cell["case"].startswith(LOAD)]
    texts = [cell for cell in cells if cell not in load]
    bodies = [cell["case"].rsplit("(", 1)[1].split(" ")[0] for cell in texts if not cell["case"].startswith(FILE)]
    return text_of(
        "reliability",
        **result,
        not_kept=missed(cells),
        load=load,
        texts=texts,
        body_mb=max(int(body.replace(",", "")) for body in bodies) / 1e6,
    )


def is_kept(cell: Mapping[str, Any]) -> bool:
    """A count that may be nothing else has the bar 0; every other figure lies below its bar."""
    return cell["other_name"] != "bar" or (cell["ours"] == 0 if cell["other"] == 0 else cell["ours"] < cell["other"])


def missed(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    return [cell["case"].removeprefix(LOAD) for cell in cells if not is_kept(cell)]
