"""Who holds which lock, and under which address each running process answers: files under var/run, mostly."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import structlog

from optimizer.core.base.errors import Refused
from optimizer.host.config import Settings

ANNOUNCE_AGAIN_S = 1.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PRIVATE = 0o077  # umask: no mode for others on what is written


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProcess:
    """A process that announced itself and is alive. ``url`` is None for one that does not listen."""

    name: str
    pid: int
    url: str | None
    since: datetime


def announce(settings: Settings, name: str, url: str | None = None, **more: Any) -> None:
    """Write var/run/<name>.json in one step, once the process is READY: a reader sees all of it or nothing."""
    settings.run_dir().mkdir(parents=True, exist_ok=True)
    values = {**start_of(os.getpid()), "url": url, "folder": _identity(settings), **more}
    write_whole(settings.run_dir() / f"{name}.json", values)


def announce_soon(settings: Settings, name: str, url: str | None = None, **more: Any) -> None:
    """``announce``, where a full disk stops no process: it is tried again every second until there is room."""
    try:
        announce(settings, name, url, **more)
    except OSError as error:
        structlog.get_logger(name).warning("the address cannot be written, will try again", error=str(error))
        again = threading.Timer(ANNOUNCE_AGAIN_S, announce_soon, (settings, name, url), more)
        again.daemon = True
        again.start()


def withdraw(settings: Settings, name: str) -> None:
    """Removes the address, unless another process announced it and lives, such as a worker beside one that stood by.
    A missing file is fine, and one that cannot be removed is ignored once its process has ended.
    """
    process = find(settings, name)
    if process is not None and process.pid != os.getpid():
        return
    with suppress(OSError):
        (settings.run_dir() / f"{name}.json").unlink(missing_ok=True)


def find(settings: Settings, name: str) -> RunningProcess | None:
    """Who announced ``name`` here, if that process still lives; a killed process's file is ignored.

    So is a file in the copy of a home: its process serves the home that was copied.
    """
    if (values := _announced(settings, name)) is None:
        return None
    since = datetime.fromtimestamp(values["created"] + (psutil.boot_time() if psutil.LINUX else 0.0), UTC)
    return RunningProcess(name=name, pid=int(values["pid"]), url=values.get("url"), since=since)


def _announced(settings: Settings, name: str) -> dict[str, Any] | None:
    """What that process wrote of itself."""
    try:
        values = json.loads((settings.run_dir() / f"{name}.json").read_text(encoding="utf-8"))
        is_here = values.get("folder", _identity(settings)) == _identity(settings)
        return values if is_here and lives(values) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _identity(settings: Settings) -> list[int]:
    """The identity of the folder of run files on this machine: a copy has another one, a moved folder keeps its own."""
    folder = settings.run_dir().stat()
    return [folder.st_dev, folder.st_ino]


def api_names(n_workers: int) -> tuple[str, ...]:
    """The names of the api's processes: the first has that of the api itself."""
    return ("api", *(f"api-{number}" for number in range(2, n_workers + 1)))


def api_names_running(settings: Settings) -> tuple[str, ...]:
    """The names as the running server started them; where none runs, as this home's settings would."""
    return api_names(int(note(settings, "serve", "api_workers") or settings.api.workers))


def feedback_names_running(settings: Settings) -> tuple[str, ...]:
    """The name of the process for long bodies of feedback; as ``api_names_running``."""
    noted = note(settings, "serve", "feedback_process")
    return ("feedback",) if (settings.api.feedback_process if noted is None else noted) else ()


def find_api(settings: Settings) -> RunningProcess | None:
    """One of the api's processes, which all answer at the same address."""
    processes = (find(settings, name) for name in api_names_running(settings))
    return next((process for process in processes if process is not None), None)


def start_of(pid: int) -> dict[str, Any]:
    """A process and its start, by which ``lives`` knows it again whatever happens to the clock.

    On Linux ``create_time`` moves where the clock is stepped, so the start counts from that of the machine, which is
    named: pids and starts of its services are alike each time.
    """
    created = psutil.Process(pid).create_time()
    if not psutil.LINUX:
        return {"pid": pid, "created": created}
    return {
        "pid": pid,
        "created": created - psutil.boot_time(),
        "boot": BOOT_ID.read_text() if BOOT_ID.exists() else "",
    }


def lives(start: Mapping[str, Any]) -> bool:
    """Whether the process of this ``start_of`` still runs; False also where its pid has gone to another process."""
    try:
        now = start_of(int(start["pid"]))
        is_same = now.get("boot") == start.get("boot") and abs(now["created"] - float(start["created"])) <= 2
        return is_same and psutil.Process(now["pid"]).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def write_whole(path: Path, content: object) -> None:
    """Writes bytes, or values as JSON, in one step: a reader sees all of it or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        part.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def note(settings: Settings, name: str, member: str) -> Any:
    """A further member that a living process announced, such as the models of ``gateway``; None without one."""
    return (_announced(settings, name) or {}).get(member)


class ProcessLock:
    """A lock that one process may hold, released by the system however that process ends.

    Args:
        place: the path of its files, to which each puts an ending of its own.
    """

    def __init__(self, place: Path) -> None:
        from filelock import FileLock  # here, because most processes only look for addresses

        self._lock_file, self._holder = Path(f"{place}.lock"), Path(f"{place}.holder")
        self._lock = FileLock(self._lock_file, thread_local=False)  # a study's thread releases it

    def acquire(self, timeout_s: float = 0.0) -> bool:
        """True when this process holds the lock now; a negative timeout waits for ever."""
        self._lock_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=timeout_s, poll_interval=0.2)
        except TimeoutError:
            return False
        self._holder.write_text(f"{os.getpid()} {self._lock_file.stat().st_ino}", encoding="utf-8")
        return True

    def acquire_or_refuse(self, what: str, advice: str) -> None:
        """Raises Refused naming the holder: ``what`` says who is in the way, ``advice`` what to do."""
        if not self.acquire():
            raise Refused(f"{what} (pid {self.holder() or 'unknown'}). {advice}", pid=self.holder())

    def holder(self) -> int | None:
        """The pid that took the lock last; meaningful only while the lock is held. None in the copy of a home."""
        try:
            pid, _, inode = self._holder.read_text(encoding="utf-8").partition(" ")
            return int(pid) if not inode or int(inode) == self._lock_file.stat().st_ino else None
        except (OSError, ValueError):
            return None

    def is_held(self) -> bool:
        """Whether the process that took the lock last is still there; nothing is locked to find out."""
        pid = self.holder()
        return pid is not None and psutil.pid_exists(pid)

    def release(self) -> None:
        if self._lock.is_locked:
            self._holder.unlink(missing_ok=True)
            self._lock.release()
