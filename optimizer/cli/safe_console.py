"""The one kind of Rich console in this program: whatever it prints, it prints as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from optimizer.core.base.phrasing import printable


class SafeConsole(Console):
    """Rich's own control sequences (colours, moving bars) pass; those inside of texts do not."""

    def on_broken_pipe(self) -> None:
        """Rich would end the process, though only the reader of messages has gone."""
        raise

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
