"""Ten faults put into the product's core, one at a time in a copy: each must make the tests named beside it fail.

    make mutations

They show that the tests still see what they are for. Exits 1 when a fault was not seen, or when a line to be changed is
no longer there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("optimizer", "api", "tests", "bench", "config", "families", "demo", "docs", "pyproject.toml")
TESTS_FAILED = 1  # pytest's exit code; all others say that it did not get so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    name: str
    file: str
    line: str
    becomes: str
    seen_by: tuple[str, ...]


ASSIGNMENT = ("tests/unit/test_assignment.py", "tests/property/test_assignment_properties.py")
MUTATIONS = [
    Mutation(
        name="a gate refuses what just reaches its bar",
        file="optimizer/core/evaluation/gates.py",
        line="    passed = value >= required - 1e-12\n",
        becomes="    passed = value > required + 1e-12\n",
        seen_by=("tests/unit/test_gates.py",),
    ),
    Mutation(
        name="the candidate gets one bucket too many",
        file="optimizer/core/serving/assignment.py",
        line="    return bucket < math.floor(share * N_BUCKETS)\n",
        becomes="    return bucket <= math.floor(share * N_BUCKETS)\n",
        seen_by=ASSIGNMENT,
    ),
    Mutation(
        name="a call is sent without its price being held back",
        file="optimizer/core/models/budget.py",
        line="_dollars(spend.usd + reserve_usd + held.usd) > _dollars(budget.usd)",
        becomes="_dollars(spend.usd + held.usd) > _dollars(budget.usd)",
        seen_by=("tests/unit/test_budget.py",),
    ),
    Mutation(
        name="a lease still holds at its end",
        file="optimizer/core/serving/assignment.py",
        line="rollout.lease_expires_at > now\n",
        becomes="rollout.lease_expires_at >= now\n",
        seen_by=ASSIGNMENT,
    ),
    Mutation(
        name="the hash of a block leaves out when it was closed",
        file="optimizer/core/rollout/blocks.py",
        line="(previous_hash, str(seq), kind, iso(closed_at), content)",
        becomes="(previous_hash, str(seq), kind, content)",
        seen_by=("tests/contract/test_rollouts_verified.py",),
    ),
    Mutation(
        name="the training split gets half of the examples",
        file="optimizer/core/dataset/examples.py",
        line="_TRAIN_SHARE, _DEV_SHARE = 0.6, 0.2\n",
        becomes="_TRAIN_SHARE, _DEV_SHARE = 0.5, 0.2\n",
        seen_by=("tests/unit/test_dataset.py", "tests/property/test_datasets_for_every_input.py"),
    ),
    Mutation(
        name="half of the evidence is enough",
        file="optimizer/core/statistics/mixture.py",
        line="    return log(1 / alpha)\n",
        becomes="    return log(0.5 / alpha)\n",
        seen_by=("tests/unit/statistics/test_quality_gate.py", "tests/unit/test_statistics_vectors.py"),
    ),
    Mutation(
        name="a token with any signature is taken",
        file="optimizer/core/serving/assignment.py",
        line="    if not hmac.compare_digest(given.encode(), _signature(body, secret).encode()):\n",
        becomes="    if given is None:\n",
        seen_by=ASSIGNMENT,
    ),
    Mutation(
        name="the journal answers another sample with the same answer",
        file="optimizer/core/models/language.py",
        line="list(self.messages), dict(self.params), self.sample]",
        becomes="list(self.messages), dict(self.params)]",
        seen_by=("tests/unit/test_call_model.py",),
    ),
    Mutation(
        name="the holdback begins one bucket too late",
        file="optimizer/core/serving/assignment.py",
        line="    return bucket >= HELD_BACK_FROM\n",
        becomes="    return bucket > HELD_BACK_FROM\n",
        seen_by=("tests/unit/test_freezes.py", "tests/property/test_holdback_for_every_unit.py"),
    ),
]


def copy_of_the_project(folder: Path) -> Path:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def exit_code(folder: Path, tests: tuple[str, ...]) -> int:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode


def verdict(mutation: Mutation, folder: Path) -> str:
    """An empty text when the fault was seen."""
    file = folder / mutation.file
    sound = file.read_text(encoding="utf-8")
    if sound.count(mutation.line) != 1:
        return f"{mutation.file} does not hold the line exactly once: {mutation.line.strip()}"
    file.write_text(sound.replace(mutation.line, mutation.becomes), encoding="utf-8")
    try:
        code = exit_code(folder, mutation.seen_by)
    finally:
        file.write_text(sound, encoding="utf-8")
    return "" if code == TESTS_FAILED else f"pytest ended with {code}"


def main() -> int:
    missed = 0
    with tempfile.TemporaryDirectory(prefix="detent-mutations-") as name:
        folder = copy_of_the_project(Path(name))
        if code := exit_code(folder, tuple(dict.fromkeys(test for m in MUTATIONS for test in m.seen_by))):
            print(f"Without a fault these tests must pass; pytest ended with {code}.", file=sys.stderr)
            return 1
        for mutation in MUTATIONS:
            why = verdict(mutation, folder)
            missed += bool(why)
            print(f"{'NOT SEEN' if why else 'seen    '}  {mutation.name}{': ' + why if why else ''}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
