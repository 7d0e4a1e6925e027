"""Labels that come later in one arm than in the other, and a window that somebody has fixed, simulated through the
functions of the tick.

    python bench/rollout_delays.py [--runs 2000] [--seed 1] [--only champion candidate alike happier]
        [--part FILE | --merge FILE FILE]

champion, candidate: whose labels take twice as long, with windows of 24 hours, of 40 (99 % of the usual labels) and of
79 (99 % of the slower ones). alike: both arms' labels take as long, so that none should be found different. happier:
unhappy users of both arms who say nothing. Good news takes nine hours in the mean, bad news one. Base .80, margin .05,
forty labels an hour. About an hour on one core; a run of all tables writes bench/results/rollout_delays.json
and the last sections of docs/reference/statistics-measured.md, any other is printed.
"""

from __future__ import annotations

from simulations.command import command
from simulations.late_labels import table_alike, table_candidate, table_champion, table_happier

TABLES = {
    "champion": table_champion,
    "candidate": table_candidate,
    "alike": table_alike,
    "happier": table_happier,
}

if __name__ == "__main__":
    command("rollout_delays", TABLES, about=str(__doc__), full=2000)
