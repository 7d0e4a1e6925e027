"""docs/notebooks/study.ipynb, run from top to bottom in a project of its own: every cell shows what the file shows.

The model is scripted (right as soon as the prompt shows examples). DETENT_REFRESH_GOLDEN=1 writes the outputs anew, and
a person reads their diff.
"""

from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from detent_client import Detent
from detent_client.notebook import Refused
from detent_client.notebook.backend import OverHttp
from optimizer.host import run_files
from optimizer.host.run_files import RunningProcess
from optimizer.runtime.api_client import ApiClient
from tests import command_line
from tests.stand_ins.scripted_model import chat_answer, provider
from tests.worlds.api_world import Dated, make_home, serving

ROOT = Path(__file__).parents[3]
FILE = ROOT / "docs" / "notebooks" / "study.ipynb"
SHEET = [
    json.loads(line)
    for line in (ROOT / "optimizer/templates/families/support_topics/examples.jsonl").read_text().splitlines()
]
CHANGES = re.compile(  # from run to run: ids, times, what a clock measured, and how wide that is
    r"(?:st|ro)_\w+|\d{4}-\d\d-\d\dT[\d:.]+Z|(?<=</td><td>)\d+(?=</td><td>v_)|\b\d+(?=\s+v_)|"
    r"(?<=complete)(?:</td><td>|\s+)[\d.]+ ms|\b\d+\.\d+\b|[─\s]+"
)


def topic(body: dict[str, Any]) -> str:
    question = body["messages"][-1]["content"]
    if not any(message["role"] == "assistant" for message in body["messages"]):
        return "payment"
    known = (str(row["expected"]["topic"]) for row in SHEET if row["input"]["message"] in question)
    return next(known, "delivery" if "courier" in question else "payment")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which ``detent init topics`` was run, with a scripted model."""
    for name in [name for name in os.environ if name.startswith("DETENT_") and name != "DETENT_REFRESH_GOLDEN"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    assert command_line.detent("init", "topics").code == 0
    with provider() as model:
        model.answer = lambda body: (200, {}, json.dumps(chat_answer(topic(body))).encode())
        price = {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}
        entry = {"openai_compatible": model.url, "model": "m", "concurrency": 1, "price": price}
        (tmp_path / "topics/config/models.yaml").write_text(json.dumps({"embedded": {**entry, "max_output_tokens": 8}}))
        with in_a_process_of_its_own():
            yield tmp_path / "topics"


@contextmanager
def in_a_process_of_its_own() -> Iterator[None]:
    """Where nothing is logged to the terminal."""
    configured, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    structlog.reset_defaults()
    try:
        yield
    finally:
        structlog.configure(**configured)
        logging.getLogger().handlers[:] = handlers


def run(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Outputs of a cell, as the notebook's format has them."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    out, err = io.StringIO(), io.StringIO()
    value = None
    with redirect_stdout(out), redirect_stderr(err):
        exec(compile(tree, f"cell {number}", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
    bar = err.getvalue().rstrip("\n").rpartition("\r")[2]  # what a front end leaves of a line that moves
    told = {"stdout": out.getvalue(), "stderr": f"{bar}\n" if "study of" in bar else ""}
    outputs: list[dict[str, Any]] = [
        {"name": name, "output_type": "stream", "text": text.splitlines(True)} for name, text in told.items() if text
    ]
    if value is not None:
        data = {"text/plain": repr(value).splitlines(True)}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_().splitlines(True)
        outputs.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
    return outputs


def stable(outputs: list[dict[str, Any]]) -> list[str]:
    """What is the same in each run: of a bar that it was there."""
    texts = []
    for output in outputs:
        parts = output.get("data") or {output["name"]: "" if output["name"] == "stderr" else output["text"]}
        texts += [f"{kind}: {CHANGES.sub(' ', ''.join(text))}" for kind, text in parts.items()]
    return texts


def test_the_notebook_shows_what_its_cells_say(project: Path) -> None:
    notebook = json.loads(FILE.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    asyncio.run(run_cells(notebook, names))
    if os.environ.get("DETENT_REFRESH_GOLDEN") == "1":
        FILE.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert names["study"].outcome in ("nominated", "not_confirmed")


async def run_cells(notebook: dict[str, Any], names: dict[str, Any]) -> None:
    """Within a loop that runs already, as a notebook's kernel has one."""
    for number, cell in enumerate((cell for cell in notebook["cells"] if cell["cell_type"] == "code"), start=1):
        outputs = run("".join(cell["source"]), names, number)
        if os.environ.get("DETENT_REFRESH_GOLDEN") == "1":
            cell["outputs"], cell["execution_count"] = outputs, number
        assert stable(outputs) == stable(cell["outputs"])
        assert outputs or cell["source"] == []


def test_a_project_opened_here_says_what_its_server_says(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    with serving(settings) as world:
        over_http = Detent(OverHttp("http://localhost", None, Dated(world)))
        world.deploying()
        with in_a_process_of_its_own():
            here = Detent.open(tmp_path)
            triage, remote = here["triage"], over_http["triage"]
            assert repr(here.families()) == repr(over_http.families())
            assert triage.variants().to_dataframe().equals(remote.variants().to_dataframe())
            assert [variant.source for variant in triage.variants()] == ["file", "person"]
            assert triage.rollout().rollout.to_dict() == remote.rollout().rollout.to_dict()
            assert triage.forecast().verdict == remote.forecast().verdict
            for family in (triage, remote):
                with pytest.raises(Refused, match="budget") as refusal:
                    family.estimate(calls=-1)
                assert refusal.value.type in ("invalid-input", "validation-failed")
                with pytest.raises(Refused):
                    family.variant("v_000000000000")


@pytest.mark.parametrize("is_here", [True, False], ids=["in process", "over HTTP"])
def test_a_rollout_is_started_watched_and_rolled_back(tmp_path: Path, is_here: bool) -> None:
    with serving(make_home(tmp_path)) as world, in_a_process_of_its_own():
        world.report()
        detent = Detent.open(tmp_path) if is_here else Detent(OverHttp("http://localhost", None, Dated(world)))
        triage = detent["triage"]
        report = triage.import_examples([{"text": f"Invoice {n}?", "topic": "billing"} for n in range(3)])
        assert (report.n_read, report.n_accepted) == (3, 3)
        variant = triage.create_variant([{"role": "user", "content": "Billing? {{text}}"}], note="mine").variant
        with pytest.raises(Refused, match="confirm"):
            triage.start_rollout(variant)
        started = triage.start_rollout(variant, confirm="triage", reason="a try")
        triage.operate("approve", reason="go")
        assert triage.rollout().rollout.id == started.id
        assert triage.operate("rollback", reason="enough").changed
        assert not triage.rollout().is_active


def test_a_project_goes_on_without_the_server_beside_which_it_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETENT_API_KEY", "secret-boss")
    nobody = "http://127.0.0.1:9"
    ended = RunningProcess(name="api", pid=1, url=nobody, since=datetime.now(UTC))
    with serving(make_home(tmp_path)), in_a_process_of_its_own():
        project = Detent.open(tmp_path)
        with monkeypatch.context() as beside_a_server:
            beside_a_server.setattr(run_files, "find_api", lambda settings: ended)
            beside_a_server.setattr(ApiClient, "is_alive", lambda server: True)
            with pytest.raises(Exception, match=re.escape(nobody)):
                project.families()
        assert len(project.families()) == 1


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="detent init"):
        Detent.open(tmp_path)
