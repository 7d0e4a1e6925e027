"""What a family is given and what it answers, as its file declares both."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from optimizer.core.family.settings import Declaration, Word


class InputField(Declaration):
    """One value that an application sends. A text longer than ``max_chars`` is cut to it before it is rendered, or its
    request is refused.
    """

    type: Literal["text", "number", "boolean", "json"] = "text"
    max_chars: Annotated[int, Strict(), Field(ge=1)] | None = None
    too_long: Literal["cut", "refuse"] = "cut"


class Output(Declaration):
    """How the model's answer is read: ``parser`` is a name of ``parsers.py``.

    ``field`` names the answer in an Example's ``expected``; ``json_schema`` is ``schema`` in the file. ``shown`` names
    the part of ``expected`` that an example shows as the answer, where that is another: of a query, ``field`` may name
    the passages that it has to find.
    """

    field: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "output"
    parser: str = "text"
    labels: tuple[Word, ...] | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    shown: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
