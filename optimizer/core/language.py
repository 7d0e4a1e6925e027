"""What is asked of a language model and what it answers, independent of any provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optimizer.core.canonical import canonical_json, digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One call: rendered messages and parameters. ``sample`` tells repeated draws at temperature > 0 apart."""

    model: str  # a name in config/models.yaml
    revision: str  # of the model behind the name: weights file hash, provider's id
    messages: Sequence[Mapping[str, Any]]
    params: Mapping[str, Any] = field(default_factory=dict)  # temperature, max_tokens, stop, response_format, tools …
    sample: str = "0"

    @property
    def key(self) -> str:
        """The journal's name for this call: equal requests share one answer."""
        return digest(canonical_json([self.model, self.revision, list(self.messages), dict(self.params), self.sample]))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    text: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    latency_ms: float
    finish_reason: str = "stop"
    time_to_first_token_ms: float | None = None
    from_journal: bool = False
    raw_message: Mapping[str, Any] | None = None  # tool calls and the like, as the provider sent them


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """Dollars per million tokens. A model without a price cannot be used under a dollar cap."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
