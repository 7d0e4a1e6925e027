"""The tree of commands, and how an error becomes a sentence and an exit code."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from functools import cache
from typing import Annotated, Any, cast

import typer
from typer.exceptions import Abort, Exit

from optimizer.cli import (
    backup,
    champion,
    clock,
    data,
    dialogs,
    entry_points,
    export,
    feedback,
    graph,
    imports,
    init,
    keys,
    playbook,
    server_option,
)
from optimizer.cli.doctor import commands as doctor
from optimizer.cli.family import commands as family, golden
from optimizer.cli.judge import commands as judge, quality
from optimizer.cli.output import OutputFault, discard_output, open_streams
from optimizer.cli.review import commands as review
from optimizer.cli.rollout import commands as rollout, freeze
from optimizer.cli.service import alerts, events, mcp, serve, status
from optimizer.cli.study import commands as study
from optimizer.cli.thresholds import commands as thresholds, student
from optimizer.cli.variant import commands as variant
from optimizer.core.base.errors import (
    Busy,
    DetentError,
    InvalidInput,
    Refused,
    TooLarge,
    TooMany,
)
from optimizer.core.base.phrasing import printable

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3

app = typer.Typer(
    name="detent",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Finds better prompts from real feedback and lets them out step by step.

[bold]Examples[/bold]

  detent demo                                the whole loop once, on real text
  detent init my-project                     a small project that works at once
  detent serve                               API, gateway, worker and MLflow, supervised
  detent study run summarization --dry-run   what a search would cost
  detent rollout status summarization        who is served what, and what comes next

Exit codes: 0 done, 1 failed, 2 usage, 3 refused by a gate or limit.
Every command but serve, worker and demo takes [bold]--json[/bold].
""",
)
app.command()(init.init)
app.command()(serve.serve)
app.command()(serve.worker)
entry_points.register(app)
app.command()(doctor.doctor)
app.command()(status.status)
app.command()(alerts.runbook)
app.command()(mcp.mcp)
app.command()(freeze.freeze)
app.command()(freeze.unfreeze)
for group in (
    family,
    study,
    variant,
    rollout,
    champion,
    feedback,
    thresholds,
    student,
    review,
    judge,
    quality,
    dialogs,
    golden,
    graph,
    playbook,
    keys,
    data,
    alerts,
    events,
    export,
    clock,
):
    app.add_typer(group.app)
app.command("import")(imports.import_)
app.command()(backup.backup)
app.command()(backup.restore)


def _version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(f"detent {version('detent-server')}")
        raise Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version and end.")
    ] = False,
) -> None: ...


def main() -> None:
    """The console script ``detent``.

    What it writes is for its user alone; the files of a new project are like any others.
    """
    if "init" not in sys.argv[1:2]:
        os.umask(0o077)
    gc.set_threshold(100_000)  # modules that load are no garbage to look for
    open_streams()
    code = run(sys.argv[1:])
    gc.freeze()  # nor is what ends with the process
    try:
        sys.stderr.flush()
    except OSError:  # Python would try again at its end, and end with a code of its own
        sys.stderr = None
    raise SystemExit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code."""
    code = DONE
    try:
        code = _carry_out(arguments)
        sys.stdout.flush()  # Python would do so at its end, and end with a code of its own where it cannot
    except OutputFault as fault:
        discard_output()
        if not fault.is_reader_gone:
            _say(f"The output cannot be written: {fault}.")
            code = code or FAILED
    return code


def _carry_out(arguments: Sequence[str]) -> int:
    as_json = "--json" in arguments
    try:
        command = _commands("".join(arguments[:1]))
        if {"--help", "-h"} & set(arguments):
            _join_lines(command)
        server_option.begin()
        # Not by Typer's ``main``, which turns Ctrl-C and a lost reader into exit codes of its own.
        with command.make_context("detent", list(arguments)) as context:
            result = command.invoke(context)
        return result if isinstance(result, int) else DONE
    except Exit as end:
        return end.exit_code
    except DetentError as error:
        _report(error, as_json)
        return exit_code(error)
    except (KeyboardInterrupt, EOFError, Abort):
        _say("Interrupted.")
        return FAILED
    except OSError as error:
        if error.filename is None:  # no file that was named: a fault of the product, which needs its traceback
            raise
        _report(DetentError(f"{error.filename}: {error.strerror}."), as_json)
        return FAILED
    except Exception as error:
        if type(error).__name__ == "ValidationError":  # pydantic's, of a request: it is loaded only where one is made
            from optimizer.jobs.request import invalid

            refusal = invalid(cast("Any", error))
            _report(refusal, as_json)
            return exit_code(refusal)
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()  # a usage error of the command line itself
        if as_json:
            _print_json(InvalidInput(cast("Any", error).format_message()))
        return int(getattr(error, "exit_code", USAGE))


@cache
def _commands(first: str) -> Any:
    """What the first word of a command line leads to, with its options; all commands where it leads to none.

    Each takes a while to make: all of them take longer than most commands.
    """
    part = copy(app)
    part.registered_groups = [
        one for one in app.registered_groups if one.typer_instance and one.typer_instance.info.name == first
    ]
    part.registered_commands = [
        one
        for one in app.registered_commands
        if (one.name or (typer.main.get_command_name(one.callback.__name__) if one.callback else None)) == first
    ]
    is_known = part.registered_groups or part.registered_commands
    group = typer.main.get_command(part if is_known else app)
    server_option.add_to(group)
    return group


def _join_lines(group: Any) -> None:
    """Paragraphs of the commands' help on one line each, which the terminal wraps; of several examples each keeps its
    own.
    """
    for command in group.commands.values():
        parts = (command.help or "").split("\n\n")
        command.help = "\n\n".join(
            paragraph if paragraph.startswith("Examples") else " ".join(paragraph.split()) for paragraph in parts
        )
        if hasattr(command, "commands"):
            _join_lines(command)


def exit_code(error: DetentError) -> int:
    if isinstance(error, Refused | TooLarge | TooMany):
        return REFUSED
    return USAGE if isinstance(error, InvalidInput) else FAILED


def _report(error: DetentError, as_json: bool) -> None:
    _say(f"{error.title}: {error.detail}")
    if isinstance(error, Busy) and error.said is not None:
        _say(f"  It says: {error.said}")
    if as_json:
        _print_json(error)


def _say(sentence: str) -> None:
    """As ``output.say``, without the half second in which Rich loads."""
    with suppress(OSError):
        print(printable(sentence), file=sys.stderr)


def _print_json(error: DetentError) -> None:
    document = {"type": error.slug, "title": error.title, "detail": error.detail, **error.members}
    with suppress(OutputFault):  # the code is the error's, whoever reads on
        print(json.dumps({"error": document}, default=str))
