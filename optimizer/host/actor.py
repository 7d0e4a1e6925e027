"""Who acts where no key says it: the person at this machine, as decisions and the audit name them."""

from __future__ import annotations

import getpass
import os


def local_actor() -> str:
    try:
        return f"local:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user id without a name
        return f"local:{os.getuid()}"
