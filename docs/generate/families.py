"""docs/reference/families, from the files of the families that come with Detent."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from docs.generate.markdown import REFERENCE, linked, page, sentence, table
from optimizer.adapters.files.family_files import FamilyFiles
from optimizer.core.family.family import Family
from optimizer.jobs.families.shipped_files import SHIPPED

INDEX = """
Each is a folder under `families/`: a task with base prompts for small, medium and large models, a score, a schedule, a
search space, examples and [golden scenarios](../../how-to/keep-golden-scenarios.md). They serve as they are, and are a
start for your own: import your examples, search, roll out. Remove a folder to be rid of one. A project made by `detent
init` begins without them; this copies one into `families/` and imports its examples:

    detent family add summarization
"""
AFTER = """
Eight of them, from extraction to question reformulation, make up [an application that answers from a knowledge
graph](../../../examples/graph_rag/README.md), also [in LightRAG](../../how-to/serve-lightrag-from-families.md). A study
by schedule begins only [once a person has switched that on](../../explanation/what-runs-by-itself.md). [What studies of
them gain](../families-measured.md) is measured on public data. A rollout asks first that no golden scenario is lost,
and that your application [reports its requests](../../how-to/report-interactions.md).

Beside them `content_pipeline` holds the thresholds of a [content pipeline](../content-pipeline.md). The families of
`make demo` stand apart, under `demo/families/`.
"""
END = """
`examples.jsonl` and `golden.jsonl` were written for this family and are marked `curated`. They show what the task is
and let a first search run; they leave few examples for the sealed comparison, so import your own as well.

{commands}

The [file](../../../families/{name}/family.yaml) has the prompts; [family.yaml](../family.md) says what each key means,
[metrics](../scorers.md) what each score measures, and [families measured](../families-measured.md) how far a study got.
"""


def families() -> dict[Path, str]:
    files = FamilyFiles(SHIPPED)
    files.load()
    prompts = {name: family for name, family in files.families.items() if (SHIPPED / name / "golden.jsonl").exists()}
    rows = [
        (f"[{name}]({name}.md)", sentence(family.description), _often(family))
        for name, family in sorted(prompts.items())
    ]
    index = page("# The families that come with Detent", INDEX, table(("Family", "Task", "Study"), rows), AFTER)
    folder = REFERENCE / "families"
    return {folder / "README.md": index, **{folder / f"{name}.md": _page(one) for name, one in prompts.items()}}


def _page(family: Family) -> str:
    name, schedule = family.name, family.schedule
    inputs = [
        f"`{one}` ({field.type}" + (f", cut to {field.max_chars:,} characters)" if field.max_chars else ")")
        for one, field in family.inputs.items()
    ]
    score = [f"`{one}` {use if isinstance(use, int | float) else use.weight:g}" for one, use in family.scorer.items()]
    rows = [
        ("Inputs", ", ".join(inputs)),
        ("Output", f"`{family.output.field}`, read as {family.output.parser}"),
        ("Score", ", ".join(score)),
        ("Searched", ", ".join(f"`{knob}`" for knob in family.space)),
        ("Study by schedule", f"{_often(family)} (`{schedule.cron}`, UTC), strategy `{schedule.strategy}`"),
        ("Examples", f"{_lines(name, 'examples')}, and {_lines(name, 'golden')} golden scenarios"),
    ]
    commands = (
        f"    detent import families/{name}/examples.jsonl --family {name} --curated\n"
        f"    detent family evaluate {name}\n"
        f"    detent study run {name} --strategy {schedule.strategy} --dry-run"
    )
    title = name.replace("_", " ").capitalize()
    # What the comment at the head of the file says of the task, behind its first line.
    lines = (SHIPPED / name / "family.yaml").read_text(encoding="utf-8").splitlines()
    comment = [line.removeprefix("#").removeprefix(" ") for line in takewhile(lambda one: one.startswith("#"), lines)]
    return page(
        f"# {title}",
        sentence(family.description),
        table(("", ""), rows),
        linked("\n".join(comment[1:]), "../"),
        END.format(commands=commands, name=name),
    )


def _often(family: Family) -> str:
    """How often a study by schedule begins, by the fields of its cron."""
    _, _, day, _, weekday = (family.schedule.cron or "").split()
    return "monthly" if day != "*" else "weekly" if weekday != "*" else "daily"


def _lines(name: str, file: str) -> int:
    return len((SHIPPED / name / f"{file}.jsonl").read_text(encoding="utf-8").splitlines())
