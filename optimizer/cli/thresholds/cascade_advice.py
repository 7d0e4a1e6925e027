"""``detent thresholds recommend`` of a prompt family: what production says of a cascade's thresholds, for people
and as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from optimizer.cli.output import dollars, print_facts, show_report, table, when
from optimizer.cli.session import Session
from optimizer.core.base.phrasing import count, threshold

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.search.cascade.figures import CascadeSetting, Figure, WeightedEstimate
    from optimizer.jobs.studies.recommend_cascade import CascadeRecommendation

COLUMNS = {"what": "", "accept": "accept", "quality": "Quality", "cost": "$ a request", "loss": "Points lost", "n": "n"}
SAID = {
    "change": "These thresholds do better than the present ones:",
    "keep": "Keep the present thresholds: what the search found saves hardly more.",
    "do_not_cascade": "",  # the reason says it
    "cannot_tell": "Cannot tell:",
}
REFERENCES = {
    "expected": "{} against the expected output of a correction",
    "strongest": "{} by agreement with what the strongest tier said",
    "none": "{} not at all: stopped early, not audited, no correction (they count for costs)",
}


def recommend(session: Session, family: str, hours: float, *, as_json: bool) -> None:
    from optimizer.jobs.studies.recommend_cascade import recommend_cascade

    answer = session.ask(recommend_cascade, family=family, hours=hours)

    def view(out: Console) -> None:
        for line in lines_before(answer):
            out.print(line, markup=False)
        out.print("")
        if answer.advice.estimated is not None:
            table(list(_rows(answer)), COLUMNS, empty="")(out)
            out.print("")
        style = "green" if answer.advice.verdict in ("change", "keep") else "yellow"
        out.print(f"{SAID[answer.advice.verdict]} {answer.advice.reason}".strip(), style=style, markup=False)
        for line in lines_after(answer):
            out.print(line, markup=False)
        print_facts(out, ("Next", answer.next))

    show_report(as_json, recommend_cascade, answer, view)


def lines_before(answer: CascadeRecommendation) -> Iterator[str]:
    """What was read, and what not."""
    variants = ", ".join(answer.variants) or answer.champion
    yield f"Read      {count(answer.n_read, 'request')} of the last {answer.hours:g} h, served by {variants}"
    if answer.n_older:
        yield (
            f"          {count(answer.n_older, 'older request')} of that time left out: only the newest"
            f" {answer.n_read:,} are read, back to {when(answer.oldest_at)}"
        )
    for why, n in sorted(answer.left_out.items()):
        yield f"          {count(n, 'request')} left out: {why}"
    reference_lines = [
        text.format(f"{answer.references[name]:,}") for name, text in REFERENCES.items() if answer.references.get(name)
    ]
    for place, text in enumerate(reference_lines):
        yield f"{'Scored' if place == 0 else '':<10}{text}"
    audits = answer.audits
    missing = [
        f"{audits.failed:,} with a tier that failed" * bool(audits.failed),
        f"{audits.lost:,} without a trace" * bool(audits.lost),
    ]
    lost = (
        f" ({' and '.join(filter(None, missing))}; the weights of the others make up for them)" if any(missing) else ""
    )
    yield (
        f"Audits    {audits.complete:,} of {audits.drawn:,} drawn are complete{lost}, {dollars(audits.paid_usd)} paid"
        " for them"
    )


def lines_after(answer: CascadeRecommendation) -> Iterator[str]:
    advice = answer.advice
    if advice.margin is not None:
        yield (
            f"Margin    {100 * advice.margin:.2g} points of loss are allowed, half of the family's margin: what is"
            " found is lucky on its own records"
        )
    if advice.audit_cost is not None:
        yield f"Audits    {advice.audit_cost.in_words}"
    for knob, why in (advice.not_replayed or {}).items():
        yield f"Note      {knob} is not replayed: {why}"


def _rows(answer: CascadeRecommendation) -> Iterator[dict[str, str]]:
    advice = answer.advice
    if advice.estimated is not None:
        yield _row("present", advice.present, advice.estimated)
    if advice.recommended is not None and advice.estimated_recommended is not None:
        yield _row("found", advice.recommended, advice.estimated_recommended)
    if advice.strongest is not None:
        strongest = advice.strongest
        name = advice.present.tiers[-1]
        yield {
            "what": f"{name} alone",
            "accept": "–",
            "quality": _span(strongest.quality),
            "cost": _usd(strongest.cost_usd),
            "loss": "0",
            "n": "",
        }


def _row(name: str, setting: CascadeSetting, estimate: WeightedEstimate) -> dict[str, str]:
    return {
        "what": f"{name}: {' > '.join(setting.tiers)}",
        "accept": " ".join(map(threshold, setting.accept)),
        "quality": _span(estimate.quality),
        "cost": _usd(estimate.cost_usd),
        "loss": "not known" if estimate.loss is None else _span(estimate.loss, 100, 1),
        "n": f"{estimate.n_known:,} of {estimate.n_records:,}",
    }


def _span(of: Figure, times: float = 1, digits: int = 3) -> str:
    return f"{times * of.mean:z.{digits}f} ({times * of.low:z.{digits}f} to {times * of.high:z.{digits}f})"


def _usd(of: Figure) -> str:
    return f"{dollars(of.mean)} ({dollars(max(of.low, 0.0))} to {dollars(of.high)})"
