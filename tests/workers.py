"""Pytest plugin: ``--workers N`` gives the files of tests to N processes, forked from this one when all is collected.

A file goes to the next worker that has nothing to do, so what its tests share (a server, an MLflow store) is made once.
pytest-xdist has each of its processes import all modules anew: nine seconds of CPU for each, which is why it has few.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
import warnings
from collections import deque
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from multiprocessing.connection import Connection, wait
from typing import Any

import pytest
from _pytest._io import TerminalWriter

from tests.forked import SERVERS, ForkServer

LOOK_S = 5.0
# By tests of most workers, where the whole suite runs: six seconds for each.
LOADED_AT_USE = ("mlflow", "optuna", "mcp.server", "litellm")
MANY = 1000
_context = multiprocessing.get_context("fork")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--workers", type=int, default=0, help="processes among which the files are divided; 0: this one")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    files = [[at for at, _ in file] for _, file in groupby(enumerate(session.items), key=lambda one: one[1].path)]
    n = min(session.config.option.workers, len(files))
    if n < 2 or session.testsfailed or session.config.option.collectonly:
        return None
    Run(session, files).by(n)
    return True


class Run:
    def __init__(self, session: pytest.Session, files: list[list[int]]) -> None:
        self.session, self.config = session, session.config
        self.files = deque(files)  # of each the places of its items
        self.workers: dict[Connection, Worker] = {}
        self.n_started = 0

    def by(self, n: int) -> None:
        try:
            if len(self.session.items) > MANY:
                os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # as the product sets it: no look at the network
                for module in filter(find_spec, LOADED_AT_USE):
                    import_module(module)
            for _ in range(n):
                self.start_worker()
            while self.workers:
                for connection in wait(list(self.workers), LOOK_S) or self.dead():
                    assert isinstance(connection, Connection)
                    self.hear(connection)
                    if self.session.shouldfail:
                        raise self.session.Failed(self.session.shouldfail)
                    if self.session.shouldstop:
                        raise self.session.Interrupted(self.session.shouldstop)
        finally:
            for connection, worker in self.workers.items():
                with suppress(ProcessLookupError):
                    os.kill(worker.process.pid, signal.SIGINT)  # they end what their fixtures have started
                connection.close()
            for worker in self.workers.values():
                worker.process.join()

    def dead(self) -> list[Connection]:
        """Of workers that have ended and left a process that keeps their end open."""
        return [connection for connection, worker in self.workers.items() if worker.process.exitcode is not None]

    def start_worker(self) -> None:
        self.n_started += 1
        ours, its = _context.Pipe()
        folder = self.config._tmp_path_factory.getbasetemp() / f"worker-{self.n_started}"  # type: ignore[attr-defined]
        folder.mkdir()
        servers, inherited = self.config.stash.get(SERVERS, []), [ours, *self.workers]
        server = servers.pop() if servers else None  # one that takes the place of another has it made
        process = _context.Process(target=work, args=(self.session, its, folder, server, inherited))
        process.start()
        its.close()
        self.workers[ours] = Worker(process)

    def hear(self, connection: Connection) -> None:
        worker = self.workers[connection]
        try:
            subject, value = connection.recv() if connection.poll() else ("ended", None)
        except (EOFError, ConnectionResetError):
            subject = "ended"
        match subject:
            case "next":
                worker.items = deque(self.files.popleft() if self.files else ())
                connection.send(list(worker.items))
            case "done":
                for data in value:
                    report = self.config.hook.pytest_report_from_serializable(config=self.config, data=data)
                    self.config.hook.pytest_runtest_logreport(report=report)
                item = self.session.items[worker.items.popleft()]
                self.config.hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            case "warning":
                self.config.hook.pytest_warning_recorded.call_historic(kwargs=value)
            case "fault":
                raise RuntimeError(value)
            case "ended":
                self.ended(connection)

    def ended(self, connection: Connection) -> None:
        """Without a word where it has items left: the one at hand has failed, another worker takes the rest."""
        worker = self.workers.pop(connection)
        connection.close()
        worker.process.join()
        if worker.items:
            item = self.session.items[worker.items.popleft()]
            message = f"The process of this test ended with code {worker.process.exitcode}."
            report = pytest.TestReport(item.nodeid, item.location, {}, "failed", message, "call")
            self.config.hook.pytest_runtest_logreport(report=report)
            if worker.items:
                self.files.appendleft(list(worker.items))
            self.start_worker()


class Worker:
    def __init__(self, process: Any) -> None:
        self.process = process
        self.items: deque[int] = deque()  # those of its file that are not done


class Sender:
    """A worker's reports, those of a test together, and its warnings go to the process that started it."""

    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self.config, self.connection = config, connection
        self.reports: list[Any] = []  # of the test that runs

    @property
    def _tw(self) -> TerminalWriter:  # to which pytest-timeout writes, by the name of pytest's own reporter
        return TerminalWriter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed:
            report.sections = []  # what it has printed nobody reads
        self.reports.append(self.config.hook.pytest_report_to_serializable(config=self.config, report=report))

    def done(self) -> None:
        self.connection.send(("done", self.reports))
        self.reports = []

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        one = warning_message
        sent: Any = warnings.WarningMessage(str(one.message), one.category, one.filename, one.lineno)
        place = {"when": when, "nodeid": nodeid, "location": location}
        self.connection.send(("warning", {"warning_message": sent, **place}))


def work(
    session: pytest.Session,
    connection: Connection,
    folder: Any,
    server: ForkServer | None,
    inherited: list[Connection],
) -> None:
    for one in inherited:
        one.close()
    plugins = session.config.pluginmanager
    plugins.unregister(name="terminalreporter")
    sender = Sender(session.config, connection)
    plugins.register(sender, "terminalreporter")
    if capture := plugins.getplugin("capturemanager"):  # what it has open is shared by all
        capture.stop_global_capturing()
        capture.start_global_capturing()
        capture.suspend_global_capture()
    if server:
        from tests.waiting import METER  # a plugin, which pytest wants to be the first to load

        server.adopt()
        METER.servers = [server.pid]
    try:
        for n, places in enumerate(iter(lambda: next_file(connection), [])):
            # of its own, since for each of its names pytest looks through all that stand beside it
            session.config._tmp_path_factory._basetemp = folder / str(n)  # type: ignore[attr-defined]
            (folder / str(n)).mkdir()
            items = [session.items[at] for at in places]
            # the session as what comes next: all that is the file's own ends with its last test
            for item, following in zip(items, [*items[1:], session], strict=True):
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                sender.done()
    except (KeyboardInterrupt, EOFError, ConnectionError):  # nobody reads on
        pass
    except BaseException:
        connection.send(("fault", traceback.format_exc()))
    finally:
        session._setupstate.teardown_exact(None)


def next_file(connection: Connection) -> list[int]:
    connection.send(("next", None))
    places: list[int] = connection.recv()
    return places
