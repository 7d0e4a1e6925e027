"""How long a bad candidate is served by real processes: ``detent serve``, users over HTTP,
the worker's own clock and ticks.

    python bench/rollouts_live.py [--rollouts 40] [--worse 20]

First, not accelerated: as many families as there are rollouts, each with one request a second (Poisson) and a canary of
10 % whose requests fail in 30 of 100 cases, the champion's in 1; every tick, lease and window is the product's default.
Seconds from the start of the canary to the decision that takes it back. Then, accelerated 360 times and so marked in
every rollout: candidates with 20 points fewer successes at 40 labels an hour, a margin of five points and a feedback
window of 24 hours; labels used, beside table B of the note on the statistics. All of it on loopback and below a
temporary folder; no model is called. Some twenty minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any

import httpx
import yaml
from common import ROOT, Cell, write_result

sys.path.insert(0, str(ROOT))

from simulations.ended import RPS, Ended, mean_cell, quantile_cell, share_cell

from tests.running_server import make_home, started

TEMPLATE = "support_topics"
SCALE, LABELS_AN_HOUR = 360, 40
HISTORY = 600  # reported requests of each champion before its rollout
LONGEST_S = 1800.0
LOOK_S = 5.0
DRAW = random.Random(1)


def failing(role: str) -> dict[str, Any]:
    failed = DRAW.random() < (0.30 if role == "candidate" else 0.01)
    return {
        "latency_ms": DRAW.lognormvariate(6, 0.4),
        "cost_usd": 0.002,
        **({"error": "upstream failed"} if failed else {"output": "account"}),
    }


def worse(role: str) -> dict[str, Any]:
    success = DRAW.random() < (0.60 if role == "candidate" else 0.80)
    return {
        "latency_ms": DRAW.lognormvariate(6, 0.4),
        "cost_usd": 0.002,
        "output": "account",
        "source": "user",
        "success": success,
    }


async def rollouts(url: str, families: list[str], *, per_second: float, report: Any) -> list[Ended]:
    async with httpx.AsyncClient(
        base_url=url, timeout=60, limits=httpx.Limits(max_connections=16, keepalive_expiry=2)
    ) as http:
        for family in families:
            champion = (
                (await http.get(f"/v1/families/{family}/prompt", params={"unit": unit()}))
                .raise_for_status()
                .json()["variant"]
            )
            past = [
                {"family": family, "variant": champion, "unit": unit(), **report("champion")} for _ in range(HISTORY)
            ]
            for i in range(0, HISTORY, 100):
                await post(http, "/v1/feedback", past[i : i + 100])
        await asyncio.sleep(150)  # until the worker has summed them up, two minutes late
        ids = {family: await start(http, family) for family in families}
        return list(await asyncio.gather(*(one(http, family, id, per_second, report) for family, id in ids.items())))


async def start(http: httpx.AsyncClient, family: str) -> str:
    draft = {"messages": [{"role": "user", "content": "Shortly, the topic? {{message}}"}], "note": "shorter"}
    variant = (await post(http, f"/v1/families/{family}/variants", draft))["variant"]
    id = (
        await post(
            http, f"/v1/families/{family}/rollouts", {"variant": variant, "confirm": family, "reason": "measured"}
        )
    )["id"]
    await post(http, f"/v1/rollouts/{id}/approve", {"reason": "measured"})
    return str(id)


async def one(http: httpx.AsyncClient, family: str, id: str, per_second: float, report: Any) -> Ended:
    """Users come, each fetches and reports, until the rollout has ended or was served too long."""
    users = asyncio.create_task(traffic(http, family, per_second, report))
    try:
        began = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            found = (await http.get(f"/v1/rollouts/{id}")).json()
            if found["status"] not in ("approved", "deploying") or time.monotonic() - began > LONGEST_S:
                break
            if users.done():
                users.result()
    finally:
        users.cancel()
    last = (await http.get(f"/v1/rollouts/{id}/decisions")).json()["items"][-1]
    ended_at, labelled = (
        datetime.fromisoformat(last["at"]),
        (last["content"]["inputs"]["evidence"] or {}).get("labelled", 0),
    )
    print(f"{family}: {found['outcome']}", file=sys.stderr, flush=True)
    took = (ended_at - datetime.fromisoformat(found["started_at"])).total_seconds() if found["outcome"] else inf
    return Ended(outcome=found["outcome"], took=took, used=labelled)


async def traffic(http: httpx.AsyncClient, family: str, per_second: float, report: Any) -> None:
    due = time.monotonic()
    while True:
        due += DRAW.expovariate(per_second)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        served = (await http.get(f"/v1/families/{family}/prompt", params={"unit": unit()})).raise_for_status().json()
        await post(http, "/v1/feedback", [{"assignment": served["assignment"], **report(served["role"])}])


async def post(http: httpx.AsyncClient, path: str, body: Any) -> Any:
    answer = (await http.post(path, json=body)).raise_for_status().json()
    if isinstance(answer, Mapping) and answer.get("rejected"):
        raise SystemExit(f"{path} rejected {answer['rejected'][:3]}; nothing was measured.")
    return answer


def unit() -> str:
    return f"user-{DRAW.getrandbits(64):x}"


def served(n: int, folder: Path, profile: dict[str, Any], *, per_second: float, report: Any) -> list[Ended]:
    home = make_home(folder / "home", "http://127.0.0.1:9", profile=profile)
    source = yaml.safe_load((home / "families" / TEMPLATE / "family.yaml").read_text(encoding="utf-8"))
    families = [f"measured_{i:02}" for i in range(n)]
    for name in families:
        (home / "families" / name).mkdir()
        (home / "families" / name / "family.yaml").write_text(
            yaml.safe_dump({**source, "name": name}), encoding="utf-8"
        )
    with started(home) as server:
        return asyncio.run(rollouts(server.url, families, per_second=per_second, report=report))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rollouts", type=int, default=40, help="candidates that fail, each in a family of its own (default 40)"
    )
    parser.add_argument("--worse", type=int, default=20, help="candidates with worse answers, likewise (default 20)")
    given = parser.parse_args()
    real = {"tick_seconds": 10, "lease_seconds": 60, "limits": {"operator_per_minute": 100_000}}
    labelled = {
        "margin": 0.05,
        "min_labelled_per_stage": 200,
        "whole_days": False,
        "feedback_window": {"floor_hours": 24},
        "metric": {"field": "success", "source": "user"},
    }
    cells: list[Cell] = []
    with tempfile.TemporaryDirectory(prefix="detent-bench-") as name:
        case = "real processes, real time: errors 1 % -> 30 % at 1 request/s"
        runs = served(given.rollouts, Path(name) / "failing", real, per_second=RPS, report=failing)
        cells += [share_cell(case, runs, "guardrail")]
        cells += [quantile_cell(case, [r.took for r in runs], q, None, "seconds until taken back") for q in (0.5, 0.9)]
        median = cells[-2].ours
        case = f"real processes, {SCALE} times accelerated: 20 points fewer successes, {LABELS_AN_HOUR} labels/h"
        profile = {**real, "tick_seconds": 1, "clock_scale": SCALE, "family_overrides": {"rollout": labelled}}
        runs = served(
            given.worse, Path(name) / "worse", profile, per_second=LABELS_AN_HOUR * SCALE / 3600, report=worse
        )
        cells += [share_cell(case, runs, "worse"), mean_cell(case, [r.used for r in runs], 526.0, "labels used")]
        hours = [r.took * SCALE / 3600 for r in runs]
        cells += [quantile_cell(case, hours, 0.5, None, "hours, 24 of them the feedback window")]
    write_result("rollouts_live", cells)
    print(
        f"\nBar: {median:.0f} s until an error rate of 30 % is taken back (median), below 300 s:"
        f" {'met' if median < 300 else 'MISSED'}"
    )
    return 0 if median < 300 else 1


if __name__ == "__main__":
    sys.exit(main())
