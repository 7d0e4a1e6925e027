"""docs/reference/settings.md, from the fields of the settings, their defaults and descriptions."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.generate.markdown import linked, page
from optimizer.host.config import PROFILES, Settings

LEAD = f"""
Three sources, the first that says something wins: the environment (`DETENT_` and the name in capitals;
`DETENT_LIMITS__BATCH` for `limits.batch`), then the profile's file `config/<profile>.yaml`, then the defaults below.
`detent serve --profile`, `--host`, `--port` and `--workers` beat all three. A misspelt name in a profile's file, or a
value outside its range, is refused at the start with the file and the reason. A changed setting needs a restart. Keep
secrets in the environment.

The profiles are {", ".join(f"`{name}`" for name in PROFILES)}: dev is the default, staging and prod run in real time
with JSON logs, and in demo two days of rollout time pass in a minute and less evidence is asked for. A home without a
profile's file runs on the defaults.

Every YAML file (settings, models, families, study definitions) may have 1 MiB, and 100,000 values once its aliases are
written out. Each process writes JSON lines to `var/logs/<process>.log`.
"""
# the first setting of each, in the order in which they are declared
HEADINGS = {
    "home": "Where things are",
    "host": "Addresses",
    "token_keys": "Secrets and alerts",
    "clock_scale": "Rollouts and time",
    "max_studies": "Studies",
    "pipeline_retain_days": "Upkeep",
    "limits": "Limits",
    "log_level": "Logs",
}


def settings() -> str:
    return page("# Settings", LEAD, *_lines(Settings, ""))


def _lines(model: type[BaseModel], before: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if not before and name in HEADINGS:
            yield f"## {HEADINGS[name]}"
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            if name.capitalize() != HEADINGS.get(name):
                yield f"### `{name}`"
            yield linked(cleandoc(inner.__doc__ or ""))
            yield from _lines(inner, f"{name}.")
        else:
            yield f"### `{before}{name}`"
            yield linked(" ".join([field.description or "", *_bounds(field)]))


def _bounds(field: FieldInfo) -> Iterator[str]:
    """What may be set, and what holds where nothing is."""
    words = [one for part in (field.annotation, *get_args(field.annotation)) for one in get_args(part)]
    if words and all(isinstance(one, str) for one in words):
        yield f"One of {', '.join(f'`{one}`' for one in dict.fromkeys(words))}."
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [
        f"{said} {getattr(mark, sign):,g}"
        for mark in field.metadata
        for sign, said in signs.items()
        if hasattr(mark, sign)
    ]
    default = _default(field)
    said = [*([f"default {default}"] if default else []), *bounds]
    if said:
        yield ", ".join(said).capitalize() + "."


def _default(field: FieldInfo) -> str:
    value: Any = None if field.is_required() or field.default_factory else field.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int | float):
        return f"{value:,g}" if isinstance(value, float) else f"{value:,}"
    return f"`{value.as_posix() if isinstance(value, Path) else value}`" if value else ""
