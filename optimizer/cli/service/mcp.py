"""``detent mcp``: a program of the Model Context Protocol asks for what the command line asks for, over stdin and
stdout.
"""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.output import show
from optimizer.cli.server_option import chosen_server
from optimizer.cli.session import Session, check_one_of
from optimizer.core.base.errors import Refused


def mcp(
    allow: Annotated[
        list[str] | None,
        typer.Option(help="What a model may change: optimize, promote, rollback; repeat it.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tools, and end.")] = False,
) -> None:
    """Offer reads, prompts and feedback as tools of the Model Context Protocol, over stdin and stdout.

    It acts as you do here, or with the key in DETENT_API_KEY where --server names another machine. A model changes
    nothing but what --allow names, spends nothing without a budget, and never goes past a gate.

    Example: detent mcp --allow optimize
    """
    from optimizer.runtime.tools import ACTS, NEEDS_PACKAGE, server_of, tools_of

    for act in allow or ():
        check_one_of("--allow", act, tuple(ACTS))
    session = Session()
    tools = tools_of(
        lambda: session.look_again().client, lambda: session.look_again().server, allowed=tuple(allow or ())
    )
    if as_json:
        show(as_json, [{"name": tool.name, "about": tool.about, "schema": tool.schema} for tool in tools])
        return
    try:
        from mcp.server.stdio import stdio_server
    except ImportError:
        raise Refused(f"`detent mcp` {NEEDS_PACKAGE}") from None
    import anyio

    from optimizer.host.logs import log_to_file

    if chosen_server() is None:
        log_to_file(session.settings)  # stdout is the protocol's
    server = server_of(tools)

    async def run() -> None:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    try:
        anyio.run(run)
    except* BrokenPipeError:
        pass  # the program that asked has gone
