"""Checks whether models' keys are set, in this shell and in that of the running server: for ``detent doctor``, and for
commands that say what they would spend.

It never shows their values.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from optimizer.cli.output import say
from optimizer.cli.server_option import chosen_server
from optimizer.core.base.phrasing import count
from optimizer.runtime import wiring

if TYPE_CHECKING:
    from optimizer.cli.session import Session
    from optimizer.host.config import Settings
    from optimizer.ports import ModelCatalogue


def say_unset_keys(session: Session, family: str, others: Iterable[str] = ()) -> None:
    """Says before money is spent which models of the family's file, and of ``others``, lack their key where they would
    be asked. What another machine's server has is not seen from here.
    """
    definition = session.family_view(family).definition
    if chosen_server() is not None or definition is None:
        return
    from optimizer.jobs.families.check_models import named_models

    keys = key_variables(
        wiring.open_models(session.settings), {*others, *(name for _, name in named_models(definition))}
    )
    for finding in key_findings(keys, environment_of_server(session.settings), os.environ):
        if finding.verdict == "fault":
            say(f"{finding.detail}. {finding.advice}", "yellow")


def key_variables(models: ModelCatalogue, names: Iterable[str]) -> Mapping[str, str]:
    """Name of a model > name of the environment variable with its key, where the file names one."""
    described = {name: models.describe(name) for name in names}
    return {name: facts.api_key_env for name, facts in described.items() if facts.api_key_env is not None}


def key_findings(
    keys: Mapping[str, str], server: tuple[int, Mapping[str, str]] | None, shell: Mapping[str, str]
) -> Iterator[Finding]:
    """One per model.

    Args:
        keys: name of the model > name of the environment variable with its key.
        server: process id and environment of what asks models for users; None where none runs, or its environment
            cannot be read.
        shell: the environment of this command.
    """
    for name, variable in sorted(keys.items()):
        yield _finding(name, variable, bool(shell.get(variable)), server)


def _finding(name: str, variable: str, is_here: bool, server: tuple[int, Mapping[str, str]] | None) -> Finding:
    is_there = server is not None and bool(server[1].get(variable))
    its = f"{name}: its key, the environment variable {variable},"
    running = f"the running server (pid {server[0]})" if server is not None else ""
    if is_here and (server is None or is_there):
        return Finding(
            check="key", verdict="ok", detail=f"{its} is set in this shell" + (f" and for {running}" if running else "")
        )
    if is_here:
        detail = (
            f"{its} is set in this shell, and not in the one that {running} was started from: its requests to the model"
            " fail"
        )
        return Finding(
            check="key",
            verdict="fault",
            detail=detail,
            advice="End the server, and start `detent serve` from this shell.",
        )
    if is_there:
        detail = f"{its} is set for {running}, and not in this shell: commands that ask the model from here fail"
        return Finding(
            check="key", verdict="warning", detail=detail, advice=f"export {variable}=... in this shell too."
        )
    where = f"is set neither in this shell nor for {running}" if running else "is not set in this shell"
    return Finding(
        check="key",
        verdict="fault",
        detail=f"{its} {where}",
        advice=f"export {variable}=..., then start `detent serve` there.",
    )


def unnamed_keys(names: Mapping[str, str]) -> Iterator[Finding]:
    """Findings on models whose variable the file does not name, so that only the provider's library knows it."""
    if names:
        listed = ", ".join(f"{name} ({id})" for name, id in sorted(names.items()))
        detail = (
            f"{count(len(names), 'model')} without api_key_env: {listed}; the provider's own variable is taken, and not"
            " checked here"
        )
        yield Finding(
            check="key",
            verdict="ok",
            detail=detail,
            advice="Name it as api_key_env in config/models.yaml to have it checked.",
        )


def environment_of_server(settings: Settings) -> tuple[int, Mapping[str, str]] | None:
    """The environment of the process that asks models for users; None where none runs, or it is another account's."""
    import psutil

    from optimizer.host import run_files

    running = run_files.find(settings, "gateway") or run_files.find(settings, "serve")
    if running is None:
        return None
    try:
        return running.pid, psutil.Process(running.pid).environ()
    except (psutil.Error, OSError):
        return None


Severity = Literal["ok", "warning", "fault"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: what was found, and what to do where that is not fine."""

    check: str
    verdict: Severity
    detail: str
    advice: str = ""
