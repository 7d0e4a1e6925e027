"""The pages: each relative link leads somewhere, each command that they show exists with its options,
each page is reached from the front door, and a generated page is what the code makes of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from pages import too_long

from docs.generate.markdown import MARK
from docs.generate.pages import pages
from optimizer.cli.app import app
from optimizer.core.base.phrasing import did_you_mean

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "mlflow").glob("*.md")])
PAST = ("CHANGELOG.md", "docs/adr")  # say what was so when they were written
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|^\$ |`|^ {4}|&& )detent ([a-z][^`#\n]*)", re.MULTILINE)
GENERATED = [page for page in PAGES if page.read_text(encoding="utf-8").startswith(MARK)]
SOURCES = ("optimizer", "api", "client", "bench", "tests", "docs", "deploy", "examples")
PYTHON_FILE = re.compile(r"(?<![\w./*{<-])([\w/]+\.py)\b")
OWN_FILES = {  # which the how-to pages let a reader write
    "detent_openings.py",
    "detent_terse.py",
    "optimizer/cli/override.py",
    "optimizer/core/evaluation/metrics/first_word.py",
    "optimizer/jobs/rollouts/end_override.py",
}
WHICH = re.compile(r"--[a-z][a-z-]*")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, without punctuation, spaces as hyphens."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Relative ones: the file that is meant, and the heading in it or nothing."""
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", link):
            path, _, heading = link.partition("#")
            yield (page.parent / path).resolve() if path else page, heading


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_each_relative_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    broken = [
        f"{file.name}#{heading}"
        for file, heading in links(page)
        if not file.exists() or (heading and file.suffix == ".md" and heading not in anchors(file))
    ]
    assert broken == []


def test_each_page_is_reached_from_the_front_door() -> None:
    door = ROOT / "docs" / "index.md"
    reached, waiting = {door}, [door]
    while waiting:
        found = {file for file, _ in links(waiting.pop()) if file.suffix == ".md" and file.exists()} - reached
        reached |= found
        waiting += found
    assert [named(page) for page in (ROOT / "docs").rglob("*.md") if page not in reached] == []


@cache
def commands() -> dict[str, set[str]]:
    """Every command of the command line with its options."""

    def walk(command: object, name: tuple[str, ...]) -> Iterator[tuple[str, set[str]]]:
        params = getattr(command, "params", ())
        yield (
            " ".join(name),
            {option for param in params for option in (*param.opts, *param.secondary_opts)} | {"--help"},
        )
        for word, under in getattr(command, "commands", {}).items():
            yield from walk(under, (*name, word))

    return dict(walk(typer.main.get_command(app), ()))


@cache
def commands_with_verbs() -> set[str]:
    return {name for name in commands() if any(other.startswith(f"{name} ") for other in commands())}


def misnamed(line: str) -> str | None:
    """What of ``NOUN VERB ...`` does not exist."""
    words, groups = line.split(), commands_with_verbs()
    noun = words[0].split("|")[0].rstrip(".,;:)")
    if noun not in commands():
        return f"detent {noun}{did_you_mean(noun, commands())}"
    if noun not in groups or len(words) < 2 or not re.fullmatch(r"[a-z]+(\|[a-z]+)*[.,;:)]?", words[1]):
        return _unknown_option(noun, line)
    verbs = [f"{noun} {verb}" for verb in words[1].rstrip(".,;:)").split("|")]
    missing = [verb for verb in verbs if verb not in commands()]
    return f"detent {missing[0]}" if missing else _unknown_option(verbs[0], line)


def _unknown_option(name: str, line: str) -> str | None:
    unknown = [option for option in WHICH.findall(line.split(" detent ")[0]) if option not in commands()[name]]
    return f"detent {name} {unknown[0]}" if unknown else None


@pytest.mark.parametrize("page", [p for p in PAGES if not named(p).startswith(PAST)], ids=named)
def test_each_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    shown = COMMAND.findall(page.read_text(encoding="utf-8"))
    assert [wrong for line in shown if (wrong := misnamed(line)) is not None] == []


def test_a_command_that_does_not_exist_would_be_found() -> None:
    assert misnamed("rollout status F") is None
    assert misnamed("rollout begin F") == "detent rollout begin"
    assert misnamed("rollut status") == "detent rollut; did you mean 'rollout'?"
    assert misnamed("study run F --budget-euro 3") == "detent study run --budget-euro"


def test_troubleshooting_has_a_line_for_each_check_of_the_doctor() -> None:
    page = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    named_there = set(re.findall(r"^\| `([a-z ]+)` \|", page, re.MULTILINE))
    checks = {
        name
        for file in (ROOT / "optimizer" / "cli" / "doctor").glob("*.py")
        for name in re.findall(r'check="([a-z ]+)"', file.read_text())
    }
    assert {"python", "open alert"} <= checks, "the names are found where the checks are made"
    assert checks <= named_there


@pytest.mark.parametrize(
    "name",
    ["index", "reference/family", "reference/cli", "reference/rest", "reference/rollout", "how-to/troubleshooting"],
)
def test_a_cell_of_a_table_holds_a_sentence_or_two_and_no_paragraph(name: str) -> None:
    rows = [
        line for line in (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")
    ]
    cells = [re.sub(r"\]\([^)]*\)", "]", cell).strip() for row in rows for cell in row.split(" | ")]
    assert [cell for cell in cells if len(cell) > 220] == []


def test_each_python_file_that_a_page_docstring_or_comment_names_exists() -> None:
    """A page may name a reader's own file after ``OWN_FILES``; a record of the past names what was there then."""
    files = [file for room in SOURCES for file in (ROOT / room).rglob("*.py")]
    ends = {"/".join(parts[i:]) for file in files if (parts := file.relative_to(ROOT).parts) for i in range(len(parts))}
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES if not named(page).startswith(PAST)}
    unknown = [
        f"{named(file)}: {name}"
        for file, text in [*texts.items(), *((file, in_words(file)) for file in files)]
        for name in PYTHON_FILE.findall(text)
        if name not in ends | OWN_FILES
    ]
    assert unknown == []


def in_words(file: Path) -> str:
    """Docstrings and comments; what is quoted elsewhere may be any name."""
    text = file.read_text(encoding="utf-8")
    return "\n".join(re.findall(r'(?s:""".*?""")|# .*', text)) if ".py" in text else ""


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_prose_stands_in_lines_of_120_columns(page: Path) -> None:
    assert too_long(page.read_text(encoding="utf-8")) == []


@cache
def made() -> dict[Path, str]:
    """Not at import: it takes seconds, and each process of a run imports this."""
    return pages()


@pytest.mark.parametrize("page", GENERATED, ids=named)
def test_a_generated_page_is_what_the_code_makes_of_it(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == made()[page], (
        f"{named(page)} is not what the code says: run `make pages`"
    )


def test_a_page_that_says_it_is_generated_is_one_of_them() -> None:
    assert set(GENERATED) == set(made())
