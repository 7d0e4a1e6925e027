"""``mlflow:NAME@alias`` or ``mlflow:NAME/VERSION``: a prompt of MLflow's registry at ``MLFLOW_TRACKING_URI``; and the
traces of an experiment there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.declaration.foreign_prompt import ForeignPrompt, plain_template, prompt_source, settings_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRACES_AT_ONCE = 100


def _client() -> MlflowClient:
    if not (uri := os.environ.get("MLFLOW_TRACKING_URI")):
        raise InvalidInput("Say where MLflow is: MLFLOW_TRACKING_URI, such as http://127.0.0.1:5000.")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def read_traces(experiment: str) -> Iterator[tuple[str, Mapping[str, Any], None]]:
    """Each trace of the experiment with its name, the oldest first, a page at a time. Raises InvalidInput."""
    from mlflow.exceptions import MlflowException

    client, token = _client(), None
    try:
        named = client.get_experiment_by_name(experiment)
        if named is None:
            raise InvalidInput(f"MLflow has no experiment {experiment!r}. Name one: detent import mlflow:EXPERIMENT.")
        while True:
            page = client.search_traces(
                locations=[named.experiment_id],
                max_results=TRACES_AT_ONCE,
                order_by=["timestamp_ms ASC"],
                page_token=token,
            )
            yield from ((f"trace {trace.info.trace_id}", json.loads(trace.to_json()), None) for trace in page)
            token = page.token
            if not token:
                return
    except MlflowException as error:
        raise InvalidInput(f"MLflow gives no traces of {experiment!r}: {error.message}") from None


@prompt_source()
def mlflow(reference: str) -> ForeignPrompt:
    from mlflow.exceptions import MlflowException

    name, at, alias = reference.partition("@")
    named, slash, version = name.partition("/")
    client = _client()
    try:
        if at:
            prompt = client.get_prompt_version_by_alias(name, alias)
        elif slash:
            prompt = client.get_prompt_version(named, version)
        else:
            prompt = client.get_prompt_version_by_alias(name, "latest")
    except MlflowException as error:
        raise InvalidInput(f"MLflow gives no prompt {reference!r}: {error.message}") from None
    if prompt is None:
        raise InvalidInput(f"MLflow has no prompt {reference!r}. Name one as NAME@alias or NAME/VERSION.")
    template, not_carried = prompt.template, list[str]()
    chat = [{"role": "user", "content": template}] if isinstance(template, str) else template
    settings = dict(prompt.model_config or {})
    if (limit := settings.pop("stop_sequences", None)) is not None:
        settings["stop"] = limit
    model = settings_of(settings, not_carried)
    if prompt.response_format:
        not_carried.append("response_format (write output.parser: json into the file)")
    not_carried += [f"tag {tag}" for tag in prompt.tags or () if not tag.startswith("mlflow.")]
    return ForeignPrompt(
        messages=[{"role": str(m["role"]), "content": plain_template(m["content"], f"of {reference}")} for m in chat],
        model=model,
        description=str(prompt.commit_message or ""),
        not_carried=not_carried,
    )
