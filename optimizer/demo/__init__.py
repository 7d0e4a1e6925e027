"""``make demo``: the whole loop once, over the same commands and routes that people use; nothing is made up.

What lives here: the story (``story.py``), its users (``users.py``), the servers it starts (``servers.py``), the home it runs in
(``place.py``) and what is printed (``screen.py``). What does not: any rule of the product. Start reading at ``story.py``.
"""

from __future__ import annotations

LENGTH = "about ten minutes on two cores"  # as measured; README, Makefile and docs say it in these words (tests/unit/test_demo_length.py)


def run(keep: bool) -> int:
    """Tells the story; the exit code. ``keep`` leaves the servers running."""
    from optimizer.demo.story import run as tell

    return tell(keep)
