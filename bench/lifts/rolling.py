"""One rollout as a user runs one: commands and routes of ``detent serve``, in the home where the family's study ran.

Each request is one user with one row: the prompt is fetched, the served variant's recorded answer and its score are
reported. What becomes of the candidate, the worker decides. Rollout time runs faster (the setting ``clock_scale``);
ladder, margin, gates and numbers of outcomes are the product's defaults.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

import httpx
from common import ROOT

sys.path.insert(0, str(ROOT))

from typed.command import DONE, REFUSED, typed

from lifts.homes import serve
from lifts.plan import PER_SECOND, SCALE
from lifts.recorded import VersionPair
from optimizer.core.evaluation.comparison import compare_scores
from tests.stand_ins.running_server import started

N_BEFORE = 600  # requests of the champion before, of which guardrails and margin learn
SUMMED_UP_S = 150  # within which the worker has them
LOOK_S = 2.0
LONGEST_S = 30 * 86_400 / SCALE + 60  # the product ends a rollout after 30 days of its clock
PROFILE: Mapping[str, Any] = {
    "clock_scale": SCALE,
    "tick_seconds": 2,
    "alarms": {"silence_minutes": None},
    "limits": {"operator_per_minute": 10_000},
    "family_overrides": {
        "schedule": {"cron": None},
        "triggers": {"degradation": None, "feedback": None},
        "rollout": {"feedback_window": {"floor_hours": 0}},  # every outcome comes with its request
    },
}


def roll_out(name: str, pair: VersionPair) -> dict[str, Any]:
    """How the rollout of ``pair.candidate`` ended, as a cell of the result file. Blocks for some minutes."""
    home = pair.home
    # Settings with a quicker clock, and a free port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "dev.yaml").write_text(json.dumps({**PROFILE, "port": port}), encoding="utf-8")
    serve(home, name, pair.version)
    with started(home) as server:
        cell = asyncio.run(_Rollout(name, pair, server.url).run())
        typed(home, "rollout", "verify", name)  # raises where the record does not hold
    return cell


class _Rollout:
    """Users of one family, before and during its rollout; seeded by the family's name."""

    def __init__(self, name: str, pair: VersionPair, url: str) -> None:
        self._name, self._pair, self._url = name, pair, url
        self._draw = random.Random(f"rollouts {name}")
        self._n: dict[str, int] = {pair.champion.id: 0, pair.candidate.id: 0}  # requests by variant, since the start

    async def run(self) -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=self._url, timeout=60, trust_env=False) as http:
            for _ in range(N_BEFORE // PER_SECOND):
                await self._users(http, PER_SECOND)
            await asyncio.sleep(SUMMED_UP_S)
            refused = self._start()
            self._n = dict.fromkeys(self._n, 0)
            began = time.monotonic()
            rollout = await self._until_ended(http)
            path = f"/v1/rollouts/{rollout['id']}/decisions"
            decisions = (await http.get(path, params={"limit": 1000})).raise_for_status().json()
        return self._cell(rollout, decisions["items"], refused, minutes=(time.monotonic() - began) / 60)

    def _start(self) -> str | None:
        """Starts and approves by the commands; why it had to be forced, None where the gates let it start."""
        words = ("rollout", "start", self._name, self._pair.candidate.id, "--json")
        home = self._pair.home
        answer = json.loads(typed(home, *words, allowed=(DONE, REFUSED)))
        refused = None
        if "error" in answer:
            refused = "; ".join(f"{gate['name']}: {gate['reason']}" for gate in answer["error"]["gates"])
            typed(home, *words, "--confirm", self._name, "--reason", "measured on public rows")
        typed(home, "rollout", "approve", self._name, "--reason", "measured on public rows")
        return refused

    async def _until_ended(self, http: httpx.AsyncClient) -> dict[str, Any]:
        """Users come once a second until the worker has ended the rollout, or its longest time is over."""
        path, began, looked = f"/v1/families/{self._name}/rollout", time.monotonic(), 0.0
        while True:
            second = time.monotonic()
            await self._users(http, PER_SECOND)
            if second - looked > LOOK_S:
                looked = second
                body: dict[str, Any] = (await http.get(path)).raise_for_status().json()
                if body["status"] not in ("approved", "deploying") or second - began > LONGEST_S:
                    return body
            await asyncio.sleep(max(0.0, 1 - (time.monotonic() - second)))

    async def _users(self, http: httpx.AsyncClient, n: int) -> None:
        events = await asyncio.gather(*(self._user(http) for _ in range(n)))
        report = (await http.post("/v1/feedback", json=events)).raise_for_status().json()
        if report["rejected"]:
            raise RuntimeError(f"{self._name}: reports were rejected: {report['rejected'][:2]}")

    async def _user(self, http: httpx.AsyncClient) -> dict[str, Any]:
        row = self._draw.choice(self._pair.rows)
        unit = f"user-{self._draw.getrandbits(64):x}"
        answer = await http.get(f"/v1/families/{self._name}/prompt", params={"unit": unit})
        served = answer.raise_for_status().json()
        recorded = self._pair.answers[served["variant"]][row.id]
        self._n[served["variant"]] += 1
        return {
            "assignment": served["assignment"],
            "input": dict(row.input),
            "output": recorded.text,
            "input_tokens": recorded.input_tokens,
            "output_tokens": recorded.output_tokens,
            "source": "system",
            "score": recorded.score,
        }

    def _cell(
        self, rollout: Mapping[str, Any], decisions: list[Any], refused: str | None, *, minutes: float
    ) -> dict[str, Any]:
        pair = self._pair
        compared = compare_scores(pair.scores(pair.champion), pair.scores(pair.candidate), seed=0)
        last = decisions[-1]
        evidence = (last["content"].get("inputs") or {}).get("evidence") or {}
        return {
            "family": self._name,
            "candidate": pair.what,
            "rows": pair.of_rows,
            "n_rows": compared.n,
            "champion_mean": compared.champion_mean,
            "difference": compared.lift,
            "low": compared.interval.lower,
            "high": compared.interval.upper,
            "margin": rollout["settings"]["margin"],
            "refused": refused,
            "outcome": rollout["outcome"],
            "reason": last["reason"],
            "stages": sum(one["kind"] == "advance" for one in decisions),
            "n_requests": sum(self._n.values()),
            "n_candidate": self._n[pair.candidate.id],
            "n_labelled": evidence.get("labelled"),
            "minutes": minutes,
        }
