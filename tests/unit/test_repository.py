"""What must hold for the files of the project as a whole."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).exists()]


def test_the_mlflow_folder_does_not_shadow_the_mlflow_package():
    assert not (ROOT / "mlflow" / "__init__.py").exists()


def test_the_lock_holds_hashes_and_no_address():
    lock = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock


def test_nothing_is_tracked_that_belongs_to_one_machine():
    forbidden = re.compile(r"(^|/)(uv\.lock|mlruns/.*|.*\.(db|sqlite3?|gguf|pkl|pickle))$")
    assert [str(p.relative_to(ROOT)) for p in tracked() if forbidden.search(str(p.relative_to(ROOT)))] == []


def test_no_tracked_file_holds_the_path_of_this_checkout():
    here = str(ROOT).encode() + b"/"
    assert [str(p.relative_to(ROOT)) for p in tracked() if here in p.read_bytes()] == []


def test_every_relative_link_in_the_documentation_leads_somewhere():
    broken = []
    for page in (p for p in tracked() if p.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert broken == []
