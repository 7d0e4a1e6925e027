"""``detent family``: the tasks of this project and their files."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.family.create import create
from optimizer.cli.family.evaluate import evaluate
from optimizer.cli.family.schedule import schedule
from optimizer.cli.family.worth import worth
from optimizer.cli.output import FamilyName, Json, Reason, print_facts, say, show, show_report, table, tell_change, when
from optimizer.cli.server_option import chosen_server
from optimizer.cli.session import Session
from optimizer.core.base.answers import members_of, shown
from optimizer.jobs.families.family_folders import Folders
from optimizer.runtime import wiring

if TYPE_CHECKING:
    from optimizer.core.family.family import Family
    from optimizer.core.views.family import FamilySummary
    from optimizer.jobs.scheduling.look_at_triggers import TriggerReport


app = typer.Typer(name="family", no_args_is_help=True, help="Families: list, show, validate, add, create, measure.")


@app.command()
def add(
    family: Annotated[
        str | None,
        typer.Argument(help="Name of a family that Detent ships; without one: the list.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy a family that comes with Detent into this project, and import its examples. Safe to repeat.

    A folder of that name is left alone. Undo: `detent family delete`.

    Example: detent family add summarization
    """
    from optimizer.jobs.families.shipped_files import SHIPPED, add_shipped_family

    if family is None:
        from optimizer.adapters.files.family_files import FamilyFiles

        here, shipped = Session().families, FamilyFiles(SHIPPED)
        shipped.load()
        rows = [
            {
                "family": name,
                "description": family.description,
                "here": name in here.families.keys() | here.problems.keys(),
            }
            for name, family in sorted(shipped.families.items())
        ]
        show(
            as_json,
            {"items": rows},
            table(
                rows,
                {"family": "Family", "description": "What it does", "here": "In this project"},
                empty="This installation of Detent ships no families.",
            ),
        )
        return
    session = Session()
    session.refuse_former_name(family)
    folder = session.settings.families_dir / family
    session.before_change()
    written = add_shipped_family(family, families_dir=session.settings.families_dir)
    session.families.load()
    wiring.sync_families(session.settings, session.families, session.store, session.clock)
    declared = session.family(family)
    examples, report = folder / "examples.jsonl", None
    if examples in written:
        report = session.import_curated(examples, declared)
    show(as_json, {"family": family, "files": written, "import": report})
    for sentence in report.sentences() if report is not None else ():
        say(sentence)
    tell_change(
        f"{family}: its copy is {folder}, yours to edit.",
        why="",
        undo=f"detent family delete {family} --confirm {family}",
        then=f"detent family show {family}",
    )


@app.command()
def align(
    family: FamilyName,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write the metric; default: aligned.json beside the family.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how well it does, and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make a metric from users' thumbs, judged on later thumbs; refused where it tells these apart too badly.

    It takes 100 answers with their texts and a thumb, learns from the earlier seven tenths, and is refused (exit 3)
    unless a liked answer scores above a disliked one in 60 of 100 later pairs, with a 95 % interval above 50. It says
    what to put under `scorer:` of the family's file.

    It reads numbers of request and answer alone (length, hedges, refusal, how much of the request comes back), so a
    search may learn to please it by these: look at what wins.

    Example: detent family align letters
    """
    from optimizer.adapters.predictors.measures import learn_alignment
    from optimizer.adapters.text_metrics import write_predictor
    from optimizer.jobs.feedback.align_family import align_family

    session = Session()
    settings, declared = session.settings, session.family(family)
    aligned = align_family(declared, store=session.store, clock=session.clock, learn=learn_alignment)
    file = out or Folders.of_home(settings).where(declared.name) / "aligned.json"
    inside = file.resolve().is_relative_to(settings.home.resolve())
    shown = file.resolve().relative_to(settings.home.resolve()).as_posix() if inside else str(file)
    if not dry_run:
        session.before_change()
        write_predictor(file, aligned.predictor)
    show(as_json, {**aligned.as_data(), "file": None if dry_run else shown})
    say(
        f"{family}: learned from {aligned.n_earlier} thumbs. On {aligned.n_later} later ones a liked answer scores"
        f" above a disliked one {aligned.area:.2f} of the times (95 % interval {aligned.low:.2f} to {aligned.high:.2f};"
        f" chance is .50). The answer's length alone reaches {aligned.length_area:.2f}."
    )
    if not dry_run:
        say(
            f"Written to {shown}. Undo: delete it. Next: scorer: {{aligned: {{weight: 1.0, predictor: {shown}}}}} in"
            f" the family's file, then detent study run {family} --dry-run."
        )


app.command("create")(create)
app.command()(evaluate)
app.command()(schedule)
app.command()(worth)


@app.command("list")
def list_families(as_json: Json = False) -> None:
    """Every family: what serves, what the file says, how many examples.

    Example: detent family list
    """
    from optimizer.jobs.scheduling.read_families import read_families

    session = Session()
    columns = {
        "family": "Family",
        "champion": "Champion",
        "file": "File",
        "rollout": "Rollout",
        "n_train": "Train",
        "n_dev": "Dev",
        "n_holdout": "Holdout",
    }
    where = f"No families in {session.settings.families_dir}." if chosen_server() is None else "No families there."
    session.show_page(
        as_json,
        read_families,
        columns,
        rows=lambda page: [
            {
                **members_of(item),
                "family": item.name,
                "champion": item.champion.variant if item.champion is not None else None,
                "file": _file_state(item),
                "rollout": f"{item.rollout.id} ({item.rollout.status})" if item.rollout is not None else None,
            }
            for item in page.items
        ],
        empty=f"{where} Make one: detent family create NAME --from prompt.txt --examples sheet.csv",
    )


def _file_state(family: FamilySummary) -> str:
    champion, file = family.champion, family.file
    if family.degraded:
        return "faulty, last good version serves" if champion is not None else "faulty"
    if file is None:
        return "policy only" if champion is not None else "serves nothing yet"
    return f"version {file.version}" + ("" if file.state == "served" else f" ({file.variant}) {file.state}")


@app.command("show")
def show_family(family: FamilyName, as_json: Json = False) -> None:
    """One family: its file, its champion, its examples.

    Also what a study that starts by itself may spend; where its schedule is on, what each trigger says now and what
    would keep it from starting.
    """
    from optimizer.core.family.family import kind_of
    from optimizer.jobs.scheduling.read_families import read_family, read_triggers

    session = Session()
    summary = session.ask(read_family, family=family)
    # None to who may read no texts, and of a file that never could be read.
    declared: Family | None = summary.definition
    name = declared.name if declared is not None else summary.name  # its present one, where a former one was asked for

    def view(out: Any) -> None:
        before, since = ", ".join(summary.former_names), summary.renamed_at
        print_facts(
            out,
            ("Family", f"{name}: {shown(summary.description)}", "bold"),
            ("Renamed", f"{before} before, {name} since {when(since)}" if before and since is not None else None),
            ("Champion", summary.champion.variant if summary.champion else "none yet"),
            ("File", _file_state(summary)),
        )
        if declared is not None:
            print_facts(
                out,
                ("Inputs", ", ".join(declared.inputs)),
                ("Output", f"{declared.output.field} ({declared.output.parser})"),
                ("Model", declared.model.default if kind_of(declared).asks_models else None),
                ("Scorer", _scorer_text(declared)),
                ("Outcome", ", ".join(f"{signal} {weight:g}" for signal, weight in declared.outcome.items()) or None),
            )
        print_facts(
            out,
            ("Examples", f"{summary.n_train} train, {summary.n_dev} dev, {summary.n_holdout} holdout"),
            ("Suites", ", ".join(summary.suites) or None),
        )
        if declared is not None:
            for line in trigger_lines(declared, session.ask(read_triggers, family=family)):
                out.print(line, markup=False)
        print_facts(out, ("Next", _next_command(session, name, summary)))

    show_report(as_json, read_family, summary, view)
    if summary.degraded:
        why = summary.problem["detail"] if summary.problem is not None else ""
        say(f"The file as it stands cannot be used; its last good version serves.\n{why}", "yellow")


def _scorer_text(family: Family) -> str:
    """Each metric with its weight and, where the file gives it any, its parameters."""
    from optimizer.core.base.canonical import canonical_json

    def metric_text(name: str, weight: float) -> str:
        values = family.metric_parameters.get(name, {})
        parameters = ", ".join(f"{key} {canonical_json(value).decode()}" for key, value in values.items())
        return f"{name} {weight:g}" + (f" ({parameters})" if parameters else "")

    return ", ".join(metric_text(name, weight) for name, weight in family.metrics.items())


def _next_command(session: Session, name: str, family: FamilySummary) -> str:
    """A search's dry run, or the import of examples where a search would be refused for want of them."""
    from optimizer.jobs.dataset.build_dataset import MIN_DEV

    if family.n_dev >= MIN_DEV:
        return f"detent study run {name} --dry-run"
    if chosen_server() is None and not (family.n_train or family.n_dev or family.n_holdout):
        examples = Folders.of_home(session.settings).where(name) / "examples.jsonl"
        if examples.is_file():
            return f"detent import {shlex.quote(os.path.relpath(examples))} --family {name} --curated"
    return f"detent import FILE --family {name}"


def trigger_lines(family: Family, report: TriggerReport) -> list[str]:
    """When a study starts by itself, what it may spend, what each trigger says now, and what would hold it back."""
    from optimizer.core.scheduling.triggers import sentences

    budget = family.budget
    caps = [
        f"${budget.usd:g}",
        *([f"{budget.calls:,} calls"] if budget.calls else []),
        *([f"{budget.minutes:g} minutes"] if budget.minutes else []),
    ]
    month = (
        f"; all its studies and judge runs at most ${budget.usd_per_month:g} a month"
        if budget.usd_per_month is not None
        else ""
    )
    lines = [f"By itself a study may spend {', '.join(caps)}{month}"]
    lines.append(f"Schedule  {report.schedule.text}")
    if not report.schedule.on:
        return lines
    lines += [f"          {line}" for line in sentences(report.looks)]
    if report.held is not None:
        lines.append(f"          none starts now: {shown(report.held.reason)}")
    return lines


@app.command()
def validate(
    family: Annotated[str | None, typer.Argument(help="Name of the family; default: all.")] = None,
    as_json: Json = False,
) -> None:
    """Check family files: every fault with file, line, what, why and what to do.

    Exit 2 where there is one. The files are this home's, so it takes no `--server`: `detent family list` shows which
    families of a server have a faulty file.

    Example: detent family validate triage
    """
    from optimizer.jobs.families.check_models import unknown_models

    session = Session()
    files = session.families
    names = [family] if family is not None else sorted(files.families.keys() | files.problems.keys())
    if family is not None and family not in files.problems:
        session.family(family)
    problems = {name: files.problems[name] for name in names if name in files.problems}
    catalogue = wiring.open_models(session.settings)
    unknown = {name: unknown_models(files.families[name], catalogue) for name in names if name not in problems}
    problems |= {name: fault for name, fault in unknown.items() if fault is not None}
    faults = [
        {"family": name, **row} for name, problem in problems.items() for row in problem.members.get("errors", ())
    ]
    show(as_json, {"valid": not problems, "families": names, "errors": faults})
    for problem in problems.values():
        say(problem.detail, "red")
    if problems:
        raise typer.Exit(2)
    say(f"{', '.join(names) or 'No family'}: {'valid' if names else 'nothing to check'}.")
    for line in _edits(session, names):
        say(line)


def _edits(session: Session, names: list[str]) -> list[str]:
    """What the files say that has never served, with the next command, and labels of examples that they do not name;
    nothing where no store can be read, since validating makes none.
    """
    from optimizer.core.base.errors import Busy
    from optimizer.jobs.families.read_edit import labels_not_named, read_edit

    store = wiring.open_store(session.settings)
    try:
        with store.read() as tx:
            families = [session.families.families[name] for name in names]
            edits = [edit.text for family in families if (edit := read_edit(tx, store, family)) is not None]
            labels = [labels_not_named(tx, store, family) for family in families]
    except Busy:
        return []
    finally:
        store.close()
    return [*edits, *(line for line in labels if line is not None)]


@app.command()
def adopt(
    family: FamilyName,
    confirm: Annotated[str | None, typer.Option(help="The family's name.")] = None,
    reason: Reason = None,
    no_holdback: Annotated[
        bool, typer.Option("--no-holdback", help="Serve it to every user: no 5 % keep the champion before for a week.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve the file's current version at once, without a rollout; recorded as forced.

    Refused where config/models.yaml, or the running server, does not know a model that it asks. For a week 5 % of the
    users stay on the champion before, where its outcomes are known, and an alert tells if the new one does worse.

    Example: detent family adopt triage --confirm triage
    """
    from optimizer.jobs.rollouts.adopt_file_version import adopt_file_version

    Session().change(
        as_json,
        adopt_file_version,
        family=family,
        confirm=confirm,
        reason=reason or "",
        holdback=not no_holdback,
    )


Confirm = Annotated[str | None, typer.Option(help="The family's name.")]


@app.command()
def delete(
    family: FamilyName,
    forget: Annotated[bool, typer.Option("--forget", help="Its texts too, for good.")] = False,
    confirm: Confirm = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Take a family out of use: it serves no more, its name is free, its folder goes to var/retired.

    Decisions, and which inputs are sealed and how often they were looked at, stay; so do all texts without --forget.

    What the store has of it goes on under a name of its own, such as triage~1. A new family of the name begins without
    any of it; what was sealed for the name stays sealed. Refused while a rollout, study, judge run or
    comparison is under way.

    With --forget (role admin) examples, events, reviews, variants, texts of calls and the folder are deleted for good;
    sums, decisions and seals stay. Without it: undo by `detent family restore`.

    Example: detent family delete triage --confirm triage
    """
    from optimizer.jobs.families.retire_family import retire_family

    Session().change(as_json, retire_family, family=family, forget=forget, reason=reason or "", confirm=confirm)


@app.command()
def restore(family: FamilyName, reason: Reason = None, as_json: Json = False) -> None:
    """Bring back the family that was last retired under this name, with its folder and its champion.

    Or the one named, such as triage~1. Its schedule stays off. Refused where a new family has the name, and after
    --forget.

    Example: detent family restore triage
    """
    from optimizer.jobs.families.retire_family import restore_family

    Session().change(as_json, restore_family, family=family, reason=reason or "")


@app.command()
def rename(
    family: FamilyName,
    name: Annotated[str, typer.Argument(help="Its name from now on.", show_default=False)],
    confirm: Confirm = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Give a family, its folder and its file another name; the old name still leads to it.

    Tokens, events, prompts, chats and keys of the old name are those of the new one, and the old one is no name for
    another family. Refused while a rollout, study, judge run or comparison is under way. Undo: rename it back.

    Example: detent family rename triage tickets --confirm triage
    """
    from optimizer.jobs.families.rename_family import rename_family

    Session().change(as_json, rename_family, family=family, name=name, reason=reason or "", confirm=confirm)
