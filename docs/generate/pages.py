"""The generated pages by their paths; problems.md is made of the classes of errors with their statuses."""

from __future__ import annotations

from pathlib import Path

from api.http.problems import PROBLEMS
from docs.generate.command_line import command_line
from docs.generate.families import families
from docs.generate.markdown import REFERENCE, page
from docs.generate.rest import rest
from docs.generate.scorers import scorers
from docs.generate.settings import settings

LEAD = """
Every error is an [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) document, `application/problem+json`, with `type`,
`title`, `status`, `detail`, `instance` and `request_id`, which is also in the header `X-Request-ID` and in the log.
`type` is `/problems/` and one of the words below; the server answers it with the same text. `detail` is a sentence for
people: what happened, why, what to do. Further members are named here.

Validation lists every fault in `errors`: `pointer` is a JSON pointer into the body, or the name of a parameter where
`in` is `query`, `path` or `header`.
"""
GROUPS = {"## 4xx: of the request": range(400, 500), "## 5xx: of the server or a model": range(500, 600)}


def problems() -> str:
    by_status = sorted((status, error.slug, error.title, text) for error, (status, text) in PROBLEMS.items())
    parts = []
    for heading, statuses in GROUPS.items():
        lines = [
            (f"### `{slug}`", f"{status}, {title}. {text}")
            for status, slug, title, text in by_status
            if status in statuses
        ]
        parts += [heading, *(part for one in lines for part in one)]
    return page("# Problems", LEAD, *parts)


def pages() -> dict[Path, str]:
    texts = {
        "cli": command_line(),
        "problems": problems(),
        "rest": rest(),
        "scorers": scorers(),
        "settings": settings(),
    }
    return {**{REFERENCE / f"{name}.md": text for name, text in texts.items()}, **families()}
