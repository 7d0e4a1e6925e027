"""One hostile text to its reader in this process: python bench/siege/one_request.py CASE HOME prints its figures
as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fastapi.testclient import TestClient

from api.gateway.app import create_gateway
from bench.siege.worst_texts import ANSWERS, COMPLETIONS, FILES, body_of
from optimizer.adapters.clock import SystemClock
from optimizer.core.base.errors import DetentError
from optimizer.core.family.rendering import parse_output
from optimizer.core.family.settings import Output
from optimizer.host.config import Settings
from optimizer.jobs.dataset.import_examples import import_rows
from optimizer.runtime import wiring
from tests.stand_ins.faulty_provider import faulty_provider
from tests.worlds.api_world import FAMILY, make_home, serving

FAMILY_MASKED = FAMILY + "privacy: {store: masked}\n"
REMOTE = "model: {default: remote, tiers: [remote], max_tokens: 12}\n"
Answer = tuple[object, int]  # (status, bytes)


def main(case: str, home: Path) -> None:
    if case in ANSWERS:
        figures = _read(case)
    elif case in FILES:
        figures = _imported(case, _settings(home))
    else:
        figures = _posted(case, _settings(home))
    print(json.dumps(figures))


def _settings(home: Path) -> Settings:
    settings = make_home(home)
    (home / "families" / "triage" / "family.yaml").write_text(FAMILY_MASKED, encoding="utf-8")
    return settings


def _posted(case: str, settings: Settings) -> dict[str, Any]:
    path, body, media_type = body_of(case)

    def ask(client: TestClient) -> Answer:
        answer = client.post(path, content=body, headers={"content-type": media_type})
        return answer.status_code, len(answer.content)

    if path != COMPLETIONS:
        with serving(settings) as world:
            world.client.event_hooks["response"] = []  # the tests' check of each answer is not the product's work
            return _figures(lambda: ask(world.client), len(body))
    with faulty_provider() as provider:
        model = {"openai_compatible": provider.url, "model": "m", "retries": 0}
        settings.models_file.parent.mkdir(exist_ok=True)
        settings.models_file.write_text(json.dumps({"remote": model}), encoding="utf-8")
        (settings.home / "families" / "triage" / "family.yaml").write_text(FAMILY_MASKED + REMOTE, encoding="utf-8")
        with (
            serving(settings),
            TestClient(create_gateway(settings), base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client,
        ):
            return _figures(lambda: ask(client), len(body))


def _read(case: str) -> dict[str, Any]:
    declared, make = ANSWERS[case]
    output, text = Output.model_validate(declared), make()

    def read() -> Answer:
        parsed = parse_output(output, text)
        return "an error" if parsed.error else "a value", len(parsed.error or json.dumps(parsed.value))

    return _figures(read, len(text.encode()))


def _imported(case: str, settings: Settings) -> dict[str, Any]:
    name, make = FILES[case]
    path = settings.home / name
    path.write_text(make(), encoding="utf-8")
    with serving(settings) as world:
        family = world.shared.families.families["triage"]

        def read() -> Answer:
            try:
                rows = wiring.open_source(
                    str(path), family, {"text": "text", "topic": "topic"} if name.endswith(".csv") else {}
                ).rows
                report = import_rows(
                    rows, family=family, store=world.shared.store, clock=SystemClock(), actor="siege", curated=False
                )
            except DetentError as error:
                return "a refusal", len(str(error))
            return "a report", len("\n".join(report.sentences()))

        return _figures(read, path.stat().st_size)


def _figures(act: Callable[[], Answer], n_sent: int) -> dict[str, Any]:
    # What it took to make the text is not the reader's. Linux alone can forget it: elsewhere growth below that peak
    # does not show
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
    before_mb = _peak_mb()
    cpu, wall = process_time(), perf_counter()
    status, n_answered = act()
    cpu, wall = process_time() - cpu, perf_counter() - wall
    grown_mb = _peak_mb() - before_mb
    return {
        "status": status,
        "cpu_s": cpu,
        "wall_s": wall,
        "grown_mb": grown_mb,
        "sent_bytes": n_sent,
        "answered_bytes": n_answered,
    }


def _peak_mb() -> float:
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
