"""``detent family create``: a family from a prompt and a sheet,
with a question where the two can be read in two ways.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.output import FamilyName, Json, say, show, tell_change
from optimizer.cli.session import Session
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.phrasing import count, printable
from optimizer.runtime import wiring

if TYPE_CHECKING:
    from optimizer.core.declaration.draft import FamilyDraft, NewFamily, Sheet
    from optimizer.core.declaration.foreign_prompt import ForeignPrompt
    from optimizer.core.family.family import Family
    from optimizer.jobs.dataset.import_examples import ImportReport
    from optimizer.jobs.families.create_family import CreatedFamily

N_SHOWN = 5

From = Annotated[
    str,
    typer.Option(
        "--from",
        help="A text file with {{name}} placeholders, or a prompt elsewhere: dspy:program.json,"
        " promptfoo:config.yaml, tensorzero:PATH, mlflow:NAME@alias, langfuse:NAME. A folder: the files of a content"
        " pipeline.",
        show_default=False,
    ),
]
Examples = Annotated[
    Path | None,
    typer.Option(
        help="A CSV file, or JSON lines of examples; none where they come along with the prompt.", show_default=False
    ),
]
Judge = Annotated[
    str | None,
    typer.Option(
        help="A name from config/models.yaml: this model scores the answers, and no column of outputs is needed.",
        show_default=False,
    ),
]
Delimiter = Annotated[
    str | None, typer.Option(help="Of the CSV: one character or tab; default: told by its first line.")
]
Parser = Annotated[
    str | None, typer.Option(help="text, label, json, list or that of a package; default: told by the examples.")
]
FString = Annotated[
    bool | None,
    typer.Option("--f-string/--no-f-string", help="Whether {name} is a placeholder.", show_default=False),
]
KeepLabels = Annotated[bool, typer.Option("--keep-labels", help="Labels that look like a slip of another are meant.")]
Merges = Annotated[list[str] | None, typer.Option(help="Label that is a slip of another: SLIP=LABEL; may be repeated.")]


def create(
    family: FamilyName,
    prompt: From,
    examples: Examples = None,
    input: Annotated[list[str] | None, typer.Option(help="Input: a column, or FIELD=COLUMN; may be repeated.")] = None,
    output: Annotated[str | None, typer.Option(help="Output: a column, or FIELD=COLUMN.")] = None,
    parser: Parser = None,
    model: Annotated[str, typer.Option(help="A name from config/models.yaml.")] = "embedded",
    judge: Judge = None,
    description: Annotated[str, typer.Option(help="One sentence.")] = "",
    f_string: FString = None,
    merge: Merges = None,
    keep_labels: KeepLabels = False,
    encoding: Annotated[str | None, typer.Option(help="Of the CSV; default: UTF-8, or its byte order mark.")] = None,
    delimiter: Delimiter = None,
    as_json: Json = False,
) -> None:
    """Make a family from a prompt and examples: families/NAME/family.yaml and examples.jsonl, imported at once.

    The prompt has placeholders such as {{text}}; paragraphs before the first become the system message. A placeholder
    takes the column of its name. The parser is told by the answers: few short ones that repeat are labels.

    What can be read in two ways ({name} as in Python, labels that look like slips of one another) is asked on a
    terminal, and refused elsewhere with the option that decides. Undo: `detent family delete`.

    Examples:
      detent family create triage --from prompt.txt --examples tickets.csv --input text=Body --output
    topic=Category
      detent family create triage --from dspy:program.json
      detent family create triage --from tensorzero:config#triage/baseline --examples tickets.csv
      detent family create content_pipeline --from pipeline/config
    """
    if Path(prompt).is_dir():
        _create_pipeline(family, Path(prompt), examples, as_json)
        return
    from optimizer.core.declaration.draft import FamilyDraft
    from optimizer.jobs.families.create_family import create_family, read_prompt

    session = Session()
    models = wiring.open_models(session.settings)
    for name in filter(None, (model, judge)):
        models.describe(name)  # an unknown name is better said before anything is written
    foreign = _foreign(prompt)
    sheet = _sheet_of(prompt, foreign, examples, encoding=encoding, delimiter=delimiter)
    if examples is None:
        output = output or (foreign.output if foreign is not None else None)
    elif foreign is not None and foreign.rows:
        left = f"{count(len(foreign.rows), 'example')} of {prompt}, since --examples names others"
        foreign = replace(foreign, not_carried=[*foreign.not_carried, left])
    today = session.clock.now().date()
    session.refuse_former_name(family)
    draft = FamilyDraft(
        name=family,
        prompt=foreign.text if foreign is not None else read_prompt(Path(prompt)),
        columns=sheet.columns,
        rows=[row for _, row in sheet.rows],
        inputs=tuple(input or ()),
        output=output,
        parser=parser,
        model=model,
        judge=judge,
        description=description or (foreign.description if foreign is not None else ""),
        f_string=f_string if foreign is None else False,
        merge=_merges(merge or []),
        messages=foreign.messages if foreign is not None else (),
        settings=foreign.model if foreign is not None else {},
    )
    if sys.stdin.isatty() and not as_json:
        draft = _ask_owner(draft, today, keep_labels=keep_labels)
        keep_labels = True  # the slips among them have been merged
    session.before_change()
    new_family = create_family(
        draft,
        families_dir=session.settings.families_dir,
        today=today,
        check=(lambda new: None) if keep_labels else _refuse_slips,
    )
    _take_in(session, draft, new_family, sheet, foreign, as_json=as_json)


def _take_in(
    session: Session,
    draft: FamilyDraft,
    new_family: CreatedFamily,
    sheet: Sheet,
    foreign: ForeignPrompt | None,
    *,
    as_json: bool,
) -> None:
    """Serves the written family, imports its examples, and says what became of both."""
    family, files = draft.name, [new_family.family_file, new_family.examples_file]
    session.families.load()
    declared = session.family(family)
    wiring.sync_families(session.settings, session.families, session.store, session.clock)
    report = session.import_curated(new_family.examples_file, declared)
    labels = dict(new_family.content.labels)
    not_carried = list(foreign.not_carried) if foreign is not None else []
    show(as_json, {"family": family, "files": files, "import": report, "labels": labels, "not_carried": not_carried})
    lines = []
    if sheet.refused:
        shown = "; ".join(f"{where}: {why}" for where, why in sheet.refused[:N_SHOWN])
        lines.append(
            f"Could not be read: {count(len(sheet.refused), 'row')}"
            f" ({shown}{', ...' if len(sheet.refused) > N_SHOWN else ''})."
        )
    if new_family.content.skipped:
        places = [sheet.rows[n][0] for n in new_family.content.skipped]
        more = ", ..." if len(places) > N_SHOWN else ""
        lines.append(
            f"Left out: {count(len(places), 'row')} without an input or an answer"
            f" ({', '.join(places[:N_SHOWN])}{more})."
        )
    for sentence in (
        *(f"Not carried over: {name}." for name in not_carried),
        *lines,
        *_of_labels(new_family.content, draft.prompt),
        *filter(None, [new_family.content.why_cut]),
        *report.sentences(),
        *_from_before(session, report),
    ):
        say(sentence)
    # Says who judges, what starts by itself, what serves now, and what comes next.
    from optimizer.core.scheduling.schedule import in_force

    store = session.store
    if draft.judge == draft.model:
        say(
            f"{draft.judge} judges its own answers, and a model may prefer these (self-preference); detent judge check"
            " cannot measure that while no other model answers. Name another one as judge.model in the file."
        )
    with store.read() as tx:  # off, unless the store has a switch of a family of this name
        schedule = in_force(declared, store.schedules.get(tx, family))
    say(f"Studies of {family}: {schedule.text}.")
    serves, then = _what_serves(session, declared)
    tell_change(
        f"{family}: made {' and '.join(map(str, files))}; {serves}.",
        why="",
        undo=f"detent family delete {family} --confirm {family}",
        then=then,
    )


def _foreign(prompt: str) -> ForeignPrompt | None:
    """What ``--from SYSTEM:…`` names; None for the path of a text."""
    from optimizer.core.declaration.foreign_prompt import PROMPT_SOURCES

    name, colon, reference = prompt.partition(":")
    if not colon or name not in PROMPT_SOURCES.built_in or Path(prompt).exists():
        return None
    return PROMPT_SOURCES[name].read(reference)


def _sheet_of(
    prompt: str, foreign: ForeignPrompt | None, examples: Path | None, *, encoding: str | None, delimiter: str | None
) -> Sheet:
    """The examples of a file, else those that came along with the prompt."""
    from optimizer.adapters.files.sources import read_sheet
    from optimizer.core.declaration.draft import Sheet

    if examples is not None:
        return read_sheet(examples, encoding=encoding, delimiter=delimiter)
    if foreign is None or not foreign.rows:
        raise InvalidInput(f"{prompt} brings no examples along; name a sheet of them: --examples FILE.")
    return Sheet(
        columns=list(dict.fromkeys(name for row in foreign.rows for name in row)),
        rows=[(f"example {n}", row) for n, row in enumerate(foreign.rows, start=1)],
    )


def _ask_owner(draft: FamilyDraft, today: Any, *, keep_labels: bool) -> FamilyDraft:
    """On a terminal: what can be read in two ways is asked before anything is written."""
    from optimizer.core.declaration.draft import draft_family, one_brace_columns

    if draft.f_string is None and (names := one_brace_columns(draft)):
        shown = ", ".join(f"{{{name}}}" for name in names)
        draft = replace(
            draft,
            f_string=typer.confirm(
                printable(f"The prompt says {shown}, like a column of the sheet. Is it a placeholder?"), default=True
            ),
        )
    if keep_labels:
        return draft
    merge = dict(draft.merge)
    for pair in draft_family(draft, today=today).look_alikes:
        if typer.confirm(printable(f"The label {pair.text}. Take it for {pair.common!r}?"), default=False):
            merge[pair.rare] = merge.get(pair.common, pair.common)
    return replace(draft, merge=merge)


def _refuse_slips(new: NewFamily) -> None:
    """Refuses likely slips where no person can be asked: an example keeps its label for good once it is taken."""
    pairs = new.look_alikes
    if pairs:
        merges = " ".join(f"--merge '{pair.rare}={pair.common}'" for pair in pairs)
        keep = "" if any(pair.same for pair in pairs) else "no, they are meant: --keep-labels; "
        raise InvalidInput(
            f"Cannot make family {new.data['name']!r}: {'; '.join(pair.text for pair in pairs)}. Are these slips? Yes:"
            f" {merges}; {keep}or correct the sheet. Nothing was written."
        )


def _merges(pairs: list[str]) -> dict[str, str]:
    merge = {}
    for pair in pairs:
        slip, equals, label = pair.partition("=")
        if not equals or not slip.strip() or not label.strip():
            raise InvalidInput(f"--merge {pair} is not SLIP=LABEL, such as --merge crad=card.")
        merge[slip.strip()] = label.strip()
    return merge


def _of_labels(new: NewFamily, prompt: str) -> list[str]:
    from optimizer.core.dataset.labels import counts_text, labels_in_prompt

    if not new.labels:
        return []
    named, lines = labels_in_prompt(prompt, new.labels), [f"Labels, with their rows: {counts_text(new.labels)}."]
    if named.unnamed:
        missing = "any label" if len(named.unnamed) == len(new.labels) else ", ".join(map(repr, named.unnamed))
        lines.append(f"The prompt does not name {missing}; a model can learn of it from examples only.")
    for label, text in named.spelled.items():
        lines.append(
            f"The prompt writes {text!r}, the sheet {label!r}: only what is written as in the sheet is read, so correct"
            " one of the two."
        )
    if named.unknown:
        lines.append(
            f"The prompt names {', '.join(map(repr, named.unknown))}, and no row has it: such an answer cannot be read"
            " until output.labels in the file lists it."
        )
    return lines


def _from_before(session: Session, report: ImportReport) -> list[str]:
    """A name that the store knows keeps what it had: said, since the new folder's own files do not show it."""
    from optimizer.jobs.dataset.import_examples import CONFLICT

    name, lines = report.family, list[str]()
    n = report.reasons.get(CONFLICT, 0)
    if n:
        rows = f"{count(n, 'row')} {'is' if n == 1 else 'are'}"
        lines.append(
            f"{rows} in the store with another answer or id, from a family of this name whose folder is gone. To begin"
            f" without its rows: detent family delete {name} --confirm {name}, and create it again."
        )
    with session.store.read() as tx:
        n_sealed = session.store.family_names.n_sealed(tx, name)
    if n_sealed:
        lines.append(
            f"A family that had this name was retired. Nothing of it is used again, but {count(n_sealed, 'input')} of"
            f" its holdout {'stays' if n_sealed == 1 else 'stay'} sealed, and looks at them count on."
        )
    return lines


def _what_serves(session: Session, declared: Family) -> tuple[str, str]:
    """What users get now, and the next command: a store that knows a family of this name keeps its champion."""
    from optimizer.jobs.families.check_models import named_models

    store, name = session.store, declared.name
    with store.read() as tx:
        champion = store.champions.current(tx, name)
    if champion is not None and champion.variant != declared.variant().id:
        return (
            (
                f"its prompt does NOT serve: the store has a champion of {name} from before, {champion.variant}, and"
                " that one serves"
            ),
            f"to serve this file's prompt: detent family adopt {name} --confirm {name}",
        )
    loaded = wiring.loaded_models(session.settings, models := {name for _, name in named_models(declared)})
    serves = "its prompt serves once `detent serve` runs"
    if session.server is not None:
        serves = "its prompt serves within a second"
        if unknown := sorted(models - (loaded or {}).keys()):
            serves += (
                f"; chat does not answer yet, since the running server does not know {', '.join(unknown)}"
                " (var/logs/gateway.log says why)"
            )
    return serves, f"read the file, then: detent study run {name} --dry-run"


def _create_pipeline(family: str, folder: Path, examples: Path | None, as_json: bool) -> None:
    """Of the files that a content pipeline has: its policy is the first champion.

    Its monitoring.yaml becomes that of this home where there is none.
    """
    from optimizer.content.jobs.create_pipeline_family import ADOPTED, create_pipeline_family
    from optimizer.host.yaml_files import load_file
    from optimizer.jobs.families.shipped_files import SHIPPED

    if examples is not None:
        raise InvalidInput(
            f"{folder} is a folder of a content pipeline's files, which come without examples. Import recorded items"
            f" afterwards: detent import {examples} --family {family}."
        )
    session = Session()
    files = wiring.read_pipeline_files(folder)
    session.refuse_former_name(family)
    session.before_change()
    written = create_pipeline_family(
        family,
        files,
        shipped=load_file(SHIPPED / "content_pipeline" / "family.yaml", "Install Detent again."),
        families_dir=session.settings.families_dir,
        today=session.clock.now().date(),
        source=str(folder),
    )
    levels, here = folder / "monitoring.yaml", session.settings.monitoring_file
    is_copied = levels.is_file() and not here.exists()
    if is_copied:
        here.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(levels, here)
    session.families.load()
    wiring.sync_families(session.settings, session.families, session.store, session.clock)
    session.family(family)
    paths = [written, *([here] if is_copied else [])]
    beside = files.without_knob
    family_facts = {"family": family, "files": paths, "policy": dict(files.policy)}
    left_out = {"n_not_carried": sum(map(len, beside.values())), "not_carried": beside, "idle_files": files.idle}
    show(as_json, {**family_facts, **left_out})
    for name, keys in beside.items():
        say(f"{name}: {count(len(keys), 'key')} without a knob, not taken over: {', '.join(keys)}.")
    for name in files.idle:
        say(f"Nothing of {name} decides anything. Do its keys stand a level too deep?", "yellow")
    if levels.is_file() and not is_copied:
        say(f"This home has its own {here}; that of {folder} is not taken over.")
    tell_change(
        f"{family}: made {' and '.join(map(str, paths))}; version {ADOPTED} serves, with"
        f" {count(len(files.policy), 'knob')} of {folder}.",
        why="",
        undo=f"detent family delete {family} --confirm {family}",
        then=f"detent thresholds compare {family} --conservative {ADOPTED} --aggressive balanced",
    )
