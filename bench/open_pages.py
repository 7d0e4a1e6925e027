"""What fifty open pages cost while nothing happens, and whether prompts are fetched more slowly beside them.

    python bench/open_pages.py [--rounds 24] [--home FOLDER]

The home is that of bench/dashboard.py. The pages stand open in Chromium, each with a visitor of its own. Prompts are
fetched while they are in sight and, in turns with that, while they are out of it and hold no connection. Ten minutes,
and as many to make the home. Together with bench/serving.py this makes docs/reference/speed.md."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.common import Cell, options_of, write_result
from bench.dashboard import SETTLE_S, settled_installation
from bench.speed import client
from bench.speed.chats import cpu_s
from bench.speed.client import CONNECTIONS, Load, ratio_of_rates, ratio_of_waits
from bench.speed.grown import Size
from bench.speed.installation import Installation
from bench.speed.page_answers import open_pages, show

OPEN = 50
TURN_S = 8.0  # after which pages that came into sight have their connections, and the others have let theirs go


def main() -> None:
    options = options_of(
        __doc__,
        idle_seconds=(60.0, "in which pages stand open"),
        rounds=(24, "of prompts with pages in sight and out of it"),
        home=(Path, "where the home is kept and found again; else it is thrown away"),
    )
    size = Size()
    with settled_installation(options.home, size) as place:
        cells = beside_open_pages(place, size, options.idle_seconds, options.rounds)
    write_result("open_pages", cells)


def beside_open_pages(place: Installation, size: Size, seconds: float, rounds: int) -> list[Cell]:
    """Processor time of the api with and without open pages while nothing happens, then how fast prompts are fetched,
    with the pages in sight and out of it in turns.
    """
    prompts = [f"GET /v1/families/{size.names[0]}/prompt?unit=u{i}" for i in range(20_000)]
    loads: dict[bool, list[Load]] = {True: [], False: []}
    without = _busy_share(place, seconds)
    with open_pages(place.url, size.names, OPEN, place.headers) as opened:
        time.sleep(SETTLE_S)
        share = _busy_share(place, seconds)
        for number in range(2 * rounds):
            is_shown = number % 4 in (1, 2)  # neither comes first more often
            if number % 2 or number == 0:
                show(opened, is_shown)
                time.sleep(TURN_S)
            load = client.ask(place.url, prompts, connections=CONNECTIONS, seconds=4.0, headers=place.headers)
            loads[is_shown].append(load)
    unit = f"% of a core; {100 * share:.3g} with them and {100 * without:.3g} without"
    name, case = "none in sight", f"prompt fetches beside {OPEN} open pages"
    return [
        Cell(case=f"{OPEN} open pages while nothing happens", ours=100 * (share - without), unit=unit, n=1),
        ratio_of_rates(case, loads[True], loads[False], name),
        ratio_of_waits(f"slowest hundredth of {case}", loads[True], loads[False], name),
    ]


def _busy_share(place: Installation, seconds: float) -> float:
    """The share of a core that the api and the process for feedback use."""
    before = sum(cpu_s(place.pids[:2]))
    time.sleep(seconds)
    return (sum(cpu_s(place.pids[:2])) - before) / seconds


if __name__ == "__main__":
    main()
