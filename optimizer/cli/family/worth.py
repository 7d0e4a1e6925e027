"""``detent family worth``: whether a model earns its calls, in one screen, before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from optimizer.cli.output import FamilyName, Json, dollars, print_facts, show_report, table, when
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count, signed_interval

if TYPE_CHECKING:
    from optimizer.jobs.studies.read_worth import FamilyWorth

COLUMNS = {"name": "Without a model", "score": "Score", "low": "95 % from", "high": "to", "why": ""}
CURVE = {"n_train": "Labels", "score": "Score", "low": "95 % from", "high": "to"}
MORE_LABELS = {
    "pay": "More labels pay",
    "hardly": "More labels of this kind would hardly help",
    "cannot_tell": "Whether more labels pay cannot be told",
}


def worth(family: FamilyName, as_json: Json = False) -> None:
    """What answers without a model get right, what the champion does, and whether more labels would pay.

    Train and dev examples (at most 500, drawn by hash) are answered, each by what learned from other groups. Nothing is
    asked or spent, and no sealed example is read.

    Example: detent family worth triage
    """
    from optimizer.jobs.studies.read_worth import read_worth

    report = Session().ask(read_worth, family=family)

    def view(out: Any) -> None:
        measured = report.measured
        drawn = "" if measured.n == report.n_known else f", drawn from {report.n_known:,}"
        out.print(
            f"{count(measured.n, 'example')}{drawn}, each answered by what learned from other groups:", markup=False
        )
        rows = [
            {**asdict(row), "why": f"left out: {row.why}" if row.score is None else ""} for row in measured.baselines
        ]
        table(rows, COLUMNS, empty="")(out)
        if measured.curve:
            out.print("\nThe student by number of labels:", markup=False)
            table([asdict(point) for point in measured.curve], CURVE, empty="")(out)
        out.print("")
        print_facts(out, *_facts(report))

    show_report(as_json, read_worth, report, view)


def _facts(report: FamilyWorth) -> Iterator[tuple[str, str | None]]:
    champion, doubling = report.champion, report.measured.last_doubling
    if champion is None:
        yield "Champion", "not measured on dev examples yet"
    else:
        interval = "" if champion.low is None else f" (95 %: {champion.low:.3f} to {champion.high:.3f})"
        yield (
            "Champion",
            f"{champion.variant} scored {champion.score:.3f}{interval} on {count(champion.n, 'dev example')} at"
            f" {when(champion.at)}, for {dollars(champion.usd_per_answer)} an answer; these are not the rows above",
        )
    if report.more_labels is None or doubling is None:
        yield "Labels", f"{MORE_LABELS['cannot_tell']}: no student could learn from two numbers of them"
    else:
        how_many = "" if report.more_labels != "pay" else f"; {_how_many(report.n_more_labels)}"
        yield (
            "Labels",
            f"{MORE_LABELS[report.more_labels]}: from {doubling.n_from:,} to {doubling.n_to:,} gained"
            f" {doubling.gain:+.3f} (95 %: {signed_interval(doubling.low, doubling.high)}){how_many}",
        )
    if report.n_unreleased:
        yield (
            "Note",
            f"{count(report.n_unreleased, 'example')} taught nothing, since nobody released"
            f" {'it' if report.n_unreleased == 1 else 'them'}: detent review list --family {report.family}",
        )
    yield (
        "Next",
        f"detent study run {report.family} --dry-run"
        if champion is not None
        else f"detent family evaluate {report.family} --dry-run",
    )


def _how_many(n: int | None) -> str:
    if n is None:
        return "how many cannot be told"
    if n == 0:
        return "the next doubling is likely to gain less than two points"
    return f"as the gains shrink, about {n:,} more would pay"
