"""Pytest plugin: prints how long the tests waited: their wall time less the CPU time of their processes.

``--waiting-table FILE`` writes one line a test: seconds of waiting, of wall time, of CPU time, and its id.
"""

from __future__ import annotations

import os
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import psutil
import pytest

# A shorter phase cannot have let running children use much, and looking costs ten milliseconds.
LOOKED_FOR_CHILDREN_S = 1.0


class CpuMeter:
    """CPU seconds of this process and its descendants, ended or running, since it was made."""

    def __init__(self) -> None:
        self.servers: list[int] = []  # those that make processes for this one and are no children of it
        self.begin()

    def begin(self) -> None:
        self.running = self.ended = 0.0
        self.last = self.total(look=False)

    def total(self, look: bool) -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = usage.ru_utime + usage.ru_stime
        if look or ended != self.ended:  # one that has ended no longer counts as running
            self.ended = ended
            running = chain(psutil.Process().children(recursive=True), *map(with_children, self.servers))
            self.running = sum(map(cpu_of, running))
        return time.process_time() + self.ended + self.running

    def since_last(self, look: bool) -> float:
        before, self.last = self.last, self.total(look)
        return max(0.0, self.last - before)


def with_children(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def cpu_of(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:  # it has just ended
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


METER = CpuMeter()
os.register_at_fork(after_in_child=METER.begin)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    report.cpu_s = METER.since_last(
        look=call.duration > LOOKED_FOR_CHILDREN_S
    )  # goes with the report to the process that adds up
    return report


class WaitingReport:
    """Adds up the reports of all phases, wherever they ran."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.cpu[report.nodeid] += getattr(report, "cpu_s", 0.0)
        if not isinstance(report, pytest.SubtestReport):  # its test's report has its wall time too
            self.wall[report.nodeid] += report.duration

    def waited(self, test: str) -> float:
        return max(0.0, self.wall[test] - self.cpu[test])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        sums = sum(map(self.waited, self.wall)), sum(self.wall.values()), sum(self.cpu.values())
        terminalreporter.write_line(
            "waiting {:.0f} s of {:.0f} s in {} tests; CPU {:.0f} s".format(*sums[:2], len(self.wall), sums[2])
        )
        if file := config.getoption("waiting_table"):
            rows = sorted(self.wall, key=self.waited, reverse=True)
            Path(file).write_text(
                "".join(f"{self.waited(t):.2f}\t{self.wall[t]:.2f}\t{self.cpu[t]:.2f}\t{t}\n" for t in rows)
            )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--waiting-table", help="write seconds of waiting, of wall time and of CPU time of every test to this file"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(WaitingReport())
