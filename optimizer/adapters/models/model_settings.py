"""config/models.yaml as values, checked whole: every fault at once, with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.family.family import STUDENT, Teach
from optimizer.core.family.settings import no_number_as_date
from optimizer.core.family.variant import DEFAULT_SIZE, MAX_OUTPUT_TOKENS, SMALLEST, Size
from optimizer.core.family.wording import shown
from optimizer.core.models.breaker import BreakerSettings as Breaker
from optimizer.core.models.language import Backoff, ModelPrice

NAME = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$"


class _DeclaredPart(BaseModel):
    """A part of the file: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_number(cls, value: Any, field: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[str(field.field_name)].annotation is not bool:
            raise ValueError(f"{str(value).lower()} is no value of it")  # pydantic would count it as 1 or 0
        return value


class DeclaredPrice(_DeclaredPart):
    """Dollars per million tokens."""

    input_usd_per_mtok: float = Field(ge=0, allow_inf_nan=False)
    output_usd_per_mtok: float = Field(ge=0, allow_inf_nan=False)


class BackoffSettings(_DeclaredPart):
    """Pauses between two attempts of one call."""

    initial_s: float = Field(default=0.2, gt=0, le=60)
    max_s: float = Field(default=2.0, gt=0, le=300)
    jitter_s: float = Field(default=0.2, ge=0, le=60)
    total_s: float = Field(default=20.0, gt=0, le=3600)

    @model_validator(mode="after")
    def _grows(self) -> BackoffSettings:
        if self.initial_s > self.max_s:
            raise ValueError(f"initial_s ({self.initial_s:g}) must not be above max_s ({self.max_s:g})")
        return self


class BreakerOptions(_DeclaredPart):
    """When the gateway leaves a model alone, and for how long."""

    failures: int = Field(default=5, ge=1, le=10_000)
    share: float = Field(default=0.5, ge=0, le=1)
    window_s: float = Field(default=30.0, gt=0, le=3600)
    cool_down_s: float = Field(default=15.0, gt=0, le=3600)
    successes: int = Field(default=2, ge=1, le=100)


WHICH_MODEL = ("provider", "litellm", "openai_compatible", "model", "api_base")


class ModelSettings(_DeclaredPart):
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
    backoff_settings: BackoffSettings = Field(default=BackoffSettings(), alias="backoff")
    breaker_settings: BreakerOptions = Field(default=BreakerOptions(), alias="breaker")
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

    @property
    def backoff(self) -> Backoff:
        return Backoff(**self.backoff_settings.model_dump())

    @property
    def breaker(self) -> Breaker:
        return Breaker(**self.breaker_settings.model_dump())

    def known_price(self) -> ModelPrice | None:
        """The price given here, else LiteLLM's; the embedded model and a student cost nothing unless one is given."""
        if self.price is not None:
            return ModelPrice(**self.price.model_dump())
        if self.provider is not None:
            return ModelPrice(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)
        return listed_price(self.litellm) if self.litellm is not None else None


def read_models(path: Path) -> dict[str, ModelSettings]:
    """All models of a models.yaml; a folder without the file has the embedded model. ``student`` is a student unless
    the file says what else it is.

    Raises:
        InvalidInput: unreadable YAML, or entries that cannot be used; carries every fault with its line.
    """
    from optimizer.host.yaml_files import line_of, load_file, plain

    if not path.exists():
        return {"embedded": ModelSettings(provider="embedded"), STUDENT: ModelSettings(provider="student")}
    entries = load_file(path, "Correct the file.", with_lines=True)
    if not isinstance(entries, Mapping) or not entries:
        raise InvalidInput(
            f"{path} must hold at least one model as `name: {{settings}}`. docs/reference/models.md shows it."
        )
    models: dict[str, ModelSettings] = {}
    faults: list[Fault] = []
    for name, entry in entries.items():
        try:
            models[str(name)] = _NamedModel.model_validate({"name": name, "settings": plain(entry)}).settings
        except ValidationError as error:
            faults += [_fault(path, entries, name, fault) for fault in error.errors()]
    for name, settings in models.items():
        faults += [
            Fault(
                pointer=pointer_of([name, "fallbacks", i]),
                detail=f"there is no other model {other!r} to fall back to",
                line=line_of(entries, name),
                file=str(path),
            )
            for i, other in enumerate(settings.fallbacks)
            if other == name or other not in entries
        ]
    if faults:
        listed = "; ".join(f"line {f.line} {f.pointer}: {f.detail}" for f in faults)
        raise InvalidInput(f"{path} cannot be used: {listed}. docs/reference/models.md explains every field.", faults)
    models.setdefault(STUDENT, ModelSettings(provider="student"))
    return models


def read_sizes_and_places(path: Path) -> tuple[dict[str, Size], dict[str, str]]:
    """Name -> the model's size, and which model it is, as a hash.

    The hash covers where it is found: LiteLLM's id, or the id and address behind openai_compatible. Price, time limits
    and the like are no part of it; a student is STUDENT. Raises InvalidInput.
    """
    models = read_models(path)
    places = {
        name: STUDENT
        if settings.student
        else digest(canonical_json(settings.model_dump(mode="json", include=set(WHICH_MODEL))))[:12]
        for name, settings in models.items()
    }
    # A size that is not given: small for the embedded model and medium for any other.
    sizes = {
        name: one.size or (SMALLEST if one.embedded else DEFAULT_SIZE)
        for name, one in models.items()
        if not one.student
    }
    return sizes, places


def declared_prices(path: Path) -> dict[str, ModelPrice]:
    """Prices of the models of a models.yaml, by each name that one may be reported under.

    These are its own name, its id at its provider, and that id after the provider's name. Raises InvalidInput.
    """
    prices: dict[str, ModelPrice] = {}
    for name, settings in read_models(path).items():
        price = settings.known_price()
        if price is not None:
            id = settings.litellm or settings.model
            others = [id, id.partition("/")[2]] if id is not None else []
            prices |= {other: price for other in others if other and other not in prices} | {name: price}
    return prices


_table: dict[str, Any] | None = None
_OF_LONG_PROMPTS = re.compile(r"input_cost_per_token(_above_(\d+)k_tokens)")  # no model of the table has two


def listed_price(litellm_id: str) -> ModelPrice | None:
    """The price in the table inside the installed LiteLLM, read as a file: importing LiteLLM takes seconds."""
    global _table
    if _table is None:
        spec = find_spec("litellm")
        folders = list(spec.submodule_search_locations or ()) if spec is not None else []
        files = [
            file
            for folder in folders
            if (file := Path(folder) / "model_prices_and_context_window_backup.json").exists()
        ]
        _table = json.loads(files[0].read_text(encoding="utf-8")) if files else {}
    entry = _table.get(litellm_id) or _table.get(litellm_id.partition("/")[2])
    listed = entry if isinstance(entry, dict) else None
    if listed is None or "input_cost_per_token" not in listed or "output_cost_per_token" not in listed:
        return None
    above = next(filter(None, map(_OF_LONG_PROMPTS.fullmatch, listed)), None)
    ends = ["", above.group(1)] if above is not None else [""]
    short, *long = (
        ModelPrice(
            input_usd_per_mtok=float(listed[f"input_cost_per_token{end}"]) * 1e6,
            output_usd_per_mtok=float(
                listed.get(f"output_cost_per_token{end}") or listed["output_cost_per_token"],
            )
            * 1e6,
        )
        for end in ends
    )
    return replace(short, long=long[0], long_from_tokens=1000 * int(above.group(2))) if above is not None else short


class _NamedModel(BaseModel):
    name: str = Field(pattern=NAME)
    settings: ModelSettings


def _fault(path: Path, entries: Any, name: Any, error: Any) -> Fault:
    from optimizer.host.yaml_files import line_of

    inside = [str(part) for part in error["loc"][1:]] if error["loc"][0] == "settings" else []
    detail = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        detail = f"there is no field {inside[-1]!r}; known: {', '.join(_fields(*inside[:-1]))}"
    elif error["loc"][0] == "name":
        detail = f"{name!r} is no usable name; letters, digits and . _ : / - are"
    elif "input" in error and error["type"] != "value_error":
        detail = f"{detail} (got {shown(error['input'])})"
    return Fault(
        pointer=pointer_of([name, *inside]), detail=detail, line=line_of(entries, name, *inside), file=str(path)
    )


def _fields(*inside: str) -> list[str]:
    """The keys that the file may have."""
    model: Any = ModelSettings
    for part in inside:
        hint = next(
            (field.annotation for name, field in model.model_fields.items() if part == (field.alias or name)), None
        )
        model = next(
            (
                option
                for option in (hint, *get_args(hint))
                if isinstance(option, type) and issubclass(option, BaseModel)
            ),
            ModelSettings,
        )
    return [field.alias or name for name, field in model.model_fields.items()]
