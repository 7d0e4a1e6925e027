"""What is served where the server cannot say: a snapshot of champions, texts of the application's own, or a function
that gives them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from detent_client.choice import Choice, Variant
from detent_client.snapshot import Families, families_of, read_families
from detent_client.template import Template

Prompt = str | Sequence[Mapping[str, Any]]  # a user message, or messages with open variables
FallbackFunction = Callable[[str, str | None], Prompt | None]
Fallback = str | os.PathLike[str] | Mapping[str, Any] | FallbackFunction

log = logging.getLogger("detent_client")


class FallbackSource:
    """One of the four forms of a fallback; ``choice`` gives None where it has nothing for a family."""

    def __init__(self, fallback: Fallback) -> None:
        """Raises ValueError for a mapping that holds no messages: that is a mistake of the program, not of the day."""
        self._path: Path | None = None
        self._file_failure: str | None = None  # told last
        self._function: FallbackFunction | None = None
        self._families: Families = {}
        self._own: dict[str, Choice] = {}
        if callable(fallback):
            self._function = fallback
        elif not isinstance(fallback, Mapping):
            self._path = Path(fallback)
            self._read_file(self._path)
        elif "families" in fallback:
            self._families = families_of(fallback, champions_only=True)
        else:
            self._own = {family: own_choice(family, prompt) for family, prompt in fallback.items()}

    def choice(self, family: str, unit: str | None) -> Choice | None:
        """Never raises."""
        if self._function is not None:
            return self._from_function(self._function, family, unit)
        if self._path is not None and not self._families:
            self._read_file(self._path)  # it was cut short or missing when the program started
        if (entry := self._families.get(family)) is None:
            return self._own.get(family)
        if entry.champion.variant.template.is_empty:
            return None  # of kind policy: the server alone can fill it in
        return Choice(variant=entry.champion.variant, role="fallback")

    def _read_file(self, path: Path) -> None:
        try:
            self._families = read_families(path.read_bytes(), champions_only=True)
        except (OSError, ValueError) as error:
            if (failure := type(error).__name__) != self._file_failure:
                log.error("the fallback file cannot be used (%s); it is read again when it is needed", failure)
            self._file_failure = failure

    def _from_function(self, function: FallbackFunction, family: str, unit: str | None) -> Choice | None:
        try:
            prompt = function(family, unit)
            return own_choice(family, prompt) if prompt is not None else None
        except Exception as error:  # the application's own code: whatever it raises, its users wait for an answer
            log.error("the fallback function failed (%s)", type(error).__name__)
            return None


def own_choice(family: str, prompt: Prompt) -> Choice:
    """Raises ValueError for what is no prompt."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if not isinstance(messages, Sequence) or not messages:
        raise ValueError(f"The fallback of {family!r} is neither a text nor a list of messages.")
    template = Template(cast("Sequence[Mapping[str, Any]]", messages))
    return Choice(variant=Variant(family=family, id=None, template=template, model={}), role="fallback")
