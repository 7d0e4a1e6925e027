"""One hostile request to an API in this process: python bench/siege/one_request.py CASE HOME prints its figures as JSON."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from time import perf_counter, process_time

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.siege.worst_texts import body_of
from tests.api_world import FAMILY, make_home, serving

FAMILY_MASKED = FAMILY + "privacy: {store: masked}\n"


def main(case: str, home: Path) -> None:
    settings = make_home(home)
    (home / "families" / "triage" / "family.yaml").write_text(FAMILY_MASKED, encoding="utf-8")
    path, body, media_type = body_of(case)
    with serving(settings) as world:
        before_mb = _peak_mb()
        cpu, wall = process_time(), perf_counter()
        answer = world.client.post(path, content=body, headers={"content-type": media_type})
        cpu, wall = process_time() - cpu, perf_counter() - wall
        figures = {"status": answer.status_code, "cpu_s": cpu, "wall_s": wall, "grown_mb": _peak_mb() - before_mb}
    print(json.dumps({**figures, "sent_bytes": len(body), "answered_bytes": len(answer.content)}))


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform == "linux" else 1024 * 1024)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
