"""Runs the example in a home of its own: `python -m examples.graph_rag`."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from examples.graph_rag.graph import by_asking, by_the_facts
from examples.graph_rag.home import Home
from examples.graph_rag.story import tell


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(prog="python -m examples.graph_rag", description=__doc__)
    options.add_argument("--home", type=Path, help="a new folder to keep; by default one that is removed at the end")
    options.add_argument("--models", type=Path, help="your config/models.yaml, in place of the embedded model")
    options.add_argument("--ask", action="store_true", help="decide on each repair yourself, at the terminal")
    options.add_argument("--port", type=int, default=8331, help="of the service; a taken one moves to the next")
    options.add_argument("--rollout-seconds", type=float, default=240.0, help="how long readers come at the most")
    chosen = options.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(chosen.home or Path(folder) / "home")
        print(f"Home: {home.folder}", flush=True)
        home.make(chosen.port, chosen.models)
        with home.serve():
            return asyncio.run(
                tell(
                    home,
                    decide=by_asking if chosen.ask else by_the_facts,
                    say=lambda line: print(line, flush=True),
                    rollout_s=chosen.rollout_seconds,
                )
            )


if __name__ == "__main__":
    main()
