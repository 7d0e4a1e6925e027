"""Watches whether all processes of a home can read and write its store: each announces its fault while it lasts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from optimizer.host import run_files
from optimizer.host.config import Settings
from optimizer.ports import Store

NAME = "store-fault-"  # and the pid: a file of the run folder that exists while that process has a fault


class StoreHealth:
    """The view of one process. One thread calls ``look`` every few seconds; any thread may call ``elsewhere``."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._announced: str | None = None

    def look(self) -> None:
        """Checks whether this process's fault is over, and announces a fault that is left.

        Of the processes that found the file damaged, the one with the lowest pid reads it again.
        """
        self._tell()
        fault = self._store.fault
        is_read_elsewhere = any(pid < os.getpid() and fault_there == fault for pid, fault_there in self._others())
        self._store.look_again(reads_file=not is_read_elsewhere)
        self._tell()

    def elsewhere(self) -> str | None:
        """The fault of another running process, in words for anyone; None where no other has one."""
        return next((f"Process {pid}: {fault}" for pid, fault in self._others()), None)

    def close(self) -> None:
        run_files.withdraw(self._settings, f"{NAME}{os.getpid()}")

    def _tell(self) -> None:
        fault, name = self._store.fault, f"{NAME}{os.getpid()}"
        if fault == self._announced:
            return
        with suppress(OSError):  # the disk is full: the next look tries again
            if fault is None:
                run_files.withdraw(self._settings, name)
            else:
                run_files.announce(self._settings, name, fault=fault)
            self._announced = fault

    def _others(self) -> Iterator[tuple[int, str]]:
        for path in sorted(self._settings.run_dir().glob(f"{NAME}*.json")):
            process = run_files.find(self._settings, path.stem)
            if process is None:
                with suppress(OSError):
                    path.unlink()  # a process that was killed left it
            elif process.pid != os.getpid():
                with suppress(OSError, ValueError):
                    fault = run_files.note(self._settings, path.stem, "fault")
                    if fault:
                        yield process.pid, str(fault)
