"""The ``detent`` command in this process, through Typer's runner:
a process of its own costs two seconds of CPU, mostly imports.

For tests of what a command says and does. Where the process is the point (signals, a lock,
a home in use), see ``running_server.py``.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from typer.testing import CliRunner

from optimizer.cli.app import run
from tests.made_once import made_once


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a shell would have seen of a command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def detent(*words: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ran:
    """Run one command line; DETENT_HOME and the like come from ``env`` or from the environment
    that the test has set.
    """
    configured, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    structlog.reset_defaults()  # as in a process of its own
    try:
        with CliRunner().isolation(input=stdin, env=env) as (out, err, _mixed):
            code = run(words)
            sys.stdout.flush()
            sys.stderr.flush()
            return Ran(code=code, out=out.getvalue().decode(), err=err.getvalue().decode())
    finally:
        structlog.configure(**configured)
        logging.getLogger().handlers[:] = handlers


def new_project(folder: Path) -> None:
    """As ``detent init`` makes it, copied from one that it has made."""
    shutil.copytree(made_once("project", lambda path: detent("init", str(path))), folder, dirs_exist_ok=True)
