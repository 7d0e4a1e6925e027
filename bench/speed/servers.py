"""A server in a process of its own: a port for it, and when it is up."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request


def free_port() -> int:
    """A port of this machine on which no one listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until_up(url: str, process: subprocess.Popen[bytes], what: str, *, within_s: float) -> None:
    """Returns at the first answer to ``url``, whatever its status.

    Raises:
        RuntimeError: the process ended, or ``within_s`` went by; names ``what`` did not start.
    """
    until = time.monotonic() + within_s
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{what} did not start, so nothing was measured beside it.")
