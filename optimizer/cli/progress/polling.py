"""Asks again and again how far something is that goes on in a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from optimizer.cli.output import say
from optimizer.core.base.errors import Busy, DetentError, TooMany

R = TypeVar("R")
PASSING = (Busy, TooMany, DetentError)  # the last as such: the server did not answer


def polled(ask: Callable[[], R], seconds: float, *, of_server: bool) -> Iterator[R]:
    """Each answer. A server that is busy or does not answer is asked again, and that is said once: what it does goes
    on.
    """
    is_told = False
    while True:
        try:
            answer = ask()
        except DetentError as error:
            if not of_server or type(error) not in PASSING:
                raise
            if not is_told:
                say(f"{error.detail} What was asked for goes on there; it is looked at again.", "yellow")
            is_told = True
        else:
            yield answer
        time.sleep(seconds)
