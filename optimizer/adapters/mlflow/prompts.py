"""Variants in MLflow's Prompt Registry as ``detent-<family>``, with the aliases champion, candidate and previous."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.core.family.rendering import render_open
from optimizer.core.family.variant import Variant
from optimizer.core.views.variant import variant_text
from optimizer.ports import MovedAlias

ALIASES = ("champion", "candidate", "previous")
MOST_CHARS = 100_000  # as MLflow stores it; more is refused
VARIANT_TAG = "detent.variant"
_EXPERIMENTS_TAG = "_mlflow_experiment_ids"  # with it, MLflow's pages list a prompt inside an experiment


class PromptRegistry:
    """Every version carries the Variant's id as a tag and is found by it, so that sending again adds nothing."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def mirror(
        self, family: str, variant: Variant, aliases: Sequence[str], tags: Mapping[str, str], *, experiment: str
    ) -> None:
        """Registers the Variant unless it is there, points ``aliases`` at it, and removes our other aliases from it."""
        name = prompt_name(family)
        version = self._versions(name).get(variant.id)
        if version is None:
            model = {"model_name": str(variant.model.get("name", ""))}
            settings = {"temperature": float, "max_tokens": int, "top_p": float}
            config = model | {
                key: kind(variant.model[key]) for key, kind in settings.items() if variant.model.get(key) is not None
            }
            # Earlier turns have no place in MLflow's templates: the server of the prompt fills the history slot.
            template = [
                {"role": m["role"], "content": m["content"]} for m in render_open(variant) if m["role"] != "history"
            ]
            text = template or variant_text(variant)  # of a policy alone: its knobs
            n_chars = len(text if isinstance(text, str) else json.dumps(text))
            if n_chars > MOST_CHARS:
                text = (
                    f"MLflow takes no prompt of {n_chars:,} characters. To see this one: detent variant show {family}"
                    f" {variant.id}"
                )
            own = {VARIANT_TAG: variant.id, **{key: value for key, value in tags.items() if value}}
            version = self._client.register_prompt(
                name=name,
                template=text,
                commit_message=f"{variant.id}: {len(variant.examples)} examples",
                tags={**own, _EXPERIMENTS_TAG: f",{experiment},"},
                model_config=config,
                response_format=dict(variant.response_format) if variant.response_format else None,
            )
            # MLflow writes a version's tags on the prompt as well, where they would seem to hold for all versions.
            for key in own:
                if key != "detent.family":
                    self._client.delete_prompt_tag(name, key)
        else:
            for key, value in tags.items():
                if value and version.tags.get(key) != value:
                    self._client.set_prompt_version_tag(name, version.version, key, value)
        current = self._aliases(name)
        for alias in aliases:
            if current.get(alias) != int(version.version):
                self._client.set_prompt_alias(name, alias, int(version.version))
        for alias in ALIASES:
            if alias not in aliases and current.get(alias) == int(version.version):
                self._client.delete_prompt_alias(name, alias)

    def remove(self, family: str) -> None:
        """The prompt with all its versions."""
        if self._client.get_prompt(prompt_name(family)) is not None:
            self._client.delete_prompt(prompt_name(family))

    def restore(self, family: str, wanted: Mapping[str, str]) -> list[MovedAlias] | None:
        """Puts back what differs from ``wanted``; None where no Variant is registered.

        An alias of an unregistered Variant is left for ``mirror``.
        """
        name = prompt_name(family)
        if self._client.get_prompt(name) is None:
            return None
        versions = self._versions(name)
        by_number = {int(v.version): variant for variant, v in versions.items()}
        current = self._aliases(name)
        moved = []
        for alias in ALIASES:
            actual = by_number.get(current[alias], f"version {current[alias]}") if alias in current else None
            right = wanted.get(alias)
            if actual == right or (right is not None and right not in versions):
                continue
            if right is not None:
                self._client.set_prompt_alias(name, alias, int(versions[right].version))
            else:
                self._client.delete_prompt_alias(name, alias)
            moved.append(MovedAlias(family=family, alias=alias, found=actual, restored=right))
        return moved

    def _versions(self, name: str) -> dict[str, Any]:
        """Variant id -> version; {} when the prompt does not exist."""
        if self._client.get_prompt(name) is None:
            return {}
        by_variant: dict[str, Any] = {}
        token = None
        while True:
            page = self._client.search_prompt_versions(name, max_results=1000, page_token=token)
            for version in page:
                if VARIANT_TAG in version.tags:
                    by_variant.setdefault(version.tags[VARIANT_TAG], version)
            token = getattr(page, "token", None)
            if not token:
                return by_variant

    def _aliases(self, name: str) -> dict[str, int]:
        """Our aliases and the versions that they name.

        They are asked for one by one, since lists of versions come without them, and so does the prompt itself.
        """
        from mlflow.exceptions import MlflowException

        numbers: dict[str, int] = {}
        for alias in ALIASES if self._client.get_prompt(name) is not None else ():
            try:
                version = self._client.get_prompt_version_by_alias(name, alias)
            except MlflowException as e:
                if e.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                continue
            if version is not None:
                numbers[alias] = int(version.version)
        return numbers


def prompt_name(family: str) -> str:
    return f"detent-{family}"
