"""``detent serve``: starts api, gateway, worker and mlflow, restarts them when they die, and ends them with itself.

The api may be several processes, which share a port.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import IO

import structlog

from optimizer.core.base.errors import Refused
from optimizer.host import logs, run_files, user_homes
from optimizer.host.config import Settings, profile_file
from optimizer.host.ports_in_use import BoundPort, is_loopback, listen, reachable_host
from optimizer.runtime.service_manager import ServiceManager

log = structlog.get_logger(__name__)

FIRST_WAIT_S = 0.5
STABLE_AFTER_S = 30.0  # after a life this long, the wait before a restart is the first one again
MOST_RESTARTS = 100  # that are told of in the run file
UVICORN = "0.54"  # as pyproject.toml bounds it
POLL_S = 0.1
NEWS_S = 2.0  # between two questions about studies and rollouts that began or ended by themselves
ENDING_ORDER = (("api",), ("feedback", "gateway", "worker", "mlflow"))  # no new requests first, then what they needed
END_WAIT_S = 6.0
# At the start each process waits at most this long for those before it: a small machine copes with one start at a time.
TURN_WAIT_S = 8.0

Report = Callable[[str], object]  # takes a sentence; False: it could not be written
# (process, sentence); "" closes the alert. False: it could not be written, and is asked for again.
Alarm = Callable[[str, str], object]


@dataclass(kw_only=True)
class Child:
    """One supervised process, and what is known of it."""

    name: str  # of its run file, its logs and its alerts
    entry: str = ""  # entry point in optimizer.processes; "": the name
    number: int = 1  # its number among the processes of its entry point
    listening: BoundPort | None = None
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0  # monotonic seconds
    next_start_at: float = 0.0
    n_restarts: int = 0
    wait_s: float = FIRST_WAIT_S
    is_ready: bool = False
    has_alert: bool = True  # at first one of a supervisor before may be open
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.entry = self.entry or self.name

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


def next_wait_s(current_s: float, lived_s: float, longest_s: float) -> float:
    """The wait before the start after the next: twice as long each time, and the first one after a stable run."""
    return FIRST_WAIT_S if lived_s >= STABLE_AFTER_S else min(current_s * 2, longest_s)


def refuse_other_uvicorn(version: str) -> None:
    """Raises Refused for a version of uvicorn that ``api/http/connections.py``, which uses its inner parts, does not
    fit.
    """
    if not version.startswith(f"{UVICORN}."):
        raise Refused(
            f"The server is written for uvicorn {UVICORN}, and {version} is installed here. Install that one:"
            f" uv pip install --python {shlex.quote(sys.executable)} 'uvicorn=={UVICORN}.*'"
        )


def refuse_open_door(host: str, has_keys: bool) -> None:
    """Raises Refused for an address that other machines can reach while no key is required."""
    if not is_loopback(host) and not has_keys:
        raise Refused(
            f"Without keys the server listens on this machine only, and host is {host}. "
            "Make a key first: detent keys create NAME --role operate. Or leave host at 127.0.0.1."
        )


class Supervisor:
    """The loop that supervises.

    ``report`` takes one line per event for a person, ``alarm`` takes alerts, and ``news`` is asked every few seconds;
    these two use the store, so a thread of their own waits where that is locked. A fault in any of them never ends what
    serves. ``manager``: who started this process and restarts it where it hangs.
    Lines that cannot be written are dropped; the run file counts them as ``notes_dropped``.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        report: Report,
        alarm: Alarm,
        mlflow: bool = True,
        news: Callable[[], Sequence[str]] = tuple,
        manager: ServiceManager | None = None,
    ) -> None:
        self._settings, self._report, self._alarm, self._news = settings, report, alarm, news
        self._manager = manager
        self._news_due = 0.0  # monotonic seconds; inf while it is asked
        self._beside: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._alarms: deque[tuple[str, str]] = deque()  # not written yet, in their order
        self._n_dropped = 0  # sentences that could not be reported
        # Of each when (seconds since 1970), which child, and why.
        self._restarts: deque[tuple[float, str, str]] = deque(maxlen=MOST_RESTARTS)
        self._announced: object = None  # what the run file says that changes; None: there is no file yet
        self._is_ending = False  # no Event: one signal would hold its lock while the next one needs it
        self._ending_signals = 0
        self._began_at = time.monotonic()
        # The api processes share one port: where one dies, the others go on taking requests
        first = self._listening_child("api", self._settings.host, self._settings.port)
        names = run_files.api_names(self._settings.api.workers)
        if len(names) > 1 and first.listening is not None:
            first.listening = first.listening.shared()
        others = (
            Child(name=name, entry="api", number=number, listening=first.listening)
            for number, name in enumerate(names[1:], start=2)
        )
        self._children = [first, *others]
        if settings.api.feedback_process:
            self._children.append(self._listening_child("feedback", "127.0.0.1", 0))
        self._children.append(self._listening_child("gateway", "127.0.0.1", settings.gateway_port))
        self._children.append(Child(name="worker"))
        if mlflow and settings.mlflow_tracking_uri is None:
            # MLflow has no keys, so it listens on this machine only, whatever ``host`` says. The port is bound here,
            # since MLflow takes long to start, and another program that bound it meanwhile would pass for MLflow.
            child = self._listening_child("mlflow", "127.0.0.1", self._settings.mlflow_port)
            assert child.listening is not None
            child.environment = {"DETENT_MLFLOW_PORT": str(child.listening.port)}
            self._children.append(child)

    @property
    def names(self) -> frozenset[str]:
        """Of the processes that it starts."""
        return frozenset(child.name for child in self._children)

    def run(self) -> None:
        """Supervises until SIGTERM, SIGINT or ``stop()``. All children have ended when this returns."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` has the signal ignored
                    signal.signal(number, self._on_signal)
        self._announce()
        user_homes.enter(self._settings.home)
        for child in self._children:  # run files from before a loss of power may name another program's port
            run_files.withdraw(self._settings, child.name)
        beside = threading.Thread(target=self._work_beside, daemon=True)
        beside.start()
        try:
            while not self._is_ending:
                for child in self._children:
                    self._look_after(child)
                if time.monotonic() >= self._news_due:
                    self._news_due = inf
                    self._announce()
                    self._beside.put(self._write_alarms)  # what a locked store has not taken
                    self._beside.put(self._tell_news)
                if self._manager is not None and (api := self.url("api")) is not None:
                    self._manager.look(api)
                time.sleep(POLL_S)
        finally:
            if self._manager is not None:
                self._manager.tell("STOPPING=1")
            self._tell("Ending: " + ", ".join(self.pids()) + ".")
            for names in ENDING_ORDER:
                group = [c for c in self._children if c.entry in names]
                for child in group:
                    # Else a client that connects now waits for a process that never accepts.
                    if child.listening is not None:
                        child.listening.socket.close()
                    if child.process is not None and child.is_alive:
                        child.process.terminate()
                until = time.monotonic() + END_WAIT_S
                while time.monotonic() < until and any(c.is_alive for c in group):
                    time.sleep(POLL_S / 2)
            self._kill_all()
            for child in self._children:
                if child.process is not None:
                    child.process.wait()
                run_files.withdraw(self._settings, child.name)
            self._beside.put(None)
            beside.join(END_WAIT_S)
            self._tell("Everything has ended.")
            user_homes.leave(self._settings.home)
            run_files.withdraw(self._settings, "serve")
            if self._settings.profile == "demo":  # by its clock days are minutes: nothing goes on by it unasked
                with suppress(OSError):
                    profile_file(self._settings.home).unlink()

    def stop(self) -> None:
        self._is_ending = True

    def _announce(self) -> None:
        """Writes the run file again whenever more notes were dropped or a child was restarted; on a full disk as soon
        as there is room.
        """
        n_dropped, restarts = self._n_dropped + logs.n_dropped(), list(self._restarts)
        if (n_dropped, restarts) == self._announced:
            return
        with suppress(OSError):
            run_files.write_whole(profile_file(self._settings.home), self._settings.profile.encode())
            run_files.announce(
                self._settings,
                "serve",
                self.url("api"),
                api_workers=self._settings.api.workers,
                feedback_process=self._settings.api.feedback_process,
                notes_dropped=n_dropped,
                restarts=restarts,
            )
            self._announced = n_dropped, restarts

    def _tell(self, sentence: str) -> None:
        self._n_dropped += self._report(sentence) is False

    def _work_beside(self) -> None:
        while (act := self._beside.get()) is not None:
            try:
                act()
            except Exception:  # a report that fails must not end what serves
                log.exception("news or an alarm could not be told")

    def _tell_news(self) -> None:
        try:
            for sentence in self._news():
                self._tell(sentence)
        finally:
            self._news_due = time.monotonic() + NEWS_S

    def _raise_alarm(self, process: str, sentence: str) -> None:
        self._alarms.append((process, sentence))
        self._beside.put(self._write_alarms)

    def _write_alarms(self) -> None:
        """Each in its turn: where a close were lost, the next death would find its alert open, and send no message."""
        while self._alarms:
            try:
                if self._alarm(*self._alarms[0]) is False:
                    return
            except Exception:  # such an alarm is lost alone
                log.exception("an alarm could not be written", child=self._alarms[0][0])
            self._alarms.popleft()

    def url(self, name: str) -> str | None:
        """The address of a child, known before it is ready; None for a child that does not listen."""
        listening = next((c.listening for c in self._children if c.name == name), None)
        return f"http://{reachable_host(listening.host)}:{listening.port}" if listening else None

    def pids(self) -> dict[str, int]:
        return {c.name: c.process.pid for c in self._children if c.process is not None and c.is_alive}

    def _listening_child(self, name: str, host: str, port: int) -> Child:
        listening = listen(host, port, name)
        if listening.notice:
            self._tell(listening.notice)
        return Child(name=name, listening=listening)

    def _look_after(self, child: Child) -> None:
        logs.keep_short(self._output(child), int(self._settings.log_file_mb * 1024 * 1024))
        now = time.monotonic()
        if child.process is None:
            if now >= child.next_start_at and self._is_its_turn(child, now):
                try:
                    self._start(child)
                except OSError as error:  # no process, file or socket to be had: what runs goes on
                    self._start_later(child, f"{child.name} could not be started: {error}", 0.0, now)
        elif not child.is_alive:
            assert child.process is not None
            pid, code = child.process.pid, child.process.returncode
            _kill_group(pid)  # its own children must not outlive it
            lived_s = now - child.started_at
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self._start_later(
                child, f"{child.name} (pid {pid}) {how} after {lived_s:.0f} s", lived_s, now, exit_code=code
            )
        elif not child.is_ready:
            process = run_files.find(self._settings, child.name)
            if process is not None and process.pid == child.process.pid:
                child.is_ready = True
                self._tell(
                    f"{child.name} is ready" + (f" at {process.url}" if process.url else "") + f" (pid {process.pid})"
                )
        elif child.has_alert and now - child.started_at >= STABLE_AFTER_S:
            child.has_alert = False
            self._raise_alarm(child.name, "")

    def _is_its_turn(self, child: Child, now: float) -> bool:
        """Whether the child may start: the api first, then gateway and worker, MLflow last.

        This order is kept at the first start only; a restarted child does not wait.
        """
        if child.n_restarts or child.entry == "api":
            return True
        before = [c for c in self._children if c.entry == "api" or child.name == "mlflow"]
        return (
            all(c.is_ready for c in before if c is not child)
            or (now - self._began_at) >= (2 if child.name == "mlflow" else 1) * TURN_WAIT_S
        )

    def _start(self, child: Child) -> None:
        run_files.withdraw(self._settings, child.name)
        command = [sys.executable, "-m", "optimizer.processes", child.entry, "--number", str(child.number)]
        descriptors: Sequence[int] = ()
        with ExitStack() as ours, _opened(self._output(child)) as sink:
            if child.listening is not None and child.listening.socket.fileno() >= 0:
                bound = child.listening.socket
                if child.listening.is_shared:
                    bound = ours.enter_context(child.listening.of_one())
                descriptors = (bound.fileno(),)
                command += ["--fd", str(descriptors[0])]
            port = next(c.listening.port for c in self._children if c.entry == "api" and c.listening)
            environment = {
                "DETENT_HOME": str(self._settings.home),
                "DETENT_PROFILE": self._settings.profile,
                "DETENT_HOST": self._settings.host,
                "DETENT_PORT": str(port),
                "DETENT_API__WORKERS": str(self._settings.api.workers),
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "MLFLOW_DISABLE_TELEMETRY": "true",
            }
            child.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # when it closes, the child learns that the supervisor is gone
                stdout=None if self._settings.log_json else sink,
                stderr=None if self._settings.log_json else sink,
                # A group of its own: Ctrl-C reaches the supervisor alone, which ends the others in order. A session of
                # its own would do the same, but where Linux shares cores by session (autogroup) ``stand_back`` has no
                # effect.
                process_group=0,
                pass_fds=descriptors,
                env={**os.environ, **environment, **child.environment},
            )
        child.started_at = time.monotonic()
        child.is_ready = False
        log.info("started", child=child.name, pid=child.process.pid)

    def _output(self, child: Child) -> Path:
        return self._settings.log_dir() / f"{child.name}.out"

    def _start_later(self, child: Child, event: str, lived_s: float, now: float, **more: object) -> None:
        """Restarts the child after its wait, with an alert that says what happened; ``more`` goes into the log."""
        run_files.withdraw(self._settings, child.name)
        child.wait_s = FIRST_WAIT_S if lived_s >= STABLE_AFTER_S else child.wait_s
        child.process, child.next_start_at = None, now + child.wait_s
        child.n_restarts += 1
        self._restarts.append((time.time(), child.name, event))
        where = self._settings.log_dir() / f"{child.name}.log"
        sentence = f"{event}; it starts again in {child.wait_s:g} s. Its log: {where}"
        child.wait_s = next_wait_s(child.wait_s, lived_s, self._settings.restart_wait_max_seconds)
        self._tell(sentence)
        log.warning("restart", child=child.name, why=event, n_restarts=child.n_restarts, **more)
        child.has_alert = True
        self._raise_alarm(child.name, sentence)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._ending_signals += 1
        self._is_ending = True
        if self._ending_signals > 1:
            self._kill_all()

    def _kill_all(self) -> None:
        for child in self._children:
            if child.process is not None:
                _kill_group(child.process.pid)


def _opened(path: Path) -> IO[bytes]:
    """Where a child's own output goes. While the disk takes no file it goes nowhere: the child is needed most then."""
    try:
        return path.open("ab")
    except OSError:
        return open(os.devnull, "ab")


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
