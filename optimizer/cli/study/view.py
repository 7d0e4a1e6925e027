"""A study in the terminal: what it would cost, what was tried, what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optimizer.cli.family.evaluate_view import view_trivial
from optimizer.cli.output import dollars, print_facts, say, show, table, when
from optimizer.cli.session import Session
from optimizer.core.base.answers import shown
from optimizer.core.base.errors import Busy
from optimizer.core.base.phrasing import count, signed
from optimizer.core.search.study import (
    CONTENT_SCORE,
    ENOUGH,
    Study,
    Trial,
    budget_options,
    leaks_in_words,
    ranked,
    too_long_in_words,
)

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.family.family import Family
    from optimizer.core.search.cascade.figures import AuditCost
    from optimizer.core.search.cost_estimate import CostEstimate
    from optimizer.core.views.study_front import StudyFront
    from optimizer.core.views.study_headline import StudyView
    from optimizer.jobs.studies.nominate import LookPrice

MOST_LINES = 10  # of trials, settings and tests each: the front has to be seen among them


def print_study(session: Session, study: StudyView, as_json: bool) -> None:
    from optimizer.core.search.strategy import REPLAY
    from optimizer.jobs.studies.read_front import read_audit_cost, read_front
    from optimizer.jobs.studies.read_studies import read_mlflow_link

    trials = trials_of(session, study.id)
    is_cascade = study.winner is not None and REPLAY in study.strategy
    cost = None
    if is_cascade:
        try:
            cost = session.ask(read_audit_cost, id=study.id).audit_cost
        except Busy as busy:
            say(f"What checking the answers costs is left out. {busy.detail}", "yellow")
    link, front = session.ask(read_mlflow_link, id=study.id).url, session.ask(read_front, id=study.id)
    show(
        as_json,
        {"study": study, "trials": trials, "front": front, "audit_cost": cost, "mlflow": link},
        lambda out: view(out, study, trials, cost, mlflow=link, front=front),
    )


def trials_of(session: Session, study_id: str) -> Sequence[Trial]:
    from optimizer.jobs.studies.read_studies import read_trials

    return session.whole(read_trials, id=study_id).items


def view(
    out: Any,
    study: StudyView,
    trials: Sequence[Trial],
    audit_cost: AuditCost | None = None,
    *,
    mlflow: str | None = None,
    front: StudyFront | None = None,
) -> None:
    from optimizer.core.evaluation.trivial_baselines import WITHOUT_MODEL
    from optimizer.core.search.run_off import leaders_in_words, rows_in_words
    from optimizer.core.views.study_headline import headline

    state = study.state + (", simulated clock" if study.simulated_clock else "")
    out.print(f"Study     {study.id} of {study.family}: {state}", style="bold", markup=False)
    spend, trigger = study.spend, study.trigger
    lost = f", {spend.n_lost} lost in flight and counted at their reserved price" if spend.n_lost else ""
    origin = f"made {when(study.created_at)} by {study.created_by}"
    move = f", to {study.move_to}" if study.move_to is not None else ""
    print_facts(
        out,
        ("Outcome", headline(study, trials)),
        ("Search", f"{study.strategy}, aim {study.aim}{move}, seed {study.seed}, {origin}"),
        (
            "Searched",
            f"by {front.searched_by}, which has the front: detent study show {front.searched_by}"
            if front is not None and front.searched_by is not None
            else None,
        ),
        ("By itself", f"{trigger.kind}: {shown(trigger.reason)}" if trigger is not None else None),
        (
            "Spent",
            f"{count(spend.n_calls, 'call')}, {dollars(spend.usd)}, {spend.n_from_journal} answered from the"
            f" journal{lost}",
        ),
        *((label, text, "yellow") for label, text in _cut_facts(study, trials)),
        ("Choice", rows_in_words(study.findings) or None),
        ("Run-off", leaders_in_words(study.findings)),
        ("Refused", leaks_in_words(study.findings) or None, "yellow"),
        ("Inputs", too_long_in_words(study.dataset) or None, "yellow"),
        ("Audits", audit_cost.in_words if audit_cost is not None else None),
        ("Error", study.error or None, "red"),
    )
    for line in score_lines(study):
        out.print(line, markup=False)
    if front is not None:
        _view_front(out, study, front)
    print_facts(out, ("Remark", _remark_lines(spend.remark, study.id)))
    out.print("")
    _view_trials(out, study, trials, front)
    view_trivial(out, (study.findings or {}).get(WITHOUT_MODEL))
    if study.confirmation:
        out.print("")
        # The confirmation in words, as the job summed it up.
        confirmation = study.confirmation or {}
        lines = [f"Holdout   {confirmation['summary']}"] if confirmation.get("summary") else []
        steps = confirmation.get("sequence") or ()
        if len(steps) > MOST_LINES:  # the first that does not pass ends it
            lines.append(f"  {count(len(steps) - MOST_LINES, 'proposal')} before these passed; {_whole(study.id)}")
        for step in steps[-MOST_LINES:]:
            verdict = "passed" if step["passed"] else "did not pass"
            lines.append(
                f"  tested {step['variant']}: {verdict}, score {signed(step['lift'])} against the champion,"
                f" p {step['p']:.3g}"
            )
        for gate in confirmation.get("gates") or ():
            lines.append(f"  {gate.get('name', 'gate'):<18}{gate.get('verdict', '')}: {shown(gate.get('reason', ''))}")
        for line in lines:
            out.print(line, markup=False)
    out.print("")
    print_facts(out, ("MLflow", mlflow), ("Next", study.then))


def _view_front(out: Any, study: Study, front: StudyFront) -> None:
    """Nothing where one model answers everything and every trial is shown: the trials say it all then."""
    if not front.has_several_answering and front.n_trials <= MOST_LINES:
        return
    out.print(f"\n{front.heading}", markup=False)
    rows = [
        {
            "variant": point.variant + (f" ({point.mark})" if point.mark else ""),
            "score": point.score,
            "usd": point.usd_per_answer if study.is_replayed else dollars(point.usd_per_1000),
            "p95_ms": point.p95_ms,
            "saved": point.saved_in_words,
            "who": point.answered_in_words,
        }
        for point in front.points
    ]
    columns = {
        "variant": "Variant",
        "score": "Dev score",
        "usd": "Time share" if study.is_replayed else "Per 1,000 calls",
        "p95_ms": "p95 ms",
        "saved": "Saved",
        "who": "Answered by",
    }
    table(rows, columns, empty="")(out)


def _view_trials(out: Any, study: StudyView, trials: Sequence[Trial], front: StudyFront | None) -> None:
    rows = [
        {
            "number": t.number,
            "variant": t.variant + (" *" if t.variant == study.winner else ""),
            "proposer": t.proposer,
            "score": t.score,
            "n": t.n,
            "n_errors": t.n_errors,
            "usd": front.usd_of(t) if front is not None else t.usd_per_example,
            "p95_ms": t.p95_ms,
            "status": t.status,
        }
        for t in _best_first(study, trials)
    ]
    columns = {
        "number": "Trial",
        "variant": "Variant",
        "proposer": "Proposer",
        "score": "Dev score",
        "n": "n",
        "n_errors": "Errors",
        "usd": "Time share" if study.is_replayed else "$ a call",
        "p95_ms": "p95 ms",
        "status": "Status",
    }
    table(rows, columns, empty="It searches nothing." if study.mode == "confirm" else "No trial yet.")(out)
    if len(trials) > len(rows):
        out.print(f"{count(len(trials) - len(rows), 'more trial')}; {_whole(study.id)}", markup=False)
    if any(t.n_errors for t in trials):
        out.print("Errors    answers that did not come or could not be read; each counts as 0", markup=False)


def _best_first(study: Study, trials: Sequence[Trial]) -> list[Trial]:
    """Champion, winner and then the best, as many as are shown, in the order in which they were tried."""
    marked = [t for t in trials if t.variant in (study.champion, study.winner)]
    by_number = {t.number: t for t in (*marked, *ranked(trials), *trials)}
    return sorted([*by_number.values()][:MOST_LINES], key=lambda t: t.number)


def _remark_lines(remark: str | None, study: str) -> list[str]:
    """Of more settings than are shown the first, which are the safest, and the last."""
    parts = remark.split("; ") if remark else []
    if len(parts) <= MOST_LINES:
        return [remark] if remark else []
    left_out = f"{len(parts) - MOST_LINES} more; {_whole(study)}"
    return [*parts[: MOST_LINES - 1], left_out, parts[-1]]


def _whole(study: str) -> str:
    return f"all of them: --json, or detent study report {study}"


def _cut_facts(study: Study, trials: Sequence[Trial]) -> list[tuple[str, str]]:
    """That the budget ended the search, whose turn it left out, and what to do."""
    if study.spend.search_cut is None:
        return []
    from optimizer.core.search.strategy import without_turn

    left_out = without_turn(study, trials)
    enough = (study.findings or {}).get(ENOUGH)
    larger = (
        f"{budget_options(enough)}, enough for every part"
        if enough
        else "with a larger budget (--dry-run says how much)"
    )
    more = f"detent study run {study.family} {larger}"
    turn = f"{' and '.join(left_out)} never had a turn: {more}, or --strategy {'+'.join(left_out)} alone"
    return [
        ("Cut short", study.spend.search_cut),
        ("", turn if left_out else f"not everything was tried; more: {more}"),
    ]


_HEAD = f"  {'on dev':<26}{'items':>6}{'saved':>9}  {'quality of what is in full':<30}{'in full':>8}  decided by"


def score_lines(study: Study) -> Iterator[str]:
    """Empty where the user asked for no score."""
    score = (study.findings or {}).get(CONTENT_SCORE)
    if not score:
        return
    for point in score["points"]:
        yield ""
        yield f"Score     {point['variant']}: {point['score']}"
        for name, rows in point["on_dev"].items():
            yield (
                f"  {name}{' (serves)' if name == point['score'] else ', beside it'}, thresholds from"
                f" {point['n_train']} training items"
            )
            yield _HEAD
            yield from map(_row, rows)
    for untrained in score["not_trained"]:
        yield f"Not trained on {untrained['type']}: {untrained['why']}; the filter decides about it."
    yield score["note"]


def _row(row: Mapping[str, Any]) -> str:
    quality = "nothing in full" if row["quality"] is None else f"{row['quality']:.3f}"
    interval = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
    return (
        f"  {row['type'] or 'no type':<26}{row['n']:>6}{row['saved']:>9.1%}  {quality + interval:<30}{row['n_full']:>8}"
        f"  {row['decided_by']}"
    )


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
