"""docs/reference/cli.md, from the commands and their help."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from docs.generate.markdown import ROOT, code, page, sentence, table, title
from optimizer.cli.app import app
from optimizer.core.search.strategy import STRATEGIES

LEAD = """
`detent NOUN VERB`. Help leads with examples: `detent rollout start --help`. What holds for every command:

- **Output.** Data goes to stdout, messages to stderr. With `--json` a command prints one JSON document: what the
  [route](rest.md) of the same act answers, or `{"error": {...}}`. Control characters in other people's words appear as
  `�`. There is no colour with `NO_COLOR`. What a command logs is in `var/logs/cli.log`.
- **Exit codes.** 0 done, 1 failed, 2 usage or malformed input, 3 refused by a gate, a limit or a budget.
- **Where it acts.** With a server in the same home, commands go through its API. Without one, or where it asks for a
  key and `DETENT_API_KEY` is not set, they act on the store: who may write its file may do every act. A change says
  first where it is made; outside of every project it is refused until `DETENT_HOME` or `--server` names the place.
- **`--server URL`**, or `DETENT_SERVER`: a command asks that server, with the key in `DETENT_API_KEY`, and nothing of
  this machine. Plain HTTP goes to this machine alone. What needs this machine's home says so.
- **Brakes always work on the machine itself**: `freeze`, `rollout hold`, `rollout reject`, `rollout rollback`,
  `champion rollback`, `champion set` and `keys revoke` act on the store where the server refuses the key or does not
  answer. Letting things go on needs a key that may, or none in the environment.
- **Changes** say what happened, why, what speaks against it, how to take it back, and the next command. Who did it
  stands in the record: the key's name, or `local:` and the user of this machine, and beside it the `--reason`. Nothing
  is asked without a terminal. FAMILY is the name of a family.
"""
# said once, at the top of the page
EVERYWHERE = ("as_json", "server")
ALIKE = ("Name of the family.", "Why; kept in the record.")
GUIDES = ("tutorial", "how-to", "explanation")
MOST_GUIDES = 4
VALUES = {int: "N", float: "X", Path: "FILE"}
EXAMPLE = re.compile(r"Examples?:\s*")


def command_line() -> str:
    """The page: single commands, then groups, as ``detent --help`` has them."""
    root: Any = typer.main.get_command(app)
    guides = _guides()
    parts = ["# Command line", LEAD]
    for name, one in sorted(root.commands.items(), key=lambda item: hasattr(item[1], "commands")):
        inner = getattr(one, "commands", None)
        lines = [
            part
            for verb, command in (inner or {"": one}).items()
            for part in _section(f"detent {name} {verb}".strip(), command, "##" if inner is None else "###", guides)
        ]
        parts += [f"## detent {name}", one.help, *lines] if inner is not None else lines
    return page(*parts)


def _section(name: str, command: Any, level: str, guides: dict[str, list[str]]) -> list[str]:
    """Heading, usage, help and options of a command."""
    params = [one for one in command.params if one.name not in EVERYWHERE and not one.hidden]
    usage = [name, *(_written(one) for one in params if one.required or one.param_type_name == "argument")]
    usage += ["[OPTIONS]"] if any(not one.required and one.param_type_name == "option" for one in params) else []
    text = [_paragraph(part) for part in command.help.strip().split("\n\n")]
    text = [part for part in text if part != code(" ".join(usage))]
    rows = [(f"`{_written(one).strip('[]')}`", _meaning(one)) for one in params if one.help not in ALIKE]
    shown = guides.get(name.removeprefix("detent "), [])
    see = [f"Shown in {', '.join(shown)}."] if shown else []
    strategies = [_strategies()] if name == "detent study run" else []
    return [f"{level} {name}", code(" ".join(usage)), *text, table(("Option", "Meaning"), rows), *strategies, *see]


def _paragraph(text: str) -> str:
    """Examples as code: several stand one a line, one alone may be wrapped."""
    begins = EXAMPLE.match(text)
    if begins is None:
        return text
    rest = text[begins.end() :]
    lines = rest.splitlines() if text.startswith("Examples") else [" ".join(rest.split())]
    return code("\n".join(line.strip() for line in lines))


def _written(one: Any) -> str:
    if one.param_type_name == "argument":
        word = (one.metavar or one.name.upper()) + ("..." if one.nargs == -1 else "")
        return word if one.required else f"[{word}]"
    names = " / ".join([*one.opts, *one.secondary_opts])
    value = one.metavar or VALUES.get(one.type_descriptor.annotation, one.name.upper())
    return names if one.is_flag else f"{names} {value}"


def _meaning(one: Any) -> str:
    default = one.default
    said = "" if default is None or default == "" or isinstance(default, bool) else f" Default: `{default}`."
    needed = " Needed." if one.required and one.param_type_name == "option" else ""
    return (one.help or "") + said + needed


def _strategies() -> str:
    rows = [
        (f"`{name}`", sentence(record.does), ", ".join(record.aims)) for name, record in STRATEGIES.built_in.items()
    ]
    return table(("Strategy", "What it does", "Aims"), rows)


def _guides() -> dict[str, list[str]]:
    """By command the pages that show it as code, as links."""
    guides_of: dict[str, list[str]] = {}
    for path in sorted(path for folder in GUIDES for path in (ROOT / "docs" / folder).glob("*.md")):
        text = path.read_text(encoding="utf-8")
        shown = re.findall(r"^ {4}detent ([a-z]+(?: [a-z]+)?)", text, re.MULTILINE)
        for command in dict.fromkeys([*shown, *(words.split()[0] for words in shown)]):
            links = guides_of.setdefault(command, [])
            if len(links) < MOST_GUIDES:
                links.append(f"[{title(path)}](../{path.relative_to(Path(ROOT / 'docs')).as_posix()})")
    return guides_of
