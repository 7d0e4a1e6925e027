"""Faults put into the product, one at a time in a copy: each must make the tests named beside it fail.

    make mutations
    make mutations ARGS="lease holdout"     those whose name or file holds one of these words

They show that the tests still see what they are for. The faults stand in ``mutations.toml``. Exits 1 when a fault was
not seen, or when a line to be changed is no longer there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[1]
FAULTS = Path(__file__).with_suffix(".toml")
COPIED = ("optimizer", "api", "tests", "bench", "config", "families", "demo", "docs", "NOTICE", "pyproject.toml")
TESTS_FAILED = 1  # pytest's exit code; all others say that it did not get so far
AT_ONCE = int(os.environ.get("WORKERS") or os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    name: str
    file: str
    line: str  # stands in the file exactly once
    becomes: str
    seen_by: tuple[str, ...]

    @classmethod
    def read(cls, name: str, file: str, line: str, becomes: str, seen_by: Sequence[str]) -> Mutation:
        return cls(name=name, file=file, line=line, becomes=becomes, seen_by=tuple(f"tests/{test}" for test in seen_by))

    def problem(self, folder: Path = ROOT) -> str:
        """Why it cannot be put into the project; empty when it can."""
        file = folder / self.file
        if not file.exists():
            return f"there is no {self.file}"
        if file.read_text(encoding="utf-8").count(self.line) != 1:
            return f"{self.file} does not hold the line exactly once: {self.line.strip()}"
        return "".join(f"there is no {test}. " for test in self.seen_by if not (folder / test.split("::")[0]).exists())


def read_mutations(path: Path = FAULTS) -> list[Mutation]:
    return [Mutation.read(**fault) for fault in tomllib.loads(path.read_text(encoding="utf-8"))["fault"]]


def copy_of_the_project(folder: Path) -> Path:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def exit_code(folder: Path, tests: Sequence[str]) -> int:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode


def verdict(mutation: Mutation, folder: Path) -> str:
    """An empty text when the fault was seen."""
    if problem := mutation.problem(folder):
        return problem
    file = folder / mutation.file
    sound = file.read_text(encoding="utf-8")
    file.write_text(sound.replace(mutation.line, mutation.becomes), encoding="utf-8")
    try:
        code = exit_code(folder, mutation.seen_by)
    finally:
        file.write_text(sound, encoding="utf-8")
    return "" if code == TESTS_FAILED else f"pytest ended with {code}"


def main(words: Sequence[str]) -> int:
    chosen = [m for m in read_mutations() if not words or any(word in f"{m.name} {m.file}" for word in words)]
    tests = tuple(dict.fromkeys(test for m in chosen for test in m.seen_by))
    n_missed, folders = 0, SimpleQueue[Path]()

    def look(mutation: Mutation) -> str:
        folder = folders.get()
        try:
            return verdict(mutation, folder)
        finally:
            folders.put(folder)

    with tempfile.TemporaryDirectory(prefix="detent-mutations-") as name, ThreadPoolExecutor(AT_ONCE) as pool:
        copies = [copy_of_the_project(Path(name) / str(n)) for n in range(AT_ONCE)]
        if any(pool.map(lambda n: exit_code(copies[n], tests[n::AT_ONCE]), range(min(AT_ONCE, len(tests))))):
            print("Without a fault the tests must pass, and they do not.", file=sys.stderr)
            return 1
        for folder in copies:
            folders.put(folder)
        for mutation, why in zip(chosen, pool.map(look, chosen), strict=True):
            n_missed += bool(why)
            print(f"{'NOT SEEN' if why else 'seen    '}  {mutation.name}{': ' + why if why else ''}", flush=True)
    print(f"{len(chosen) - n_missed} of {len(chosen)} seen")
    return 1 if n_missed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
