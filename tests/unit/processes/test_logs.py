"""Logs: JSON lines with a request id, one file per process."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import structlog

from optimizer.adapters.models.openai_wire import OpenAICompatible, unreachable
from optimizer.cli.session import Session
from optimizer.core.models.settings import ModelSettings
from optimizer.host.config import load_settings
from optimizer.host.logs import keep_short, set_up_logs


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    set_up_logs(load_settings(home=tmp_path, log_file_mb=0.1, log_files=3), "api", terminal=False)
    yield tmp_path / "var" / "logs" / "api.log"
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_what_a_process_appends_to_its_output_takes_two_files_at_most(tmp_path: Path) -> None:
    path, older = tmp_path / "mlflow.out", tmp_path / "mlflow.out.1"
    with path.open("ab", buffering=0) as output:
        for n in range(30):
            output.write(b"%09d\n" % n)
            keep_short(path, 95)
    assert (older.read_bytes()[-10:], path.read_bytes()) == (b"000000029\n", b"")
    assert {each.name: each.stat().st_size for each in tmp_path.iterdir()} == {"mlflow.out": 0, "mlflow.out.1": 100}
    keep_short(tmp_path / "none.out", 95)


def test_every_line_is_json_and_carries_process_and_request_id_also_from_other_libraries(lines: Path) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger("detent").info("exposed", n=3)
        logging.getLogger("somebody.else").warning("careful: %s", "x")
    structlog.get_logger("detent").info("later")
    first, second, third = (json.loads(line) for line in lines.read_text().splitlines())
    assert (first["event"], first["n"], first["request_id"], first["process"]) == ("exposed", 3, "r-1", "api")
    assert (second["event"], second["request_id"], second["level"]) == ("careful: x", "r-1", "warning")
    assert "request_id" not in third


def test_an_exception_keeps_its_traceback(lines: Path) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("detent").exception("failed")
    line = json.loads(lines.read_text())
    assert "ValueError: broken" in line["exception"]


def test_a_traceback_on_a_terminal_shows_no_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    root, shown = logging.getLogger(), Terminal()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr("sys.stderr", shown)
    set_up_logs(load_settings(home=tmp_path), "api")
    try:
        _fail_with("-".join(["zan", "zibar"]))
    except ValueError:
        structlog.get_logger("detent").exception("failed")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert "ValueError: broken" in shown.getvalue()
    assert "zan-zibar" not in shown.getvalue()


def _fail_with(secret: str) -> None:
    raise ValueError("broken" if secret else "")


def test_a_full_file_is_set_aside_and_no_more_are_kept_than_are_set(lines: Path) -> None:
    log = structlog.get_logger("detent")
    for _ in range(9):
        log.info("x" * 60_000)
    assert sorted(path.name for path in lines.parent.iterdir()) == ["api.log", "api.log.1", "api.log.2"]


def test_what_a_command_logs_is_in_a_file_and_not_in_its_output(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    structlog.reset_defaults()
    try:
        _ = Session().store
        structlog.get_logger("detent").warning("embedded model ready")
    finally:
        structlog.configure(**before)
        logging.getLogger().handlers[:] = handlers
    assert capsys.readouterr() == ("", "")
    assert "embedded model ready" in (tmp_path / "var" / "logs" / "cli.log").read_text()


def test_no_line_holds_the_password_of_an_address(lines: Path) -> None:
    address = "http://detent:s3cret@models.example:8000/v1"
    failure = unreachable("remote", address, f"cannot connect to {address}", sent=False)
    structlog.get_logger("api").warning("a model call failed", said=failure.said, url=address)
    logging.getLogger("somebody.else").warning("no answer from %s", address)
    written = lines.read_text()
    assert written.count("http://***@models.example:8000/v1") == 4
    assert "s3cret" not in written + str(failure.said)


def test_a_model_s_revision_on_record_holds_no_password() -> None:
    settings = ModelSettings(openai_compatible="http://detent:s3cret@models.example/v1", model="m")
    assert OpenAICompatible("remote", settings, api_key=None, price=None).revision == "http://***@models.example/v1#m"
