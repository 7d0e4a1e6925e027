"""Logs: JSON lines with rotation under var/logs, one file per process, with a request id; readable lines
on a terminal.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog

from optimizer.core.base.phrasing import printable_json, printable_lines, without_passwords
from optimizer.host.config import Settings

NOISY = (
    "httpx",
    "httpcore",
    "alembic",
    "dbos",
    "LiteLLM",
    "dspy",
    "mlflow",
    "optuna",
    "urllib3",
    "uvicorn.access",
    "filelock",
)


def set_up_logs(settings: Settings, process: str, *, terminal: bool = True) -> None:
    """Send this process's logs to var/logs/<process>.log, and to stderr where a person or a collector reads it.

    Args:
        process: name of the file and of the ``process`` member of every line.
        terminal: False for commands whose stderr belongs to their own messages.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]

    def name_process(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["process"] = process
        return event

    as_json = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            name_process,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
            _last(printable_json),
            _last(without_passwords),
        ],
    )
    for_people = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # rich's shows every local value, keys and texts among them, and takes seconds
                exception_formatter=structlog.dev.plain_traceback,
            ),
            _last(printable_lines),
            _last(without_passwords),
        ],
    )

    file = _RotatingHandler(
        settings.log_dir() / f"{process}.log",
        maxBytes=int(settings.log_file_mb * 1024 * 1024),
        backupCount=settings.log_files - 1,
        encoding="utf-8",
        delay=True,
    )
    file.setFormatter(as_json)
    handlers: list[logging.Handler] = [file]
    if terminal and (settings.log_json or sys.stderr.isatty()):
        stream = _Stream()
        stream.setFormatter(as_json if settings.log_json else for_people)
        handlers.append(stream)

    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # no line says them
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(settings.log_level.upper())
    for name in NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def n_dropped() -> int:
    """Lines of this process's logs that could not be written, as on a full disk."""
    return sum(handler.n_dropped for handler in logging.getLogger().handlers if isinstance(handler, _CountingHandler))


class _CountingHandler(logging.Handler):
    """What it cannot write is dropped and counted; its base shows each on stderr, with the way that led to it."""

    n_dropped = 0

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exception(), OSError):
            self.n_dropped += 1
        else:
            super().handleError(record)


class _Stream(_CountingHandler, logging.StreamHandler[Any]):
    pass


class _RotatingHandler(_CountingHandler, RotatingFileHandler):
    """Begins a new file behind the line that fills the old one: its base makes every line twice, to know its length."""

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        if self.stream is None:
            os.makedirs(os.path.dirname(self.baseFilename), exist_ok=True)
            super().shouldRollover(record)  # opens it
        is_full = self.stream is not None and os.fstat(self.stream.fileno()).st_size >= self.maxBytes
        return is_full and bool(super().shouldRollover(record))


def keep_short(path: Path, most_bytes: int) -> None:
    """Moves what a process appended to its output into a file beside it, once that is so long: two files are kept."""
    with suppress(OSError):
        if path.stat().st_size > most_bytes:
            with suppress(OSError):  # on a full disk it goes
                shutil.copyfile(path, path.with_name(f"{path.name}.1"))
            os.truncate(path, 0)  # who appends goes on at the front


def log_to_file(settings: Settings) -> None:
    """A command logs to var/logs/cli.log, so that its output has only its answer and messages."""
    if not structlog.is_configured():
        set_up_logs(settings, "cli", terminal=False)
        structlog.configure(cache_logger_on_first_use=False)  # the process may come to have logs of its own


def _last(change: Callable[[str], str]) -> Any:
    """A processor behind the one that made a line of the event."""
    return lambda _logger, _method, line: change(line)
