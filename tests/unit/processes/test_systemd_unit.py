"""deploy/systemd/detent.service: systemd reads it without a remark, and its command is one that exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command_line import detent

UNIT = Path(__file__).resolve().parents[3] / "deploy" / "systemd" / "detent.service"


def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/detent/.venv/bin/detent", "/bin/true"))
    ran = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_its_command_takes_the_options_that_it_is_given() -> None:
    (line,) = re.findall(r"^ExecStart=\S+/detent (.+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    command, *options = line.split()
    usage = detent(command, "--help").out
    assert options[0] in usage
    assert options[1] in usage
