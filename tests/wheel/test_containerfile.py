"""The steps of `deploy/Containerfile` in a clean root: what is built serves, and its health check tells."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wheel.clean_root import CleanRoot, build

ROOT = Path(__file__).parents[2]
MAY = sys.platform == "linux" and os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"]).returncode == 0
pytestmark = pytest.mark.skipif(not MAY, reason="a root of its own takes Linux, root and unshare")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> CleanRoot:
    uv = str(Path(sys.executable).parent / "uv")
    cache = subprocess.run([uv, "cache", "dir"], check=True, capture_output=True, text=True, timeout=60)
    path = tmp_path_factory.mktemp("roots")
    path.chmod(0o755)  # the image's user is not root
    return build(ROOT / "deploy" / "Containerfile", ROOT, path, cache=Path(cache.stdout.strip()))


def test_a_container_serves_its_volume_and_its_health_check_tells_whether_it_does(image: CleanRoot) -> None:
    """As docs/how-to/run-in-a-container.md: a project and a first key on the volume, then the image's own command."""
    image.run(["detent", "init", "."])
    made = image.run(["/bin/sh", "-c", "detent keys create web-app --role serve --json 2>/dev/null"])
    key = json.loads(made)["secret"]
    check, serve = shlex.join(image.health_check), shlex.join(image.command)
    fetch = (
        "from urllib.request import Request, urlopen; print(urlopen(Request("
        "'http://127.0.0.1:8321/v1/families/support_topics/prompt', headers={'Authorization': 'Bearer "
        f"{key}'}})).read().decode())"
    )
    story = f"""
        if {check} 2>/dev/null; then exit 3; fi
        {serve} > serve.out 2>&1 & server=$!
        n=0; until {check} 2>/dev/null; do n=$((n+1)); [ $n -lt 120 ] || {{ cat serve.out; exit 4; }}; sleep 1; done
        {shlex.join(["python", "-c", fetch])} || exit 5
        kill -TERM $server; wait $server || exit 6
        if {check} 2>/dev/null; then exit 7; fi
    """
    process = image.begin(["/bin/sh", "-c", story], is_alone=True)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert json.loads(said)["role"] == "champion"
    assert {entry.name for entry in (image.path / "data").iterdir()} >= {"families", "config", "var"}


def test_an_image_holds_no_source_and_no_installer_s_cache(image: CleanRoot) -> None:
    assert not (image.path / "src").exists()
    assert not [file for file in (image.path / "root").rglob("*") if file.is_file()]
