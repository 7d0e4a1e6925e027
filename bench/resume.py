"""Kill -9 a running study at random moments, let the next process go on,
and compare its end with that of a study in peace.

    python bench/resume.py [--kills 50] [--seed 1]

Full evaluation and race in turns, one worker, on a scripted model that takes 10 ms a call; what dies is a process with
the product's own `jobs.run_study` over its own database. Counted: journaled answers that were asked for again, and
studies that ended with another winner, other trials or other scores. Exits with 1 when there is one.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common import ROOT, Cell, write_result

sys.path.insert(0, str(ROOT))  # the small world that the tests run studies in

from tests.study_world import TopicModel, World

STRATEGIES = ("bootstrap+settings", "race")
SIZES = {"n_train": 12, "n_dev": 20, "n_holdout": 20, "n_candidates": 3, "n_settings": 4}
GO_ON = """
import sys, time
from pathlib import Path
from tests.study_world import TopicModel, World

world = World(Path(sys.argv[1]), model=TopicModel(needs=4, before=lambda n: time.sleep(0.01)))
print("begins", flush=True)
world.run(world.only_study())
"""


def begun(folder: Path, strategy: str, seed: int) -> tuple[World, Any]:
    folder.mkdir()
    world = World(folder, model=TopicModel(needs=4)).fill(n_dev=20)
    return world, world.create(strategy=strategy, definition=SIZES, seed=seed)


def killed(folder: Path, after_s: float) -> bool:
    """Runs the study in a process of its own until it ends, or kills it ``after_s`` seconds after it has begun."""
    child = subprocess.Popen([sys.executable, "-c", GO_ON, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    if child.stdout.readline() != "begins\n":
        raise SystemExit(f"The study's process ended with {child.wait()} before it began; nothing was measured.")
    try:
        child.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return True
    if child.returncode != 0:
        raise SystemExit(f"The study's process ended with {child.returncode} by itself; nothing was measured.")
    return False


def as_ended(world: World, study: Any) -> tuple[Any, ...]:
    ended = world.only_study()
    trials = [(t.number, t.variant, t.proposer, t.status, t.n, t.score) for t in world.trials(study)]
    return ended.status, ended.outcome, ended.winner, trials


def asked_again(world: World, study: Any) -> int:
    """Requests that were on the wire once more after they had been answered;
    one worker asks them in the order of their ids.
    """
    answered: set[str] = set()
    n = 0
    for call in sorted(world.calls(study), key=lambda call: call.id):
        n += call.key in answered
        if call.status == "settled":
            answered.add(call.key)
    return n


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    arguments = parser.parse_args()
    rng, counts, started = random.Random(arguments.seed), Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="detent-resume-") as folder:
        while counts["kills"] < arguments.kills:
            number = counts["studies"]
            strategy = STRATEGIES[number % 2]
            fire, study = begun(Path(folder) / f"fire-{number}", strategy, number)
            while killed(
                Path(folder) / f"fire-{number}", rng.uniform(0.1, 2.5) if counts["kills"] < arguments.kills else 300
            ):
                counts["kills"] += 1
            peace, quiet = begun(Path(folder) / f"peace-{number}", strategy, number)
            peace.run(quiet)
            counts["studies"] += 1
            counts["calls"] += len(fire.calls(study))
            counts["lost"] += sum(call.status == "lost" for call in fire.calls(study))
            counts["asked again"] += asked_again(fire, study)
            counts["other end"] += as_ended(fire, study) != as_ended(peace, quiet)
            fire.store.close()
            peace.store.close()
            print(
                f"{time.monotonic() - started:6.0f} s  study {number} ({strategy}): {dict(counts)}",
                file=sys.stderr,
                flush=True,
            )
    cells = [
        Cell(
            case=case,
            ours=counts[name],
            other=None,
            other_name="-",
            ratio=None,
            low=None,
            high=None,
            unit="count",
            n=counts["kills"],
        )
        for case, name in (
            ("studies killed and resumed", "studies"),
            ("calls on the wire", "calls"),
            ("calls in flight at a kill, counted as lost", "lost"),
            ("journaled answers asked for again", "asked again"),
            ("studies that ended otherwise than in peace", "other end"),
        )
    ]
    write_result("resume" if arguments.kills >= 50 else "resume_part", cells)
    return int(counts["asked again"] + counts["other end"] > 0)


if __name__ == "__main__":
    sys.exit(main())
