"""Bodies of requests. Unknown members are refused: a misspelt option must not be taken for the default."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from optimizer.jobs.request import Objects, StrictModel

# Entries of a list, more than any ordinary one: else twenty thousand faults would be listed.
MANY = 1000


class Body(StrictModel, BaseModel):  # named again for the linter, which looks at this file alone
    model_config = ConfigDict(allow_inf_nan=False)


class RenderBody(Body):
    unit: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    variables: dict[str, Any]
    history: Annotated[
        Objects, Field(description="Earlier turns, oldest first, where the prompt has {role: history}")
    ] = []


class EvaluationBody(BaseModel):
    """The protocol's; what else it holds is left unread."""

    context: Annotated[
        dict[str, Any] | None,
        Field(description="`targetingKey` is the unit, at most 512 characters; nothing else in it has a say"),
    ] = None
