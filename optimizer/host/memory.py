"""What a process has read lately and keeps to be quicker, thrown away where somebody was forgotten."""

from __future__ import annotations

import functools
import gc


def drop_cached() -> None:
    """Empties each bounded cache of a function, whoever made it: by their kind they hold nothing that is not made anew
    when it is asked for. One without a bound holds what the process made once, such as statements and connections.
    """
    cached_function = type(functools.cache(drop_cached))
    for each in gc.get_objects():
        if isinstance(each, cached_function) and each.cache_parameters()["maxsize"] is not None:
            each.cache_clear()
