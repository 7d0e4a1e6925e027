"""docs/reference/content-quality-measured.md, made of bench/results/content_commands.json."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pages import text_of

BAR, BAND = 0.70, (0.65, 0.80)


def page(result: Mapping[str, Any]) -> str:
    return text_of("content-quality-measured", **result, verdict=verdict({c["case"]: c for c in result["cells"]}))


def verdict(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """Whether the bar is held by what serves where dev's saving lies within the band."""
    within = [
        cell for case, cell in cells.items() if case.endswith(", serves: all") and BAND[0] <= cell["other"] <= BAND[1]
    ]
    missed = [cell["case"].split(":")[0] for cell in within if cell["ours"] is None or cell["ours"] <= BAR]
    if not within:
        return "**The bar is missed**: no wish saves between 65 and 80 % of the time on dev."
    if missed:
        return (
            f"**The bar is missed** by `{'`, `'.join(missed)}`: not above .70 at the 65 to 80 % that it saves on dev."
        )
    low = min(cell["low"] for cell in within)
    sure = (
        ""
        if low > BAR
        else f"; the lowest interval reaches down to {low:.2f}, so another sample of this size may miss it"
    )
    held = (
        f"**The bar is held** by the measured means: above .70 in each of the {len(within)} studies that save 65 to 80"
        f" % of the time on dev{sure}."
    )
    return f"{held}{_weak(cells, [cell['case'].split(':')[0] for cell in within])}"


def _weak(cells: Mapping[str, Mapping[str, Any]], wishes: Sequence[str]) -> str:
    """The types that lie below the bar although all together lie above it."""
    of_types = [
        (m[2], cell)
        for case, cell in cells.items()
        if (m := re.fullmatch(r"(.*?): .*?, serves: (?!all$|train)(.*)", case)) and m[1] in wishes
    ]
    names = sorted({name for name, cell in of_types if cell["ours"] is not None and cell["ours"] <= BAR})
    if not names:
        return ""
    least = min(cell["ours"] for name, cell in of_types if name in names and cell["ours"] is not None)
    return (
        f" That is the mean of all items: {' and '.join(names)} alone {'lies' if len(names) == 1 else 'lie'} below it"
        f" there, down to {least:.2f}."
    )
