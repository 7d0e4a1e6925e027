"""The generated pages by their paths."""

from __future__ import annotations

from pathlib import Path

from docs.generate.command_line import command_line
from docs.generate.markdown import REFERENCE


def pages() -> dict[Path, str]:
    return {REFERENCE / "cli.md": command_line()}
