"""Does what docs/how-to/add-an-act.md says to a copy of the product, and prints what the new act then answers.

Started by tests/unit/project/test_add_an_act.py, with the copy first on the path.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "add-an-act.md"
EXAMPLE = ROOT / "examples" / "own_act"
PLACES = {"end_override.py": "optimizer/jobs/rollouts", "override.py": "optimizer/cli"}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def copy_with_act(folder: Path) -> None:
    """The product as it is after the page was followed."""
    for package in ("api", "optimizer"):
        shutil.copytree(ROOT / package, folder / package)  # with the bytecode, which compiling takes seconds to make
    for name, place in PLACES.items():
        assert not (folder / place / name).exists(), name
        shutil.copy(EXAMPLE / name, folder / place)
    listing, registered = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    (line,) = (one for one in listing.splitlines(keepends=True) if one.startswith("    _act("))
    listed = folder / "optimizer" / "runtime" / "use_cases.py"
    before = listed.read_text(encoding="utf-8")
    assert before.count("\nUSE_CASES = (\n") == 1
    listed.write_text(before.replace("\nUSE_CASES = (\n", f"\nUSE_CASES = (\n{line}"), encoding="utf-8")
    commands = folder / "optimizer" / "cli" / "app.py"
    before = commands.read_text(encoding="utf-8")
    assert before.count("\ndef main() -> None:\n") == 1
    commands.write_text(before.replace("\ndef main() -> None:\n", f"\n{registered}\ndef main() -> None:\n"), "utf-8")


def main(home: Path) -> dict[str, Any]:
    import optimizer
    from optimizer.runtime.api_client import ApiClient
    from tests.command_line import detent
    from tests.worlds.api_world import make_home, serving

    words = ("override", "end", "triage", "a/unit", "--reason", "seen", "--json")
    with serving(make_home(home)) as world:
        path = "/v1/families/triage/overrides/a%2Funit"

        def put() -> None:
            world.client.put(path, json={"variant": world.champion()}).raise_for_status()

        put()
        key = {"Idempotency-Key": "once"}
        by_rest = [world.client.delete(path, headers=key).json() for _ in range(2)]
        put()
        here = detent(*words, env={"DETENT_HOME": str(home)}).json
        put()
        ApiClient.at = classmethod(lambda kind, url, key: kind(url, http=world.client))  # type: ignore[assignment]
        there = detent(*words, "--server", "http://localhost", env={"DETENT_HOME": "/nowhere"}).out
        again = world.client.delete(path).json()
        refused = world.client.delete(path, params={"raeson": "x"}).status_code
        routes = world.app.router.routes
        routes[:] = [route for route in routes if "/overrides/" in getattr(route, "path", "")]  # others take seconds
        described = world.app.openapi()["paths"]["/v1/families/{family}/overrides/{unit}"]["delete"]
    return {
        "product": str(Path(optimizer.__path__[0]).parent),
        "by_rest": by_rest,
        "here": here,
        "there": json.loads(there[there.index("\n{\n") + 1 if not there.startswith("{") else 0 :]),
        "again": again,
        "refused": refused,
        "summary": described["summary"],
        "answer": described["responses"]["200"]["content"]["application/json"]["schema"],
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
