"""What a study would cost, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optimizer.cli.output import dollars
from optimizer.core.base.phrasing import count
from optimizer.core.search.study import Study, budget_options, too_long_in_words

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.family.family import Family
    from optimizer.core.search.cost_estimate import CostEstimate
    from optimizer.jobs.studies.nominate import LookPrice


def view_estimate(out: Console, family: Family, made: CostEstimate, again: str = "") -> None:
    """The estimate for people: each figure with its spread. ``again``: the options that asked for it."""
    from optimizer.core.family.family import kind_of

    def spread(values: Any, unit: str = "") -> str:
        expected, low, high = (
            f"{v:.0f}" if v >= 100 else f"{v:.3g}" for v in (values.expected, values.low, values.high)
        )
        return f"{expected}{unit} expected ({low} to {high})"

    asks = kind_of(family).asks_models
    out.print(
        f"{family.name}: a study of at most {count(made.n_trials, 'trial')}"
        f" {_asked(family, made) if asks else 'on recorded items'}",
        style="bold",
        markup=False,
    )
    out.print(f"Calls     {spread(made.calls)}", markup=False)
    for name, part in made.parts.items():
        out.print(f"  {name:<14}{spread(part)}", markup=False)
    for line in _cut_lines(made, asks):
        out.print(f"          {line}", markup=False)
    usd = f"${spread(made.usd)}" if made.usd is not None else "unknown: the model has no price in config/models.yaml"
    out.print(f"Dollars   {usd}", markup=False)
    out.print(f"Minutes   {spread(made.minutes)}", markup=False)
    reserved = count(made.n_confirmation_calls, "call") + (
        f", {dollars(made.reserved_usd)}" if made.reserved_usd is not None else ""
    )
    out.print(
        f"Reserved  for the confirmation on the holdout: {reserved}, for requests of up to"
        f" {made.longest_request_bytes:,} bytes; a budget below is refused",
        markup=False,
    )
    if told := too_long_in_words({"truncated": made.truncated, "n_refused": made.n_refused}):
        out.print(f"Inputs    {told}", style="yellow", markup=False)
    for sentence in made.remarks:
        out.print(f"Note      {sentence}", style="yellow", markup=False)
    budget = f"--budget-calls {max(1, round(made.calls.high))}" if asks else ""
    out.print(f"Next      {' '.join(filter(None, ('detent study run', family.name, again, budget)))}", markup=False)


def _cut_lines(made: CostEstimate, asks: bool) -> list[str]:
    """What the budget may cut, and the caps that cut nothing."""
    if not made.enough or not asks:
        return []
    unsure = " and ".join(made.no_sure_turn)
    lost = (
        f"{unsure} may have no turn, if what comes before takes its most" if unsure else "not everything may be tried"
    )
    lines = [f"cut by the budget: {lost}", f"enough for every part in any case: {budget_options(made.enough)}"]
    if "calls" in made.enough and made.without_a_cap.calls.expected < made.enough["calls"]:
        lines[-1] += f" (expected: {made.without_a_cap.calls.expected:.0f} calls)"
    return lines


def _asked(family: Family, made: CostEstimate) -> str:
    """The models whose prices these are, and whose the first is where the file has come to name another."""
    if not made.models:
        return f"with model {family.model.default}"
    first, *others = made.models
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
    if price.freeze is not None:
        out.print(f"Note      No look would start while {price.freeze.sentence}.", style="yellow", markup=False)
    aim = "" if price.aim == "quality" else f" --aim {price.aim}"
    then = (
        f"nominate {price.study} {price.variant} --aim {price.aim}"
        if price.study
        else f"confirm {family} {price.variant}{aim}"
    )
    out.print(f"Next      detent study {then}", markup=False)
