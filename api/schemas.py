"""Bodies of requests. Unknown members are refused: a misspelt option must not be taken for the default."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from optimizer.jobs.request import Objects, StrictModel, from_validation

M = TypeVar("M", bound=BaseModel)


def read_body(model: type[M], value: Any, *, is_missing: bool) -> M:
    """The JSON value of a body as FastAPI reads one that it declares; raises InvalidInput with every fault."""
    if is_missing:
        raise from_validation([{"loc": ("body",), "msg": "Field required"}])
    try:
        return model.model_validate(value, from_attributes=True)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise from_validation([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from None


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
