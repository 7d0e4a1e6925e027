"""The models of config/models.yaml by name, each made when first asked for."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from optimizer.adapters.models.embedded_model import EmbeddedModel
from optimizer.adapters.models.litellm_models import LiteLLMModel
from optimizer.adapters.models.model_settings import ModelSettings, read_models
from optimizer.adapters.models.openai_compatible import OpenAICompatible
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.models.language import ModelPrice
from optimizer.ports import LanguageModel


class Models:
    """Thread-safe. ``close`` ends what was started for them, the embedded model's processes among it."""

    def __init__(self, models_file: Path, run_dir: Path) -> None:
        """Raises InvalidInput with every fault of the file."""
        self._file = models_file
        self._run_dir = run_dir
        self._seen = _changed_at(models_file)  # before it is read: a change in between is looked at, and not missed
        self._settings = read_models(self._file)
        self._names_now = frozenset(self._settings)  # what the file named when it was last looked at
        self._made: dict[str, EmbeddedModel | LiteLLMModel | OpenAICompatible] = {}
        self._lock = threading.RLock()  # get describes a model while it holds it

    def describe(self, name: str) -> ModelSettings:
        """What the file said about a model when it was read; raises NotFound. Starts and imports nothing."""
        found = self._settings.get(name)
        if found is None:
            if self._is_added(name):
                raise NotFound(
                    f"The running process does not know the model {name!r}: it read config/models.yaml when it started,"
                    " and the model was added since. Restart `detent serve`; until then it knows"
                    f" {', '.join(self._settings)}.",
                    model=name,
                )
            raise NotFound(
                f"There is no model {name!r} in config/models.yaml. Known: {', '.join(self._settings)}. Add it there,"
                " or name one of these.",
                model=name,
            )
        return found

    def digests(self) -> dict[str, str]:
        """Of each model's settings by its name, so that what this process has read can be compared with the file
        as it is now.
        """
        return {
            name: digest(canonical_json(settings.model_dump(mode="json")))[:12]
            for name, settings in self._settings.items()
        }

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

    def knows(self, name: str) -> bool:
        return name in self._settings

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

    def _is_added(self, name: str) -> bool:
        """Whether the file names the model by now.

        It is read again only where it changed: a family without its model asks at every request.
        """
        with self._lock:
            changed_at = _changed_at(self._file)
            if changed_at != self._seen:
                self._seen = changed_at
                try:
                    self._names_now = frozenset(read_models(self._file))
                except InvalidInput:  # faulty by now: what was read at the start is all that is known
                    self._names_now = frozenset(self._settings)
            return name in self._names_now

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
        made = LiteLLMModel if settings.litellm is not None else OpenAICompatible
        return made(name, settings, api_key=_key(name, settings), price=settings.known_price())


def _changed_at(path: Path) -> int | None:
    """Nanoseconds since 1970; None where there is no such file."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _key(name: str, settings: ModelSettings) -> str | None:
    if settings.api_key_env is None:
        return None
    value = os.environ.get(settings.api_key_env)
    if not value:
        raise InvalidInput(
            f"Model {name!r} takes its key from the environment variable {settings.api_key_env}, which is not set. Set"
            " it and start again."
        )
    return value
