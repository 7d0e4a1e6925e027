"""Pages from the templates in ``templates/``: every value is escaped, no template names a value that is not there, and
nothing runs or loads but this server's own files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from api.dashboard.acts import ACTS
from api.dashboard.figures import traffic_bars
from api.dashboard.visitors import PageVisit, path_of
from optimizer.core.base.answers import etag_of, is_listed, shown
from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.phrasing import count, printable, span
from optimizer.core.rollout.alert_chapters import chapter_in_words
from optimizer.core.views.rollout_evidence import findings_in_words
from optimizer.core.views.rollout_story import rounded_up
from optimizer.jobs.upkeep.read_runbook import name_of_heading

if TYPE_CHECKING:
    from jinja2 import Environment

# Address from the server's first page, name, and the use case that it asks where not every visitor may.
MENU = (
    ("dashboard", "Home", None),
    ("dashboard/reviews", "Reviews", "reviews"),
    ("dashboard/alerts", "Alerts", None),
    ("dashboard/performance", "Performance", None),
    ("dashboard/studies", "Studies", None),
    ("dashboard/runs", "Runs", None),
    ("dashboard/requests", "Requests", None),
    ("dashboard/pipeline", "Pipeline", "performance"),
    ("dashboard/money", "Money", None),
    ("dashboard/audit", "Audit", None),
    ("dashboard/settings", "Settings", "settings"),
    ("dashboard/help", "Help", None),
    ("docs", "API", None),
)
BUSY_S, BEING_READ_S = 3, 1  # after which a page asks again
SCRIPTS = ("htmx.min.js", "htmx-sse.min.js", "dashboard.js")
# Nothing of it needs more than the policy below lets; an answer that says that nothing changed changes nothing.
HTMX: Mapping[str, Any] = {
    "allowEval": False,
    "allowScriptTags": False,
    "disableInheritance": True,
    "historyEnabled": False,
    "ignoreTitle": True,
    "includeIndicatorStyles": False,
    "responseHandling": [{"code": "200", "swap": True}, {"code": "...", "swap": False}],
}
TABLE = '<div class="table prose" tabindex="0" role="region" aria-label="table">'  # of sentences
LONG_ID, SHOWN_OF_ID = 14, 6  # characters; the first ones of long ids are their time, and alike
BRIEF_CHARS, ROW_CHARS, MOST_ROWS = 160, 70, 24
# Words of the field, each explained where a page first uses it.
WORDS: Mapping[str, str] = {
    "p95": "95 of 100 answers come within this time",
    "Front": "on it, no other trial is better in score, cost or time without being worse in another of them",
    "TF-IDF": "counts words, rare ones more",
    "Macro F1": "how well answers and labels agree: the mean of F1 over all labels, at best 1",
    "F1": "joins precision and recall, at best 1",
    "Precision": "of the answers that gave this label, the share that should have",
    "Recall": "of the answers that should give this label, the share that did",
    "Rank correlation": "whether the judge puts answers in the same order as people do, at best 1",
    "Kappa": "how often the judge and people agree beyond chance, at best 1",
    "Unit": "whom the application names: mostly one user",
}
BEFORE_COMMANDS = re.compile(r"(?:^|(?<=\. ))(?=[A-Z][^.:]*: <code>detent )")
COMMANDS = Markup('<details class="commands"><summary>As commands</summary>{}</details>')
COMMAND = re.compile(r"(?:(?<=: )|(?<=; then )|(?<=, or ))(detent .+?)(?=[;,.]\s|$)")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",  # without a referrer, browsers keep the origin of a form to themselves
    "Cache-Control": "no-store",
}


def root_of(request: Request) -> str:
    """What leads from the page of this address to the server's first one: pages work behind any prefix of a proxy."""
    raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    path = raw.decode("latin-1").removeprefix(quote(request.scope.get("root_path", "")))
    return "../" * (path.count("/") - 1) or "./"  # a `/` inside an id is written otherwise, and no folder


def page_answer(
    request: Request, template: str, visit: PageVisit | None, /, *, code: int = 200, **values: Any
) -> Response:
    """``visit`` None: nobody is known."""
    values |= {"root": root_of(request), "place": path_of(request).lstrip("/"), "menu": MENU}
    values |= {"visit": visit, "visitor": visit.visitor if visit is not None else None}
    values |= {"freezes": freezes_of(visit) if visit is not None else ()}
    body = _environment().get_template(template).render(values).encode("utf-8", "replace")
    tag = etag_of(body)
    if code == 200 and is_listed(tag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers={**HEADERS, "ETag": tag})
    return HTMLResponse(body, code, {**HEADERS, "ETag": tag})


def freezes_of(visit: PageVisit) -> list[Mapping[str, Any]]:
    """What stands still, as far as the visitor may know of it; from memory, since every page says it."""
    access, reads = visit.visitor.caller.access, visit.visitor.reads_texts
    return [
        {
            "family": freeze.family,
            "what": "Everything is frozen" if freeze.family is None else f"{freeze.family} is frozen",
            "by": freeze.by,
            "since": freeze.since,
            "reason": freeze.reason if reads else None,
        }
        for freeze in visit.shared.serving.now_served.freezes
        if freeze.family is None or access.may_see(freeze.family)
    ]


def age(since: datetime, now: datetime) -> str:
    """``4 days``, ``2 hours``; coarse, so that a page which did not change says the same for a while."""
    hours = max(0.0, (now - since).total_seconds() / 3600)
    return "less than an hour" if hours < 1 else count(round(hours), "hour") if hours < 48 else f"{hours / 24:.0f} days"


def with_columns(rows: Markup, columns: Sequence[str]) -> Markup:
    """Rows of a table, each cell with the name of its column, for where they stand one below the other."""
    cells = re.split(r"(<t[rdh]\b)", rows)  # a text that somebody wrote holds no `<` of its own
    place = 0
    for i in range(1, len(cells), 2):
        if cells[i] == "<tr":
            place = 0
        else:
            cells[i] += f' data-column="{escape(columns[place])}"' if place < len(columns) else ""
            place += 1
    return Markup("".join(cells))


def explained(text: str) -> Markup:
    """With what the first word of ``WORDS`` in it means, which shows under the pointer."""
    word = next((word for word in WORDS if re.search(rf"\b{word}\b", text)), None)
    if word is None:
        return escape(text)
    abbreviation = Markup('<abbr title="{}">{}</abbr>').format(WORDS[word], word)
    before, _, after = text.partition(word)
    return escape(before) + abbreviation + escape(after)


def with_commands(text: str) -> Markup:
    """Sentences, commands in them as code; the last ones, such as ``Look: detent status``, folded: pages have links."""
    parts = COMMAND.split(printable(text).rstrip("."))
    marked = [Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)]
    sentences, *commands = BEFORE_COMMANDS.split(Markup("").join(marked) + ".", maxsplit=1)
    return Markup(sentences) + (COMMANDS.format(Markup(commands[0])) if commands else "")


def markdown(text: str, *, is_whole: bool = False) -> Markup:
    """As HTML. What is HTML in it stays text.

    Args:
        is_whole: a page, whose links to its own headings stay so; else a chapter, with links to other chapters. Those
            to pages of the documentation are their words alone.
    """
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for opening, heading in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrs["id"] = name_of_heading(heading.content)
    for part in chain.from_iterable(token.children or () for token in tokens):
        if part.type == "link_open":
            place = str(part.attrs["href"])
            href = place if is_whole else place[1:]
            part.tag, part.attrs = ("a", {"href": href}) if place.startswith("#") else ("i", {})
            tag = part.tag
        elif part.type == "link_close":
            part.tag = tag
    html = parser.renderer.render(tokens, parser.options, {})
    return Markup(html.replace("<table>", f"{TABLE}<table>").replace("</table>", "</table></div>"))


def rows_of(text: str) -> int:
    """Of a field that shows a text whole, where it is not very long."""
    return min(MOST_ROWS, 1 + sum(1 + len(line) // ROW_CHARS for line in text.split("\n")))


@cache
def _environment() -> Environment:
    # A server that shows no page starts without it.
    from jinja2 import ChoiceLoader, PackageLoader, PrefixLoader

    from optimizer.adapters.reports.page import UNKNOWN, clip, environment

    shared = PrefixLoader({"reports": PackageLoader("optimizer.adapters.reports")})
    pages = environment(ChoiceLoader([PackageLoader("api.dashboard"), shared]))
    pages.filters |= {
        "ms": lambda value: UNKNOWN if value is None else f"{value:,.0f} ms",
        "in_address": lambda text: quote(str(text), safe=""),
        "as_json": lambda value: canonical_json(value).decode() if not isinstance(value, str) else value,
        "brief": lambda value: clip(" ".join(" ".join(map(str, value.values())).split()), BRIEF_CHARS),
        "short_id": lambda id: id if len(id) <= LONG_ID else f"{id.partition('_')[0]}_…{id[-SHOWN_OF_ID:]}",
        "moment": lambda at: UNKNOWN if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}",
        "without": lambda value, names: {name: one for name, one in value.items() if name not in names},
        "with_columns": with_columns,
        "explained": explained,
        "markdown": markdown,
        "with_commands": with_commands,
        "printable": printable,
        "chapter": chapter_in_words,
        "bars": traffic_bars,
        "as_figure": lambda value, name: pages.filters[name](value),
    }
    pages.globals |= {
        "acts": ACTS,
        "rows_of": rows_of,
        "span": span,
        "age": age,
        "findings_in_words": findings_in_words,
        "rounded_up": rounded_up,
        "hidden": shown(None),
        "scripts": SCRIPTS,
        "htmx_config": canonical_json(HTMX).decode(),
    }
    return pages
