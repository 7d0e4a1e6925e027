"""The models of config/models.yaml by name, each made when first asked for."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from optimizer.adapters.models.model_settings import declared_prices, known_price, listed_price, read_models
from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.models.language import ModelPrice
from optimizer.core.models.settings import ModelSettings
from optimizer.host.file_signature import FileSignature, signature_of
from optimizer.host.run_files import write_whole
from optimizer.ports import LanguageModel

if TYPE_CHECKING:
    from optimizer.adapters.models.embedded_model import EmbeddedModel
    from optimizer.adapters.models.litellm_models import LiteLLMModel
    from optimizer.adapters.models.openai_wire import OpenAICompatible

log = structlog.get_logger(__name__)


class Models:
    """The models of a file. Thread-safe. ``close`` ends what was started for them, such as the embedded model's
    processes.

    ``problem``: the fault of the present file while the last good one is in use; None where there is none.
    """

    def __init__(self, models_file: Path, run_dir: Path, last_good: Path | None = None) -> None:
        """``last_good``: where the last good text of the file is kept, so that a bad edit survives a restart.

        Raises InvalidInput with every fault of the file, unless the last good one is there.
        """
        self._file, self._run_dir, self._last_good = models_file, run_dir, last_good
        self.problem: InvalidInput | None = None
        self._settings: Mapping[str, ModelSettings] = {}
        self._models: dict[str, EmbeddedModel | LiteLLMModel | OpenAICompatible] = {}
        # Calls under way may use them; closed at the end.
        self._replaced: list[EmbeddedModel | LiteLLMModel | OpenAICompatible] = []
        self._lock = threading.RLock()  # get describes a model while it holds it
        self._signature: FileSignature | None = 0, 0, 0  # not read yet
        self.refresh()
        if self.problem is not None:
            if last_good is None or not last_good.exists():
                raise self.problem
            self._settings = read_models(last_good)

    def refresh(self) -> bool:
        """Reads the file again where it changed; whether it was read. A bad edit leaves what held before."""
        with self._lock:
            signature = signature_of(self._file)
            if signature == self._signature:
                return False
            self._signature = signature  # from before the file is read, so that a change in between is seen next time
            try:
                declared = read_models(self._file)
            except InvalidInput as problem:
                self.problem = problem
                return True
            known, self.problem = self._settings, None
            self._settings = {
                name: known[name] if known.get(name) == settings else settings for name, settings in declared.items()
            }
            for name in [name for name in self._models if self._settings.get(name) is not known.get(name)]:
                self._replaced.append(self._models.pop(name))
            if self._last_good is not None and self._file.exists():
                try:
                    write_whole(self._last_good, self._file.read_bytes())
                except OSError as error:  # a full disk must not keep a good file from being used
                    log.warning("the last good models cannot be kept", error=str(error))
            return True

    def describe(self, name: str) -> ModelSettings:
        """What the file says about a model; raises NotFound. Starts and imports nothing."""
        settings = self._settings.get(name)
        if settings is None:
            raise NotFound(
                f"There is no model {name!r} in config/models.yaml. Known: {', '.join(self._settings)}. Add it there,"
                " or name one of these.",
                model=name,
            )
        return settings

    def digests(self) -> dict[str, str]:
        """Name -> digest of the model's settings, so that this process's settings can be compared with the file."""
        return {
            name: digest(canonical_json(settings.model_dump(mode="json")))[:12]
            for name, settings in self._settings.items()
        }

    def price(self, name: str) -> ModelPrice | None:
        """Dollars per million tokens, where known; starts and imports nothing."""
        return known_price(self.describe(name))

    def get(self, name: str) -> LanguageModel:
        """Raises NotFound for a model that is unknown or not installed, InvalidInput where its key is missing and for a
        student, which is asked by a policy alone.
        """
        with self._lock:
            model = self._models.get(name)
            if model is None:
                model = self._models[name] = self._make(name, self.describe(name))
            return model

    def knows(self, name: str) -> bool:
        return name in self._settings

    def is_embedded(self, name: str) -> bool:
        return name in self._settings and self._settings[name].embedded

    def embedded(self) -> EmbeddedModel | None:
        """The embedded model, where the file names one and it is installed."""
        from optimizer.adapters.models.embedded_model import EmbeddedModel

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
            for model in (*self._models.values(), *self._replaced):
                model.close()
            self._models.clear()
            self._replaced.clear()

    def _make(self, name: str, settings: ModelSettings) -> EmbeddedModel | LiteLLMModel | OpenAICompatible:
        """What speaks to models loads here: most commands only ask which there are."""
        from optimizer.adapters.models.embedded_model import EmbeddedModel
        from optimizer.adapters.models.litellm_models import LiteLLMModel
        from optimizer.adapters.models.openai_wire import OpenAICompatible

        if settings.student:
            raise InvalidInput(
                f"{name!r} is a student: it answers as a tier of a family that a study has taught it, and takes no"
                " message by itself. Name another model."
            )
        if settings.embedded:
            return EmbeddedModel(
                name,
                self._run_dir,
                size=settings.processes if isinstance(settings.processes, int) else None,
                timeout_s=settings.timeout_s,
                retries=settings.retries,
                max_output_tokens=settings.max_output_tokens or 256,
                price=known_price(settings),
            )
        adapter = LiteLLMModel if settings.litellm is not None else OpenAICompatible
        return adapter(name, settings, api_key=_key(name, settings), price=known_price(settings))


class PricesByName:
    """Prices from config/models.yaml, read again when it has changed, else from LiteLLM's table.

    Nothing is read before the first question.
    """

    def __init__(self, models_file: Path) -> None:
        self._file = models_file
        self._signature: FileSignature | None = 0, 0, 0  # not read yet
        self._declared: Mapping[str, ModelPrice] = {}

    def __call__(self, names: Sequence[str]) -> ModelPrice | None:
        """The price of the first of these names that has one."""
        signature = signature_of(self._file)
        if self._signature != signature:
            self._signature = signature
            with suppress(InvalidInput):  # the gateway says what is wrong with it; the last prices hold
                self._declared = declared_prices(self._file)
        declared = next((self._declared[name] for name in names if name in self._declared), None)
        return declared or next((price for name in names if (price := listed_price(name)) is not None), None)


def _key(name: str, settings: ModelSettings) -> str | None:
    if settings.api_key_env is None:
        return None
    value = os.environ.get(settings.api_key_env)
    if not value:
        raise InvalidInput(
            f"Model {name!r} takes its key from the environment variable {settings.api_key_env}, which is not set."
            " Set it where the server starts, and start that again."
        )
    return value
