"""The generated pages by their paths."""

from __future__ import annotations

from pathlib import Path

from docs.generate.command_line import command_line
from docs.generate.families import families
from docs.generate.markdown import REFERENCE
from docs.generate.problems import problems
from docs.generate.rest import rest
from docs.generate.scorers import scorers
from docs.generate.settings import settings


def pages() -> dict[Path, str]:
    made = {"cli": command_line(), "problems": problems(), "rest": rest(), "scorers": scorers(), "settings": settings()}
    return {**{REFERENCE / f"{name}.md": text for name, text in made.items()}, **families()}
