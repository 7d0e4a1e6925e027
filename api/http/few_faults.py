"""Faults of a hostile body are counted and not made: its schema finds twenty thousand of them in one step,
which holds up who is served meanwhile.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from optimizer.core.base.errors import MAX_ALIKE, MAX_NAME_CHARS, shortened

NAMED = 5  # of what is wrong


class StrictModel(BaseModel):
    """Unknown members are refused, each with a fault of its own while they are few."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_unknown(cls, value: Any) -> Any:
        n_known = len(cls.model_fields)
        if not isinstance(value, dict) or len(value) <= n_known + MAX_ALIKE:
            return value
        known = {field.alias or name for name, field in cls.model_fields.items()}
        taken = known.union(cls.model_fields)
        unknown = [name for name in value if name not in taken]
        if len(unknown) <= MAX_ALIKE:
            return value
        raise ValueError(
            f"{len(unknown):,} members are not known, such as {_listed(unknown)}; known are {', '.join(sorted(known))}"
        )


def _few_wrong(value: Any) -> Any:
    if isinstance(value, list):
        wrong = [place for place, one in enumerate(value) if not isinstance(one, dict)]
        if len(wrong) > MAX_ALIKE:
            raise ValueError(
                f"{len(wrong):,} entries are no objects, such as those at {_listed(wrong)} (counted from 0)"
            )
    return value


Objects = Annotated[list[dict[str, Any]], BeforeValidator(_few_wrong)]


def _listed(of: list[Any]) -> str:
    return ", ".join(shortened(str(one), MAX_NAME_CHARS) for one in of[:NAMED])
