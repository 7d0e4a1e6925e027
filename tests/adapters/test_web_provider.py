"""OpenFeature's web SDK and its provider of OFREP, both of npm's registry, ask a server over the network.

`make test-adapters` runs this where npm is there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from tests.worlds.api_world import make_home, serving
from tests.worlds.gateway_world import serving as on_a_socket

PROGRAM = Path(__file__).parent / "web_provider.mjs"
PACKAGES = ("@openfeature/core@^1.12.0", "@openfeature/ofrep-web-provider@^0.4.3", "@openfeature/web-sdk@^1.10.0")
NPM = shutil.which("npm")


@pytest.mark.skipif(NPM is None, reason="needs npm, which fetches OpenFeature's packages for JavaScript")
def test_a_page_s_provider_gets_each_user_s_prompt_in_one_request_and_asks_again_by_etag(tmp_path: Path) -> None:
    install = [str(NPM), "install", "--no-audit", "--no-fund", "--prefix", str(tmp_path), *PACKAGES]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    shutil.copy(PROGRAM, tmp_path)
    settings = make_home(tmp_path / "home")
    with serving(settings) as world:
        world.deploying()
        world.add_key("shop", "feedback", secret="app")
        with on_a_socket(create_app(settings), settings) as url:
            ran = subprocess.run(
                ["node", PROGRAM.name, url, "app"], cwd=tmp_path, capture_output=True, text=True, timeout=60
            )
            assert ran.returncode == 0, ran.stderr
            told = json.loads(ran.stdout)
            champion = world.shared.serving.now_served.family("triage").champion.variant
            for n, user in enumerate(told["users"]):
                asked = {"unit": f"u{n}"}
                headers = {"Authorization": "Bearer app"}
                prompt = httpx.get(f"{url}/v1/families/triage/prompt", params=asked, headers=headers).json()
                assert user == {
                    "reason": "SPLIT",
                    "variant": prompt["variant"],
                    "metadata": ["assignment", "lease_expires_at"],
                    "messages": prompt["messages"],
                }
    assert len({user["variant"] for user in told["users"]}) == 2
    assert told["nobody"] == ["STATIC", champion, []]
    assert (told["unknown"], told["otherType"]) == ("FLAG_NOT_FOUND", "TYPE_MISMATCH")
    assert {200, 304} == set(told["statuses"])
