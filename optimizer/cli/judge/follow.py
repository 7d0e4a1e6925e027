"""Waits for what a judge was asked to do, and says beforehand what it would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.cli.family.evaluate_view import NO_PRICE
from optimizer.cli.output import dollars, print_facts, say
from optimizer.cli.progress.followed_run import follow_run
from optimizer.cli.session import Session

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.evaluation.judging.run import JudgeRun, JudgeRunEstimate


def follow_judge_run(session: Session, id: str, *, quiet: bool) -> JudgeRun:
    """The run at its end; raises the error with which it failed."""
    from optimizer.jobs.runs.create_judge_run import read_judge_run

    def left(is_here: bool) -> None:
        end = f"stop it: detent judge cancel {id}"
        here = f"Interrupted. What was answered is kept; the next worker goes on, or {end}"
        say(here if is_here else f"Run {id} goes on in the worker. {end.capitalize()}")

    return follow_run(session, id, read_judge_run, quiet=quiet, left=left)


def told_estimate(out: Console, estimate: JudgeRunEstimate, head: str) -> None:
    calls, usd = estimate.calls, estimate.usd
    cap = f"with retries at most {estimate.calls_at_most:,}, the cap where no budget is given"
    out.print(head, markup=False)
    money = NO_PRICE if usd is None else f"{dollars(usd.expected)} expected, at most {dollars(usd.high)}"
    print_facts(out, ("Calls", f"{calls.expected:,} expected, at most {calls.high:,}; {cap}"), ("Dollars", money))
