"""What users ask, as a person reads it: common queries with their shares, slow and failed ones, families that nobody
asks, what people said of dialogs, and ideas with the command that follows. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from shlex import quote
from statistics import fmean
from typing import Any, Literal

from optimizer.core.base.answers import Text
from optimizer.core.base.values import p95
from optimizer.core.dataset.examples import normalise
from optimizer.core.feedback.dialogs import INSIGHTS
from optimizer.core.feedback.events import Interaction
from optimizer.core.search.examples.sets import text_of

FEWEST = 3  # queries that are called common
MOST_GROUPS = 20  # of a family that are shown
MOST_NAMED = 5  # slow queries, failures and remarks of a family that are shown
COMMON = 0.05  # share from which a group of queries deserves a golden scenario
FAILS_OFTEN, FEWEST_FAILED = 0.10, 3
REPEATED, FEWEST_REPEATED = 0.20, 10
OFTEN = 2.0  # times what is usual in the family: what fails or takes so much more is told

InsightKind = Literal["worked_well", "issues", "suggestions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGroup:
    """Texts that are alike: their places, the one nearest to the middle first, and the words that tell them from the
    others.
    """

    members: Sequence[int]
    words: Sequence[str]


GroupTexts = Callable[[Sequence[str]], Sequence[TextGroup]]
"""Groups texts, each of which stands once; a text that is like no other is in none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryFigures:
    """Of some queries. ``n_timed``: with a known response time, of which the figures are."""

    n: int
    n_timed: int
    mean_latency_ms: float | None
    p95_latency_ms: float | None
    n_failed: int
    failed_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonQuery:
    """Queries of a family that are alike. ``share`` of the family's queries with a kept text; ``n_distinct`` texts;
    ``interaction``: the one nearest to the middle, whose text is ``example``; ``is_golden``: a golden scenario asks
    one of them; ``is_offered``: a person was asked about one of them.
    """

    words: Text[Sequence[str]]
    example: Text[str]
    interaction: str
    share: float
    n_distinct: int
    figures: QueryFigures
    is_golden: bool
    is_offered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowQuery:
    interaction: str
    text: Text[str | None]
    latency_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryFailure:
    """``interaction``: the newest of the ``n``."""

    error: Text[str]
    n: int
    interaction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """What somebody noted of a dialog."""

    kind: InsightKind
    text: Text[str]
    conversation: Text[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Idea:
    what: Text[str]
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyDialogs:
    """Of one family. ``n_with_text``: queries whose text is kept, of which ``common`` tells; ``n_alone``: those that
    are like no others, or like too few; ``is_cut``: there are more queries than were read, the newest.
    """

    family: str
    n_conversations: int
    figures: QueryFigures
    n_with_text: int
    n_repeated: int
    n_alone: int
    is_cut: bool
    common: Sequence[CommonQuery]
    slow: Sequence[SlowQuery]
    failures: Sequence[QueryFailure]
    insights: Sequence[Insight]


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogAnalysis:
    """Of the queries received from ``since`` until ``until``. ``unused``: families with a file that nobody asked."""

    since: datetime
    until: datetime
    families: Sequence[FamilyDialogs]
    unused: Sequence[str]
    ideas: Sequence[Idea]


def family_dialogs(
    family: str,
    queries: Sequence[Interaction],
    *,
    group: GroupTexts,
    is_golden: Callable[[Mapping[str, Any]], bool],
    offered: Collection[str],
    is_cut: bool,
) -> FamilyDialogs:
    """What a family was asked.

    Args:
        queries: newest first.
        is_golden: whether a golden scenario asks this input.
        offered: ids of interactions that a review is about.
    """
    by_text: dict[str, list[Interaction]] = {}  # the same but for case and white space
    for query in queries:
        if query.input is not None and _text(query) is not None:
            by_text.setdefault(normalise(query.input), []).append(query)
    distinct = list(by_text.values())
    n_with_text = sum(map(len, distinct))
    common = []
    for each in group([_text(same[0]) or "" for same in distinct]):
        members = [query for place in each.members for query in distinct[place]]
        if len(members) < FEWEST:
            continue
        middle = distinct[each.members[0]][0]
        common.append(
            CommonQuery(
                words=tuple(each.words),
                example=_text(middle) or "",
                interaction=middle.id,
                share=len(members) / n_with_text,
                n_distinct=len(each.members),
                figures=figures(members),
                is_golden=any(is_golden(query.input or {}) for query in members),
                is_offered=any(query.id in offered for query in members),
            )
        )
    common.sort(key=lambda one: (-one.figures.n, one.interaction))
    timed = sorted((q for q in queries if q.latency_ms is not None), key=lambda q: (-(q.latency_ms or 0.0), q.id))
    failed = [query for query in queries if query.error is not None]
    kinds = sorted(Counter(query.error or "" for query in failed).items(), key=lambda item: (-item[1], item[0]))
    return FamilyDialogs(
        family=family,
        n_conversations=len({query.conversation for query in queries if query.conversation is not None}),
        figures=figures(queries),
        n_with_text=n_with_text,
        n_repeated=n_with_text - len(distinct),
        n_alone=n_with_text - sum(one.figures.n for one in common),
        is_cut=is_cut,
        common=common[:MOST_GROUPS],
        slow=[
            SlowQuery(interaction=query.id, text=_text(query), latency_ms=query.latency_ms or 0.0)
            for query in timed[:MOST_NAMED]
        ],
        failures=[
            QueryFailure(error=error, n=n, interaction=next(query.id for query in failed if query.error == error))
            for error, n in kinds[:MOST_NAMED]
        ],
        insights=_insights(queries),
    )


def figures(queries: Sequence[Interaction]) -> QueryFigures:
    times = [query.latency_ms for query in queries if query.latency_ms is not None]
    n_failed = sum(query.error is not None for query in queries)
    return QueryFigures(
        n=len(queries),
        n_timed=len(times),
        mean_latency_ms=fmean(times) if times else None,
        p95_latency_ms=p95(times) if times else None,
        n_failed=n_failed,
        failed_share=n_failed / len(queries) if queries else None,
    )


def _text(query: Interaction) -> str | None:
    if query.input is None:
        return None
    return text_of(query.input).strip() or None


def _insights(queries: Sequence[Interaction]) -> list[Insight]:
    """The newest of each kind, each text once."""
    kinds: tuple[InsightKind, ...] = ("suggestions", "issues", "worked_well")
    insights: list[Insight] = []
    for kind in kinds:
        seen: dict[str, Insight] = {}
        for query in queries:
            noted: Any = query.tags.get(INSIGHTS)
            text = noted.get(kind) if isinstance(noted, Mapping) else None
            if isinstance(text, str) and text.strip():
                seen.setdefault(text.strip(), Insight(kind=kind, text=text.strip(), conversation=query.conversation))
        insights += list(seen.values())[:MOST_NAMED]
    return insights


def ideas(families: Sequence[FamilyDialogs], unused: Sequence[str], range_: str) -> list[Idea]:
    """What follows from the figures, each with the command that goes on; a rule each, and nothing else."""
    for_families = [idea for one in families for idea in (*_of_queries(one, range_), *_of_family(one))]
    for_unused = [
        Idea(
            what=f"{name} was asked nothing in this time: tell its users of it, or take it out.",
            command=f"detent family show {name}",
        )
        for name in unused
    ]
    return [*for_families, *for_unused]


def _of_queries(one: FamilyDialogs, range_: str) -> Iterator[Idea]:
    name, overall = one.family, one.figures
    for query in one.common:
        own, what = query.figures, f"Queries like {query.example!r:.80}"
        failed, failed_overall = own.failed_share or 0.0, overall.failed_share or 0.0
        if own.n_failed >= FEWEST_FAILED and failed >= max(FAILS_OFTEN, OFTEN * failed_overall):
            yield Idea(
                what=f"{what}: {failed:.0%} of {own.n} failed, of all queries {failed_overall:.0%}.",
                command=f"detent quality analytics --family {name} --range {range_}",
            )
        mean_ms, mean_overall_ms = own.mean_latency_ms, overall.mean_latency_ms
        if own.n_timed >= FEWEST and mean_ms and mean_overall_ms and mean_ms >= OFTEN * mean_overall_ms:
            yield Idea(
                what=f"{what} take {mean_ms:.0f} ms on average, all queries {mean_overall_ms:.0f} ms.",
                command=f"detent study run {name} --aim latency --dry-run",
            )
        if query.share >= COMMON and not query.is_golden and not query.is_offered:
            yield Idea(
                what=f"{what} are {query.share:.0%} of what {name} is asked, and no golden scenario asks one.",
                command=f"detent dialogs offer {name} {quote(query.interaction)}",
            )


def _of_family(one: FamilyDialogs) -> Iterator[Idea]:
    repeated = one.n_repeated / one.n_with_text if one.n_with_text else 0.0
    if one.n_repeated >= FEWEST_REPEATED and repeated >= REPEATED:
        yield Idea(
            what=(
                f"{repeated:.0%} of {one.family}'s queries had been asked before, word for word. A response cache"
                " answers those at once: cache: {ttl_s: 600} in its file."
            ),
            command=f"detent family validate {one.family}",
        )
    if any(insight.kind == "suggestions" for insight in one.insights):
        yield Idea(
            what=f"People suggested something in {one.family}'s dialogs, to be tried in its prompt.",
            command=f"detent variant create {one.family} --help",
        )
