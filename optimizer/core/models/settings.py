"""What config/models.yaml says about one model: where it is, what it costs and how it is called."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from optimizer.core.family.family import Teach
from optimizer.core.family.settings import no_number_as_date
from optimizer.core.family.variant import MAX_OUTPUT_TOKENS, Size
from optimizer.core.models.breaker import Backoff, BreakerSettings, DeclaredPart


class DeclaredPrice(DeclaredPart):
    """Dollars per million tokens."""

    input_usd_per_mtok: float = Field(ge=0, allow_inf_nan=False)
    output_usd_per_mtok: float = Field(ge=0, allow_inf_nan=False)


class ModelSettings(DeclaredPart):
    """One entry of config/models.yaml."""

    provider: Literal["embedded", "student"] | None = None
    litellm: str | None = Field(default=None, min_length=1)
    openai_compatible: str | None = None
    size: Size | None = None
    model: str | None = Field(default=None, min_length=1)  # its id behind openai_compatible; default its name here
    api_base: str | None = None
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    price: DeclaredPrice | None = None
    timeout_s: float = Field(default=60.0, gt=0, le=3600)
    retries: int = Field(default=2, ge=0, le=10)
    backoff: Backoff = Backoff()
    breaker: BreakerSettings = BreakerSettings()
    concurrency: int = Field(default=4, ge=1, le=256)
    queue: int = Field(default=64, ge=0, le=10_000)
    max_output_tokens: int | None = Field(default=None, ge=1, le=MAX_OUTPUT_TOKENS)
    processes: Literal["auto"] | int = "auto"
    fallbacks: tuple[str, ...] = ()
    # The day from which its provider answers no more.
    retires_on: Annotated[date, BeforeValidator(no_number_as_date)] | None = None
    may_teach: bool = False  # whether a student may learn from its answers, which some providers' terms forbid
    teach: Teach = "labels"  # of a student: what it learns from

    @field_validator("openai_compatible", "api_base")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        """The message does not repeat the address, which may hold a password."""
        try:
            parts = urlsplit(value or "")
            is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # of brackets that do not pair, or a port that is none
            is_whole = False
        if value is not None and (not is_whole or " " in value or not value.isprintable()):
            raise ValueError("must be a whole address, such as http://127.0.0.1:8000/v1")
        return value

    @model_validator(mode="after")
    def _one_way_to_reach_it(self) -> ModelSettings:
        ways = [way for way in ("provider", "litellm", "openai_compatible") if getattr(self, way) is not None]
        if len(ways) != 1:
            raise ValueError(
                "needs exactly one of provider: embedded, provider: student, litellm: <id> or openai_compatible:"
                f" <address>; it has {' and '.join(ways) or 'none'}"
            )
        if isinstance(self.processes, int) and not 1 <= self.processes <= 16:
            raise ValueError(f"processes must be auto or 1 to 16, not {self.processes}")
        if self.teach != "labels" and not self.student:
            raise ValueError("teach says what a student learns from; leave it out, or write provider: student")
        if self.may_teach and self.student:
            raise ValueError("may_teach is said of the model that stands behind a student; leave it out here")
        return self

    @property
    def embedded(self) -> bool:
        return self.provider == "embedded"

    @property
    def student(self) -> bool:
        return self.provider == "student"


def calls_at_once(settings: ModelSettings, automatic: int) -> int:
    """Calls that go out together; ``automatic``: of the embedded model whose number of processes is left open."""
    if not settings.embedded:
        return settings.concurrency
    return settings.processes if isinstance(settings.processes, int) else automatic
