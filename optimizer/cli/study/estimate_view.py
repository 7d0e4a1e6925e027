"""Shows in words what a study would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optimizer.cli.output import dollars, print_facts
from optimizer.core.base.phrasing import count
from optimizer.core.search.study import Study, budget_options, too_long_in_words

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.family.family import Family
    from optimizer.core.search.cost_estimate import CostEstimate
    from optimizer.jobs.studies.nominate import LookPrice


def view_estimate(out: Console, family: Family, estimate: CostEstimate, again: str = "") -> None:
    """The estimate for people: each figure with its spread. ``again``: the options that asked for it."""
    from optimizer.core.family.family import kind_of

    def spread(values: Any, unit: str = "") -> str:
        expected, low, high = (
            f"{v:.0f}" if v >= 100 else f"{v:.3g}" for v in (values.expected, values.low, values.high)
        )
        return f"{expected}{unit} expected ({low} to {high})"

    asks = kind_of(family).asks_models
    out.print(
        f"{family.name}: a study of at most {count(estimate.n_trials, 'trial')}"
        f" {_models_text(family, estimate) if asks else 'on recorded items'}",
        style="bold",
        markup=False,
    )
    print_facts(out, ("Calls", spread(estimate.calls)))
    for name, part in estimate.parts.items():
        out.print(f"  {name:<14}{spread(part)}", markup=False)
    usd = (
        f"${spread(estimate.usd)}"
        if estimate.usd is not None
        else "unknown: the model has no price in config/models.yaml"
    )
    reserved = count(estimate.n_confirmation_calls, "call") + (
        f", {dollars(estimate.reserved_usd)}" if estimate.reserved_usd is not None else ""
    )
    too_long = too_long_in_words({"truncated": estimate.truncated, "n_refused": estimate.n_refused})
    budget = f"--budget-calls {max(1, round(estimate.calls.high))}" if asks else ""
    print_facts(
        out,
        ("", _cut_lines(estimate, asks)),
        ("Dollars", usd),
        ("Minutes", spread(estimate.minutes)),
        (
            "Reserved",
            f"for the confirmation on the holdout: {reserved}, for requests of up to"
            f" {estimate.longest_request_bytes:,} bytes; a budget below is refused",
        ),
        ("Inputs", too_long or None, "yellow"),
        *(("Note", sentence, "yellow") for sentence in estimate.remarks),
        ("Next", " ".join(filter(None, ("detent study run", family.name, again, budget)))),
    )


def _cut_lines(estimate: CostEstimate, asks: bool) -> list[str]:
    """What the budget may cut, and the caps that cut nothing."""
    if not estimate.enough or not asks:
        return []
    unsure = " and ".join(estimate.no_sure_turn)
    lost = (
        f"{unsure} may have no turn, if what comes before takes its most" if unsure else "not everything may be tried"
    )
    lines = [f"cut by the budget: {lost}", f"enough for all of these trials: {budget_options(estimate.enough)}"]
    if "calls" in estimate.enough and estimate.without_a_cap.calls.expected < estimate.enough["calls"]:
        lines[-1] += f" (expected: {estimate.without_a_cap.calls.expected:.0f} calls)"
    return lines


def _models_text(family: Family, estimate: CostEstimate) -> str:
    """Names the priced models, and notes when the file has since named another."""
    if not estimate.models:
        return f"with model {family.model.default}"
    first, *others = estimate.models
    of = (
        "" if first == family.model.default else f" (the serving champion's; the file now names {family.model.default})"
    )
    return f"with model {first}{of}" + (f", and {', '.join(others)}" if others else "")


def view_price(out: Console, family: str, price: LookPrice | Study) -> None:
    if isinstance(price, Study):
        out.print(
            f"{price.winner} was confirmed by study {price.id}; nothing is to pay. Next: detent rollout start {family}"
            f" {price.winner}",
            markup=False,
        )
        return
    usd = (
        "unknown dollars: a model has no price"
        if price.usd_at_most is None
        else f"at most {dollars(price.usd_at_most)}"
    )
    out.print(
        f"{price.variant}, aim {price.aim}: {count(price.n_calls, 'call')}, with retries at most"
        f" {price.n_calls_at_most}, {usd}; look {price.look} at these holdout examples",
        markup=False,
    )
    aim = "" if price.aim == "quality" else f" --aim {price.aim}"
    then = (
        f"nominate {price.study} {price.variant} --aim {price.aim}"
        if price.study
        else f"confirm {family} {price.variant}{aim}"
    )
    frozen = f"No look would start while {price.freeze.sentence}." if price.freeze is not None else None
    print_facts(out, ("Note", frozen, "yellow"), ("Next", f"detent study {then}"))
