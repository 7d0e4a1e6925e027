"""``detent student``: how far a student agrees with the model behind it, and whether it may answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import FamilyName, Json, Reason, percent, print_facts, table, when
from optimizer.cli.session import Session
from optimizer.core.base.answers import shown
from optimizer.core.base.phrasing import count

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.views.student import StudentsView

app = typer.Typer(
    name="student", no_args_is_help=True, help="The classifier that answers in a model's place: show, bypass, resume."
)
StudentId = Annotated[str | None, typer.Option("--student", help="Its hash; default: the one that serves.")]
DECISIONS = {"keep": "keep", "bypass": "bypass", "cannot_tell": "cannot tell"}


@app.command()
def show(family: FamilyName, as_json: Json = False) -> None:
    """Agreement with the next tier by week, and whether the student is bypassed and why.

    Example: detent student show triage
    """
    from optimizer.jobs.champions.resume_student import read_students

    Session().show(as_json, read_students, _tell, family=family)


@app.command()
def bypass(family: FamilyName, student: StudentId = None, reason: Reason = None, as_json: Json = False) -> None:
    """Let the student answer nobody, at once: the tier behind it answers, or for one alone the champion before it.

    Example: detent student bypass triage --reason "a new product is out"
    """
    from optimizer.jobs.champions.resume_student import bypass_student

    Session().change(as_json, bypass_student, family=family, student=student, reason=reason or "")


@app.command()
def resume(family: FamilyName, student: StudentId = None, reason: Reason = None, as_json: Json = False) -> None:
    """Let a bypassed student answer again, and watch it anew; a champion that gave way for it is champion again.

    Example: detent student resume triage --reason "the model behind it was at fault"
    """
    from optimizer.jobs.champions.resume_student import resume_student

    Session().change(as_json, resume_student, family=family, student=student, reason=reason or "")


def _tell(out: Console, view: StudentsView) -> None:
    if not view.students:
        out.print(f"No student serves {view.family} yet, or none was watched so far.", markup=False)
    for one in view.students:
        bypassed = None
        if one.bypassed_since is not None:
            bypassed = f"since {when(one.bypassed_since)}: {shown(one.bypass_reason)}"
        print_facts(
            out,
            ("Student", f"{one.student}, tier {one.tier} of {' and '.join(one.variants)}"),
            ("Taught by", one.taught_by),
            ("Bypassed", bypassed),
            ("Audits", f"{DECISIONS[one.decision]}: {one.evidence}"),
            ("Shifted", list(one.shifts)),
        )
        rows = [
            {
                "monday": str(week.monday),
                "n": week.n,
                "own": f"{week.n_own:,} ({percent(week.n_own / week.n)})",
                "agreement": "not measured"
                if week.agreement is None
                else f"{week.agreement:.3f} ({week.low:.3f} to {week.high:.3f})",
                "compared": count(week.n_compared, "audit"),
                "confidence": week.confidence,
                "unknown": week.unknown_share,
            }
            for week in one.weeks
        ]
        columns = {
            "monday": "Week of",
            "n": "Read",
            "own": "Answered",
            "agreement": "Agreement (95 %)",
            "compared": "From",
            "confidence": "Mean sureness",
            "unknown": "Words unknown",
        }
        table(rows, columns, empty="It was not asked since it is watched.")(out)
