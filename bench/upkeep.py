"""How long a backup, a restore and the forgetting of a person take where many events are stored.

    python bench/upkeep.py [--events 10000000]

A home with so many events, half of them outcomes, and an api that serves from it. ``detent backup`` runs beside the
server, packed and not; ``detent restore`` makes a home of the unpacked file; ``detent data forget`` takes a person with
a hundred requests out of that home. Seconds are those of the whole command, its start included, and each is asked
whether it did what it says: the person's text is nowhere in the restored home afterwards. Ten million events take about
seven minutes and 25 GB of disk.

Writes bench/results/upkeep.json and docs/reference/upkeep-measured.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.common import Cell, options_of, write_result
from bench.speed.installation import FAMILY, Installation, fill, installation

DETENT = str(Path(sys.executable).with_name("detent"))
LEFT = "files with the person's text afterwards"
PERSON, MARKER, N_OF_PERSON = "person-of-the-benchmark", "the parrot of this benchmark is called Xanadu", 100
AT_ONCE = 16 << 20


def run(home: Path, *words: str) -> float:
    """Seconds of a command in this home."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DETENT_")}
    began = time.perf_counter()
    done = subprocess.run(
        [DETENT, *words], env={**environment, "DETENT_HOME": str(home)}, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"detent {' '.join(words)} failed with {done.returncode}: {done.stderr[-2000:]}")
    print(f"detent {words[0]}: {took:.1f} s", file=sys.stderr, flush=True)
    return took


def report_person(place: Installation) -> None:
    events = [
        {"family": FAMILY, "unit": PERSON, "input": {"text": f"{MARKER} {i}"}, "output": MARKER, "success": True}
        for i in range(N_OF_PERSON)
    ]
    answer = httpx.post(f"{place.url}/v1/feedback", json=events, headers=place.headers, timeout=60)
    answer.raise_for_status()
    assert answer.json()["accepted"] == N_OF_PERSON, answer.text


def files_with(marker: bytes, folder: Path) -> list[Path]:
    """Files that hold the bytes, free pages of databases and their logs included."""
    return [file for file in folder.rglob("*") if file.is_file() and _holds(file, marker)]


def _holds(file: Path, marker: bytes) -> bool:
    before = b""
    with file.open("rb") as opened:
        while part := opened.read(AT_ONCE):
            if marker in before + part:
                return True
            before = part[-len(marker) :]
    return False


def measure(n: int) -> list[Cell]:
    def cell(case: str, ours: float, unit: str = "seconds") -> Cell:
        return Cell(case=case, ours=ours, unit=unit, n=n)

    with tempfile.TemporaryDirectory(prefix="detent-upkeep-") as folder, installation() as place:
        plain, packed, restored = (Path(folder) / name for name in ("plain.tar", "packed.tar.gz", "restored"))
        began = time.perf_counter()
        fill(place, n // 2)
        report_person(place)
        print(f"{n:,} events stored: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        stored = (place.home / "var" / "detent.db").stat().st_size
        cells = [cell("store", stored / 1e9, "GB"), cell("backup", run(place.home, "backup", str(plain)))]
        cells.append(cell("file of the backup", plain.stat().st_size / 1e9, "GB"))
        cells.append(cell("backup, packed", run(place.home, "backup", str(packed))))
        cells.append(cell("file of the backup, packed", packed.stat().st_size / 1e9, "GB"))
        cells.append(cell("restore", run(restored, "restore", str(plain), "--forgotten", "none")))
        assert files_with(MARKER.encode(), restored), "the person is in the restored home"
        dry = run(restored, "data", "forget", "--unit", PERSON, "--dry-run")
        cells.append(cell("dry run of a forgetting", dry))
        cells.append(cell("forgetting", run(restored, "data", "forget", "--unit", PERSON, "--confirm", PERSON)))
        left = files_with(MARKER.encode(), restored)
        cells.append(cell(LEFT, float(len(left)), "files"))
        print(*left, sep="\n", file=sys.stderr)
    return cells


def main() -> int:
    options = options_of(__doc__, events=10_000_000)
    cells = measure(options.events)
    write_result("upkeep", cells)
    return 0 if cells[-1].ours == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
