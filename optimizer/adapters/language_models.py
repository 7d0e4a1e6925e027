"""The models of config/models.yaml by name, each made when first asked for."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from optimizer.adapters.embedded_model import EmbeddedModel
from optimizer.adapters.litellm_models import LiteLLMModel
from optimizer.adapters.model_settings import ModelSettings, read_models
from optimizer.adapters.openai_compatible import OpenAICompatible
from optimizer.core.errors import InvalidInput, NotFound
from optimizer.core.language import ModelPrice
from optimizer.ports import LanguageModel


class Models:
    """Thread-safe. ``close`` ends what was started for them, the embedded model's processes among it."""

    def __init__(self, models_file: Path, run_dir: Path) -> None:
        """Raises InvalidInput with every fault of the file."""
        self._file = models_file
        self._run_dir = run_dir
        self._settings = read_models(self._file)
        self._made: dict[str, EmbeddedModel | LiteLLMModel | OpenAICompatible] = {}
        self._lock = threading.Lock()

    def describe(self, name: str) -> ModelSettings:
        """What the file says about a model; raises NotFound. Starts and imports nothing."""
        found = self._settings.get(name)
        if found is None:
            raise NotFound(
                f"There is no model {name!r} in {self._file}. Known: {', '.join(self._settings)}. Add it there, or name one of these.",
                model=name,
            )
        return found

    def price(self, name: str) -> ModelPrice | None:
        """Dollars per million tokens, where known; starts and imports nothing."""
        return self.describe(name).known_price()

    def get(self, name: str) -> LanguageModel:
        """Raises NotFound for a model that is unknown or not installed, InvalidInput where its key is missing."""
        with self._lock:
            made = self._made.get(name)
            if made is None:
                made = self._made[name] = self._make(name, self.describe(name))
            return made

    def is_embedded(self, name: str) -> bool:
        return name in self._settings and self._settings[name].embedded

    def embedded(self) -> EmbeddedModel | None:
        """The embedded model, where the file names one and it is installed."""
        for name, settings in self._settings.items():
            if settings.embedded:
                try:
                    model = self.get(name)
                except NotFound:
                    return None
                return model if isinstance(model, EmbeddedModel) else None
        return None

    def close(self) -> None:
        with self._lock:
            for model in self._made.values():
                model.close()
            self._made.clear()

    def _make(self, name: str, settings: ModelSettings) -> EmbeddedModel | LiteLLMModel | OpenAICompatible:
        if settings.embedded:
            return EmbeddedModel(
                name,
                self._run_dir,
                size=settings.processes if isinstance(settings.processes, int) else None,
                timeout_s=settings.timeout_s,
                retries=settings.retries,
                max_output_tokens=settings.max_output_tokens or 256,
                price=settings.known_price(),
            )
        key = _key(name, settings)
        price = settings.known_price()
        if settings.litellm is not None:
            return LiteLLMModel(
                name,
                litellm_id=settings.litellm,
                api_base=settings.api_base,
                api_key=key,
                price=price,
                timeout_s=settings.timeout_s,
                retries=settings.retries,
                concurrency=settings.concurrency,
                max_output_tokens=settings.max_output_tokens,
            )
        assert settings.openai_compatible is not None
        return OpenAICompatible(
            name,
            base_url=settings.openai_compatible,
            model_id=settings.model or name,
            api_key=key,
            price=price,
            timeout_s=settings.timeout_s,
            retries=settings.retries,
            concurrency=settings.concurrency,
            max_output_tokens=settings.max_output_tokens,
        )


def _key(name: str, settings: ModelSettings) -> str | None:
    if settings.api_key_env is None:
        return None
    value = os.environ.get(settings.api_key_env)
    if not value:
        raise InvalidInput(
            f"Model {name!r} takes its key from the environment variable {settings.api_key_env}, which is not set. Set it and start again."
        )
    return value
