"""Processes of the product without the seconds of CPU in which each would load its modules: forked from one that has
loaded them and done nothing else. Each has its own pid, ends as it does, and is a child of who started it.

The supervisor's children are forked before it opens a store: what SQLite knows of a file goes with the fork.
Real starts are in test_serve.py.
"""

from __future__ import annotations

import fcntl
import gc
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import forkserver, reduction, resource_tracker
from multiprocessing.connection import arbitrary_address
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
import structlog

MODULES = [
    *(
        "optimizer.cli.app",
        "optimizer.cli.service.by_itself",
        "optimizer.runtime.supervise",
        "optimizer.runtime.worker",
    ),
    *("optimizer.runtime.rooms", "optimizer.processes", "optimizer.adapters.store.database"),
    *("optimizer.adapters.models.user_calls", "optimizer.adapters.webhooks", "optimizer.adapters.files.family_files"),
    *("optimizer.content.adapters.content_files", "optimizer.jobs.families.sync_families"),
    *("api.app", "api.feedback", "api.gateway.app", "api.http.server", "uvicorn", "uvloop", "aiohttp", "dbos"),
]
N_SPARES = 12  # five processes of a server, and those that follow killed ones; after them, real starts
FIRST_FD = 200  # where descriptors wait until those of the parent are closed

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*MODULES, __name__])


class ForkServer:
    """As multiprocessing starts one for each process that needs it, but forked: modules are loaded once for all."""

    def __init__(self) -> None:
        for module in MODULES:
            import_module(module)
        import_module("api.app").declared_routes()  # half a second for each process that has an api
        self._address = arbitrary_address("AF_UNIX")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._address)
            listener.listen()
            alive, self._alive = os.pipe()  # it ends when nobody holds the end for writing any more
            self.pid = os.fork()
            if not self.pid:
                try:
                    os.close(self._alive)
                    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__  # not pytest's
                    structlog.reset_defaults()
                    gc.freeze()
                    gc.enable()
                    forkserver.main(listener.fileno(), alive, [])
                finally:
                    os._exit(0)
        os.close(alive)

    def adopt(self) -> None:
        """Have it make the processes of this one."""
        server: Any = forkserver._forkserver  # type: ignore[attr-defined]
        server._forkserver_address, server._forkserver_alive_fd = self._address, self._alive
        server.ensure_running = resource_tracker.ensure_running


SERVERS = pytest.StashKey[list[ForkServer]]()  # one for each worker of tests/workers.py


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """As a plugin, by ``-p``: before anything of the tests is loaded, which changes some of the product for itself."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as tests/conftest.py has it: a process with threads is not forked
    # Processes that a test ends by Ctrl-C hear it also where the suite runs behind a shell, which has it ignored.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    early_config.stash[SERVERS] = [ForkServer() for _ in range(early_config.known_args_namespace.workers)]


class Descriptor:
    """An open file that goes with the arguments of a process."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return _detached, (reduction.DupFd(self.fd),)


def _detached(sent: Any) -> Descriptor:
    return Descriptor(sent.detach())


class Forked:
    """As ``subprocess.Popen(command, ...)`` of ``python -m optimizer.processes`` or of the command ``detent``."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: Any = subprocess.DEVNULL,
        stdout: IO[bytes] | None = None,
        stderr: Any = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
        cwd: Path | None = None,
    ) -> None:
        """``stdin`` and ``stderr`` may be PIPE or an open file; without ``stdout`` what goes there is dropped."""
        null = os.open(os.devnull, os.O_RDWR)
        ends = [null]
        self.stdin = self.stderr = None
        given, taken = null, null
        if stdin == subprocess.PIPE:
            given, write = os.pipe()
            self.stdin = os.fdopen(write, "wb", buffering=0)
            ends.append(given)
        elif stdin != subprocess.DEVNULL:
            given = stdin.fileno()
        if stderr == subprocess.PIPE:
            read, taken = os.pipe()
            self.stderr = os.fdopen(read, encoding="utf-8")
            ends.append(taken)
        elif stderr != subprocess.DEVNULL:
            taken = stderr.fileno()
        files = {0: given, 1: stdout.fileno() if stdout else null, 2: taken, **{fd: fd for fd in pass_fds}}
        descriptors = {at: Descriptor(fd) for at, fd in files.items()}
        self._process = _context.Process(target=_first, args=(list(command), dict(env), descriptors, cwd), daemon=True)
        self._process.start()
        for end in ends:
            os.close(end)
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_forked(
    command: Sequence[str],
    *,
    input: Any = None,
    stdout: IO[bytes] | None = None,
    stderr: int = subprocess.PIPE,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120.0,
    text: bool = False,
    check: bool = False,
    capture_output: bool = True,
) -> subprocess.CompletedProcess[Any]:
    """As ``subprocess.run`` of the command ``detent`` or of ``python -m`` one of the product's modules."""
    assert capture_output
    assert stderr == subprocess.PIPE
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as captured, tempfile.TemporaryFile() as errors:
        stdin.write(input.encode() if isinstance(input, str) else input or b"")
        stdin.seek(0)
        env = os.environ if env is None else env
        process = Forked(command, env=env, stdin=stdin, stdout=stdout or captured, stderr=errors, cwd=cwd)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        out, err = (file.seek(0) or file.read() for file in (captured, errors))
    ran = subprocess.CompletedProcess(command, code, *((out.decode(), err.decode()) if text else (out, err)))
    if check:
        ran.check_returncode()
    return ran


def _first(
    command: list[str], environment: dict[str, str], files: dict[int, Descriptor], folder: Path | None = None
) -> None:
    _become(environment, {at: descriptor.fd for at, descriptor in files.items()})
    if folder is not None:
        os.chdir(folder)
    sys.path[:0] = [one for one in environment.get("PYTHONPATH", "").split(os.pathsep) if one not in sys.path]
    if "serve" in command:
        from optimizer.runtime import supervise

        spares: list[Spare] = []
        for _ in range(N_SPARES):
            spares.append(Spare.fork(spares))
        supervise.subprocess = SimpleNamespace(  # type: ignore[assignment]
            PIPE=subprocess.PIPE,
            Popen=lambda *words, **options: (spares.pop(0).become if spares else subprocess.Popen)(*words, **options),
        )
    _run(command)


@dataclass
class Spare:
    """A process that waits to be told what it is, with as much of ``subprocess.Popen`` as a supervisor uses.

    It ends with its parent.
    """

    pid: int
    orders: socket.socket
    returncode: int | None = None

    @classmethod
    def fork(cls, before: Sequence[Spare]) -> Spare:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if pid := os.fork():
            its.close()
            return cls(pid, ours)
        code: Any = 1
        try:
            for other in (ours, *(spare.orders for spare in before)):
                other.close()
            message, fds, _flags, _address = socket.recv_fds(its, 1 << 16, 16)
            code = message and _ordered(pickle.loads(message), fds)
        except SystemExit as ended:
            code = ended.code
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                threading._shutdown()  # type: ignore[attr-defined]
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 0 if code is None or code == b"" else 1)

    def become(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        stdout: Any,
        stderr: Any,
        pass_fds: Sequence[int],
        **_: Any,
    ) -> Spare:
        read, write = os.pipe()
        files = {0: read, 1: stdout.fileno() if stdout else 1, 2: stderr.fileno() if stderr else 2}
        files |= {fd: fd for fd in pass_fds}
        message = pickle.dumps((list(command), dict(env), list(files)))
        socket.send_fds(self.orders, [message], list(files.values()))
        os.close(read)
        self.stdin = write  # open as long as this process lives
        self.orders.close()
        return self

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self) -> int:
        while self.poll() is None:
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def _ordered(order: tuple[list[str], dict[str, str], list[int]], fds: Sequence[int]) -> None:
    command, environment, places = order
    os.setsid()
    _become(environment, dict(zip(places, fds, strict=True)))
    _run(command)


def _become(environment: Mapping[str, str], files: Mapping[int, int]) -> None:
    """Take this environment, and these files in the place of all that are open."""
    waiting = {at: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FD) for at, fd in files.items()}
    sys.stdin.close()
    os.closerange(0, FIRST_FD)
    for at, fd in waiting.items():
        os.dup2(fd, at)
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = open(0)  # noqa: SIM115


def _run(command: list[str]) -> None:
    """``main`` of the process that a command line starts."""
    if "optimizer.processes" in command:
        from optimizer.processes import main

        sys.argv = command[command.index("optimizer.processes") :]
        Path("/proc/self/comm").write_text(sys.argv[1])  # as which the system shows it
    elif "-m" in command:
        sys.argv = command[command.index("-m") + 1 :]
        main = import_module(sys.argv[0]).main
    else:
        from optimizer.cli.app import main

        sys.argv = ["detent", *command[1:]]
    main()
