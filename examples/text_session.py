"""Runs a command with a text that a Detent family holds, such as a SKILL.md, an AGENTS.md or a system prompt, and
reports the session: how long it took, whether it ended well, and which version of the text it had.

    python examples/text_session.py changelog --unit ann --file SKILL.md --check "make test" -- my-agent "Sort it"

The text stands in the file while the command runs; then what stood there before is put back, or the file goes. Without
an answer from Detent that is the text, too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from detent_client import Client


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a command with a text that a Detent family holds.")
    parser.add_argument("family")
    parser.add_argument("--unit", required=True, help="who keeps one version: a person, a team, a repository")
    parser.add_argument("--file", required=True, type=Path, help="where the command reads the text")
    parser.add_argument("--check", help="a command whose exit code says whether the session ended well; else its own")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    before = arguments.file.read_text(encoding="utf-8") if arguments.file.exists() else None
    url, key = os.environ.get("DETENT_SERVER", "http://127.0.0.1:8321"), os.environ.get("DETENT_API_KEY")
    fallback = {arguments.family: [{"role": "system", "content": before or ""}]}
    with Client(url, key, fallback=fallback) as detent:
        task = " ".join(arguments.command)
        with detent.prompt(arguments.family, unit=arguments.unit, task=task) as session:
            if len(session.messages) > 2 and session.role != "fallback":  # a system message and the task
                session.leave_arm("its examples do not fit into a text")
            arguments.file.write_text(session.messages[0]["content"], encoding="utf-8")
            try:
                code = subprocess.run(arguments.command).returncode
            finally:
                if before is None:
                    arguments.file.unlink(missing_ok=True)
                else:
                    arguments.file.write_text(before, encoding="utf-8")
            session.record(error=f"exit code {code}" if code else None)
        is_good = subprocess.run(arguments.check, shell=True).returncode == 0 if arguments.check else code == 0
        detent.feedback(session, success=is_good, source="system")
        print(f"{session.role}: {session.variant}; for a later verdict: {session.assignment}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
