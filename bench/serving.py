"""How fast a prompt is fetched, beside a bare route and beside MLflow's prompt by alias, and what a chat costs beside
its model.

    python bench/serving.py [--rounds 5] [--seconds 4]

One api process, and that for feedback, as `detent serve` starts them, during a rollout; 16 connections; 20,000 units in
turn. The bare route is Starlette on uvicorn (httptools, uvloop): it hashes the unit as the assignment does and returns
the same bytes, or puts the variables into the messages. Each round asks ours, then the bare one, so that what the
machine does besides meets both. MLflow's server reads the prompt by alias over REST from SQLite. Two workers stand
beside one. Prompts are fetched while feedback comes in at half of what the same process keeps. Chats go through api and
gateway to a model that answers at once, and to that model itself. Together with
bench/ingestion.py this makes docs/reference/speed.md; `make bench-paths` runs both in half an hour."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.common import Cell, beside, options_of, write_result
from bench.speed import chats, client, rivals
from bench.speed.client import CONNECTIONS, WARM_S, Load, in_turns, ratio_of_rates, ratio_of_waits
from bench.speed.events import KINDS, posts
from bench.speed.installation import FAMILY, Installation, installation, tokens_of
from bench.speed.servers import free_port, wait_until_up

UNITS = 20_000
BATCH, BATCH_CONNECTIONS = 100, 4
PATH = f"/v1/families/{FAMILY}/prompt"
RENDER_PATH = f"/v1/families/{FAMILY}/render"


def main() -> None:
    options = options_of(__doc__, rounds=5, seconds=(4.0, "of each side in each round"))
    write_result("serving", serving(options.rounds, options.seconds))


def serving(rounds: int, seconds: float) -> list[Cell]:
    fetched = [cell for keys in (True, False) for cell in prompts(rounds, seconds, with_keys=keys)]
    return [
        *fetched,
        *renders(rounds, seconds),
        *two_workers(rounds, seconds),
        beside_feedback(2 * rounds, seconds),  # a slowest hundredth differs most from round to round
        beside_mlflow(fetched[0], seconds),
        *chats.cells(rounds, seconds),
    ]


def prompts(rounds: int, seconds: float, *, with_keys: bool = True) -> list[Cell]:
    with installation(with_keys=with_keys) as place, tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body"
        body.write_bytes(_fetched(place))
        with rivals.running("hash", body) as bare:
            requests = [f"GET {PATH}?unit=u{i}" for i in range(UNITS)]
            both = {place.url: place.headers, bare: {"Accept": "application/json"}}
            loads = in_turns(both, requests, rounds=rounds, seconds=seconds)
    sides = loads[place.url], loads[bare], "a bare Starlette route"
    how = "with a key" if with_keys else "without keys"
    return [
        ratio_of_rates(f"prompt fetches {how}, {CONNECTIONS} connections", *sides),
        ratio_of_waits(f"p99 of a prompt fetch {how}, {CONNECTIONS} connections", *sides),
    ]


def renders(rounds: int, seconds: float) -> list[Cell]:
    requests = [
        f"POST {RENDER_PATH} " + json.dumps({"unit": f"u{i}", "variables": {"text": f"Invoice {i} came twice."}})
        for i in range(UNITS)
    ]
    with installation() as place, tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body"
        body.write_bytes(_fetched(place))
        with rivals.running("fill", body) as bare:
            both = {place.url: place.headers, bare: {"Content-Type": "application/json"}}
            loads = in_turns(both, requests, rounds=rounds, seconds=seconds)
    sides = loads[place.url], loads[bare], "a bare Starlette route that fills in the messages"
    return [
        ratio_of_rates(f"prompts filled in with a key, {CONNECTIONS} connections", *sides),
        ratio_of_waits(f"p99 of a prompt filled in with a key, {CONNECTIONS} connections", *sides),
    ]


def two_workers(rounds: int, seconds: float) -> list[Cell]:
    requests = [f"GET {PATH}?unit=u{i}" for i in range(UNITS)]
    with installation(workers=2) as two, installation() as one:
        loads = in_turns({two.url: two.headers, one.url: one.headers}, requests, rounds=rounds, seconds=seconds)
    sides = loads[two.url], loads[one.url], "one worker"
    return [
        ratio_of_rates(f"two workers: prompt fetches with a key, {CONNECTIONS} connections", *sides),
        ratio_of_waits(f"two workers: p99 of a prompt fetch with a key, {CONNECTIONS} connections", *sides),
    ]


def beside_feedback(rounds: int, seconds: float) -> Cell:
    """p99 of prompts with and without feedback in batches, at half of the rate that the process keeps.

    A round in which less than nine tenths of the feedback came to be sent says nothing and is asked again; where most
    do, the figure is not measured.
    """
    case = f"p99 of prompts while feedback comes in at half of what is kept, {CONNECTIONS} connections"
    requests = [f"GET {PATH}?unit=u{i}" for i in range(UNITS)]
    with installation() as place:
        events = posts(tokens_of(place, 2_000), next(iter(KINDS)), batch=BATCH, n=200)
        sent: dict[str, Any] = {"connections": BATCH_CONNECTIONS, "seconds": seconds, "headers": place.headers}
        capacity = float(np.median([client.ask(place.url, events, **sent).per_s for _ in range(3)]))
        print(f"feedback: {capacity:.1f} batches of {BATCH} a second at most", file=sys.stderr)
        sent["seconds"] = seconds + 1.0
        busy: list[Load] = []
        quiet: list[Load] = []
        for number in range(2 * rounds):
            loads = {}
            try:
                for is_busy in (True, False) if number % 2 else (False, True):
                    with ExitStack() as beside:
                        if is_busy:
                            beside.enter_context(client.steady(place.url, events, per_s=capacity / 2, **sent))
                            time.sleep(0.5)
                        load = client.ask(
                            place.url, requests, connections=CONNECTIONS, seconds=seconds, headers=place.headers
                        )
                    loads[is_busy] = load
                    how = "beside feedback" if is_busy else "alone"
                    print(f"{how}: {load.per_s:,.0f}/s p50 {load.p50_ms:.2f} p99 {load.p99_ms:.2f} ms", file=sys.stderr)
            except client.TooFewSent as error:
                print(error, file=sys.stderr)
                continue
            busy.append(loads[True])
            quiet.append(loads[False])
            if len(busy) == rounds:
                return ratio_of_waits(case, busy, quiet, "without feedback")
    return Cell(case=case, ours=None, unit=f"ms; feedback kept its rate in {len(busy)} of {2 * rounds} rounds", n=0)


def _fetched(place: Installation) -> bytes:
    request = urllib.request.Request(f"{place.url}{PATH}?unit=u1", headers=place.headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
        body: bytes = answer.read()
    assert json.loads(body)["rollout"] is not None, "no rollout is under way, so this would measure something else"
    return body


def beside_mlflow(ours: Cell, seconds: float) -> Cell:
    with mlflow_server() as url:
        requests = ["GET /api/2.0/mlflow/registered-models/alias?name=triage&alias=production"]
        client.ask(url, requests, connections=1, seconds=WARM_S)
        loads = [client.ask(url, requests, connections=CONNECTIONS, seconds=seconds) for _ in range(3)]
    other = float(np.median([load.per_s for load in loads]))
    assert ours.ours is not None
    spread = f"{min(load.per_s for load in loads):.4g} to {max(load.per_s for load in loads):.4g} for MLflow"
    case, name = "prompt fetches beside MLflow's prompt by alias over REST", "MLflow's server, one process, SQLite"
    return beside(case, ours.ours, other, name, f"a second; {spread}", len(loads))


@contextmanager
def mlflow_server() -> Iterator[str]:
    """A server on an SQLite file of its own with one prompt, whose alias is `production`."""
    with tempfile.TemporaryDirectory(prefix="detent-speed-mlflow-") as folder:
        quiet = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        environment = {**os.environ, **quiet}
        uri, port = f"sqlite:///{folder}/mlflow.db", free_port()
        make = (
            "import mlflow; "
            f"mlflow.set_tracking_uri({uri!r}); "
            "p = mlflow.genai.register_prompt('triage', template='Is it billing or technical? {{text}}'); "
            "mlflow.genai.set_prompt_alias('triage', alias='production', version=p.version)"
        )
        subprocess.run([sys.executable, "-c", make], env=environment, check=True, capture_output=True, timeout=180)
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
        command += ["--backend-store-uri", uri, "--default-artifact-root", folder]
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_up(f"{url}/version", process, "MLflow's server", within_s=120)
            yield url
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
