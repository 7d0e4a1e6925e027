"""Kill -9 each process at random moments of studies and of a stream of feedback; then count what was lost,
asked twice or half-written.

    python bench/crash.py [--kills 20] [--family documentation_topic] [--seed 1]

Two installations run the same studies with the same seeds on the embedded model: one under fire, one in peace and
without a server. Prints one JSON object and writes bench/results/crash.json; exits 1 when a promise was broken.
Everything happens below a temporary folder and on loopback ports. With bench/gate_trial.py half an hour (`make bench`).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from common import ROOT, Cell, options_of, write_result

DETENT = str(Path(sys.executable).with_name("detent"))
FAMILY = "documentation_topic"
OF_DEMO = ROOT / "demo" / "families"
OF_INIT = ROOT / "optimizer" / "templates" / "families"  # shorter texts, answered several times as fast
DEFINITION = {"n_train": 12, "n_dev": 6, "n_holdout": 6, "n_candidates": 1, "n_settings": 1, "max_examples": 3}
SPACE = {
    "examples": {"max": 3},
    "max_tokens": {"int": [4, 8]},
}  # temperature stays 0: the same answers in both installations
BUDGET = {"calls": 400}
READY = ("api", "feedback", "gateway", "worker", "mlflow")
TARGETS = (*READY, "embedded")
BACK_WITHIN_S = 240
LOOK_S = 0.2
BATCH_EVERY_S = 0.2
LONG_ANSWER = "an answer " * 100  # so that a batch goes to the process for feedback


@dataclass(kw_only=True)
class KilledInstallation:
    """One ``detent serve`` in a home of its own. ``own``: of its environment; ``awaited``: what has to be up."""

    home: Path
    family: str = FAMILY
    own: Mapping[str, str] = field(default_factory=dict)
    awaited: Sequence[str] = READY
    process: subprocess.Popen[bytes] | None = None
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20))

    def run(self, *words: str) -> str:
        done = subprocess.run([DETENT, *words], env=self._environment(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"detent {' '.join(words)} failed with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def start(self) -> None:
        with (self.home / "serve.out").open("ab") as out:
            self.process = subprocess.Popen(
                [DETENT, "serve"], env=self._environment(), stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )
        self.wait(lambda: all(self.ready(name) for name in self.awaited), "all processes are up")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)

    def running(self, name: str) -> int | None:
        """The process behind a name from its first moment on, also before it is ready: a kill may come at any time."""
        words = (
            ["-m", "optimizer.adapters.models.embedded_server"]
            if name == "embedded"
            else ["-m", "optimizer.processes", name]
        )
        return next((p.pid for p in self._descendants() if p.cmdline()[1 : 1 + len(words)] == words), None)

    def kill(self, name: str) -> None:
        pid = self.running(name)
        assert pid is not None, f"{name} does not run"
        os.kill(pid, signal.SIGKILL)

    def ready(self, name: str) -> bool:
        """Whether the process has announced its address; the embedded model's server announces none of its own."""
        pid = self.running(name)
        if name == "embedded" or pid is None:
            return pid is not None
        with contextlib.suppress(OSError, ValueError, KeyError):
            return bool(json.loads((self.home / "var/run" / f"{name}.json").read_text())["pid"] == pid)
        return False

    def _descendants(self) -> list[psutil.Process]:
        """Only what we started may be killed."""
        rows = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True) if self.process else []:
                with contextlib.suppress(psutil.NoSuchProcess):
                    if child.status() != psutil.STATUS_ZOMBIE and child.cmdline():
                        rows.append(child)
        return rows

    @property
    def url(self) -> str:
        return str(json.loads((self.home / "var/run/api.json").read_text())["url"])

    def get(self, path: str) -> Any:
        """The answer, asked again while the api is being restarted."""
        until = time.monotonic() + BACK_WITHIN_S
        while True:
            try:
                answer = self.http.get(self.url + path)
                if answer.status_code < 500:
                    answer.raise_for_status()
                    return answer.json()
            except (httpx.TransportError, OSError, ValueError, KeyError):
                pass
            if time.monotonic() > until:
                raise TimeoutError(f"{path} did not answer within {BACK_WITHIN_S} s; see {self.home}/var/logs")
            time.sleep(0.1)

    def study(self, seed: int) -> str:
        """Posts a study; when the answer was lost with the process, finds the one that was made."""
        body = {"seed": seed, "budget": BUDGET, "definition": DEFINITION, "space": SPACE}
        until = time.monotonic() + BACK_WITHIN_S
        while time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError, OSError, ValueError, KeyError):
                answer = self.http.post(f"{self.url}/v1/families/{self.family}/studies", json=body)
                if answer.status_code == 202:
                    return str(answer.json()["id"])
                if answer.status_code == 409 and (
                    studies := [s for s in self.get("/v1/studies")["items"] if s["seed"] == seed]
                ):
                    return str(studies[0]["id"])
                if answer.status_code < 500:
                    raise RuntimeError(f"the study was refused: {answer.text}")
            time.sleep(0.2)
        raise TimeoutError("no study could be posted")

    def wait(self, condition: Any, what: str, within_s: float = BACK_WITHIN_S) -> None:
        until = time.monotonic() + within_s
        while not condition():
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"detent serve ended with {self.process.returncode}; see {self.home}/serve.out")
            if time.monotonic() > until:
                raise TimeoutError(f"not within {within_s:g} s: {what}; see {self.home}/var/logs")
            time.sleep(LOOK_S)

    def _environment(self) -> dict[str, str]:
        ports = {"DETENT_PORT": "0", "DETENT_MLFLOW_PORT": "0", "DETENT_RESTART_WAIT_MAX_SECONDS": "0.5"}
        return {**os.environ, "DETENT_HOME": str(self.home), "DETENT_PROFILE": "dev", **ports, **self.own}


class FeedbackStream(threading.Thread):
    """Posts batches without end and remembers what was acknowledged.

    A batch without an answer is sent again, as a client would.
    """

    def __init__(self, installation: KilledInstallation) -> None:
        super().__init__(daemon=True)
        self.installation = installation
        self.acknowledged: list[str] = []
        self.n_sent = 0
        self.n_unanswered = 0
        self.wrong: list[str] = []
        self._end = threading.Event()

    def run(self) -> None:
        http = httpx.Client(timeout=20)
        ended = False
        while not ended:
            ended = self._end.is_set()  # with one batch more: what was killed last has to take it
            ids = [f"crash-{self.n_sent}-{i}" for i in range(20)]
            events = [
                {
                    "id": id,
                    "family": self.installation.family,
                    "unit": f"u{i}",
                    "success": i % 3 > 0,
                    "output": LONG_ANSWER,
                    "latency_ms": 12.5,
                }
                for i, id in enumerate(ids)
            ]
            self.n_sent += 1
            while True:
                try:
                    answer = http.post(self.installation.url + "/v1/feedback", json=events)
                    if answer.status_code == 200:
                        body = answer.json()
                        if body["rejected"]:
                            self.wrong.append(str(body["rejected"][:2]))
                        self.acknowledged += ids
                        break
                    if answer.status_code < 500:
                        self.wrong.append(answer.text[:300])
                        break
                except (httpx.TransportError, OSError, ValueError, KeyError):
                    pass
                self.n_unanswered += 1
                time.sleep(0.1)
            time.sleep(BATCH_EVERY_S)

    def finish(self) -> None:
        self._end.set()
        self.join(timeout=BACK_WITHIN_S)


def installation(folder: Path, name: str, family: str) -> KilledInstallation:
    home = folder / name
    home.mkdir(parents=True)
    for part in ("families", "config"):
        shutil.copytree(ROOT / part, home / part)
    if (OF_DEMO / family).exists():
        shutil.copytree(OF_DEMO / family, home / "families" / family)
    installation = KilledInstallation(home=home, family=family, awaited=TARGETS)
    if (OF_INIT / family).exists():
        shutil.copytree(OF_INIT / family, home / "families" / family)
        installation.run("import", str(home / "families" / family / "examples.jsonl"), "--family", family, "--curated")
    else:
        installation.run("import", "installed-docs", "--family", family)
    return installation


@contextlib.contextmanager
def serving(installation: KilledInstallation) -> Iterator[KilledInstallation]:
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()


def finished(place: KilledInstallation, id: str) -> bool:
    return place.get(f"/v1/studies/{id}")["status"] in ("finished", "failed", "cancelled")


def run_in_peace(place: KilledInstallation, seed: int) -> dict[str, Any]:
    """The same search by one command, in its own process."""
    definition = place.home / f"study-{seed}.yaml"
    definition.write_text(json.dumps({**DEFINITION, "seed": seed, "budget": BUDGET, "space": SPACE}), encoding="utf-8")
    return dict(json.loads(place.run("study", "run", place.family, "--definition", str(definition), "--json"))["study"])


def run_under_fire(
    place: KilledInstallation, kills: int, rng: random.Random, stream: FeedbackStream
) -> tuple[dict[int, dict[str, Any]], Counter[str]]:
    """Studies one after the other until every process was killed ``kills`` times while one ran;
    the last one ends in peace and quiet.
    """
    done: dict[int, dict[str, Any]] = {}
    killed: Counter[str] = Counter()
    last: dict[str, int] = {}
    seed = 0
    while min(killed[t] for t in TARGETS) < kills:
        seed += 1
        id = place.study(seed)
        while not finished(place, id):
            time.sleep(rng.uniform(0.1, 3.0))
            up = {
                t: pid
                for t in TARGETS
                if killed[t] < kills and (pid := place.running(t)) is not None and pid != last.get(t)
            }
            if up:
                target = rng.choice(sorted(up))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(up[target], signal.SIGKILL)
                    killed[target] += 1
                    last[target] = up[target]
            elif min(killed[t] for t in TARGETS) >= kills:
                stream.finish()
        done[seed] = dict(place.get(f"/v1/studies/{id}"))
    return done, killed


def broken_promises(place: KilledInstallation, stream: FeedbackStream) -> tuple[list[str], dict[str, int]]:
    """Reads the database of a stopped installation."""
    db = sqlite3.connect(place.home / "var/detent.db")
    broken = list(stream.wrong)
    for table in ("feedback_events", "interactions"):
        ids = {row[0] for row in db.execute(f"SELECT id FROM {table} WHERE id LIKE 'crash-%'")}
        if missing := set(stream.acknowledged) - ids:
            broken.append(f"{len(missing)} acknowledged events are not in {table}, such as {sorted(missing)[:3]}")
        batches = Counter(id.rsplit("-", 1)[0] for id in ids)
        if halves := [b for b, n in batches.items() if n != 20]:
            broken.append(f"half-written batches in {table}: {halves[:3]}")
    twice = db.execute(
        "SELECT a.study, a.key FROM lm_calls a JOIN lm_calls b ON a.study = b.study AND a.key = b.key AND a.id <> b.id "
        "WHERE a.status = 'settled' AND b.sent_at >= a.settled_at"
    ).fetchall()
    if twice:
        broken.append(f"{len(twice)} journaled answers were asked for again, such as {twice[0]}")
    open_calls = db.execute("SELECT count(*) FROM lm_calls WHERE status = 'sent' AND study IS NOT NULL").fetchone()[0]
    if open_calls:
        broken.append(f"{open_calls} calls of finished studies are still open in the journal")
    if (check := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
        broken.append(f"the database is damaged: {check}")
    counts = {
        status: n
        for status, n in db.execute("SELECT status, count(*) FROM lm_calls WHERE study IS NOT NULL GROUP BY status")
    }
    (counts["lost and sent again"],) = db.execute(
        "SELECT count(*) FROM lm_calls a WHERE a.status = 'lost' AND a.study IS NOT NULL AND EXISTS "
        "(SELECT 1 FROM lm_calls b WHERE b.study = a.study AND b.key = a.key AND b.sent_at >= a.settled_at)"
    ).fetchone()
    return broken, counts


def cells(result: dict[str, Any]) -> list[Cell]:
    n_kills = sum(result["kills"].values())
    counts = {
        "acknowledged events": result["acknowledged_events"],
        "acknowledged events lost": 0,
        "calls in flight at a kill, reported as lost": result["lost_calls"],
        "of these sent again": result["journal"]["lost and sent again"],
        "journaled answers asked for again": 0,
        "studies with the winner of the study in peace": result["studies"],
    }
    return [
        Cell(case=case, ours=n, other_name="-", unit=f"count, {n_kills} kills", n=n_kills) for case, n in counts.items()
    ]


def main() -> int:
    args = options_of(
        __doc__,
        kills=(20, "of each process (default 20)"),
        family=(FAMILY, f"that studies search for (default {FAMILY}); support_topics, of detent init, is fast"),
        seed=(1, "of the random moments"),
        no_result=(False, "write no bench/results/crash.json"),
    )
    folder = Path(tempfile.mkdtemp(prefix="detent-crash-"))
    started = time.monotonic()
    try:
        with serving(installation(folder, "fire", args.family)) as place:
            stream = FeedbackStream(place)
            stream.start()
            under_fire, killed = run_under_fire(place, args.kills, random.Random(args.seed), stream)
            stream.finish()
        broken, journal = broken_promises(place, stream)
        quiet = installation(folder, "peace", args.family)
        in_peace = {seed: run_in_peace(quiet, seed) for seed in under_fire}
        for seed, study in under_fire.items():
            if study["status"] != "finished" or in_peace[seed]["status"] != "finished":
                broken.append(
                    f"study {seed} ended {study['status']} ({study.get('error')}), in peace {in_peace[seed]['status']}"
                    f" ({in_peace[seed].get('error')})"
                )
            elif study["winner"] != in_peace[seed]["winner"]:
                broken.append(f"study {seed} found {study['winner']}, in peace {in_peace[seed]['winner']}")
        result = {
            "kills": dict(killed),
            "studies": len(under_fire),
            "acknowledged_events": len(stream.acknowledged),
            "unanswered_posts": stream.n_unanswered,
            "journal": journal,
            "lost_calls": sum(s["spend"]["n_lost"] for s in under_fire.values()),
            "broken": broken,
            "minutes": round((time.monotonic() - started) / 60, 1),
        }
        print(json.dumps(result, indent=1))
        if not broken and not args.no_result:  # a broken promise is no measurement: it is printed above and ends with 1
            write_result("crash", cells(result))
        return 1 if broken else 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
