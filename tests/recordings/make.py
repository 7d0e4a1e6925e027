"""Writes the recordings anew: ``make recordings``, where behaviour was changed on purpose. Without a word those of what
is answered and computed; the home only with its name, since what an older version wrote is what it is kept for.

    make recordings ARGS="answers"
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from tests.recordings.answers import write_answers
from tests.recordings.figures import write_figures, write_tables
from tests.recordings.home import HOME, write_home, write_rows
from tests.recordings.hot_requests import write_hot_requests

RECORDINGS: Mapping[str, Callable[[], None]] = {
    "home": write_home,
    "rows": write_rows,
    "answers": write_answers,
    "hot_requests": write_hot_requests,
    "figures": write_figures,
    "tables": write_tables,
}


def main(words: list[str]) -> int:
    unknown = sorted(set(words) - set(RECORDINGS))
    if unknown:
        print(f"There is no recording {', '.join(unknown)}; there are {', '.join(RECORDINGS)}.", file=sys.stderr)
        return 2
    for name in words or [name for name in RECORDINGS if name != "home" or not HOME.exists()]:
        RECORDINGS[name]()
        print(f"written: {name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
