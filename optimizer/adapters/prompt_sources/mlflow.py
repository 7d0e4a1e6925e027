"""``mlflow:NAME@alias`` or ``mlflow:NAME/VERSION``: a prompt of MLflow's registry at ``MLFLOW_TRACKING_URI``."""

from __future__ import annotations

import os

from optimizer.core.base.errors import InvalidInput
from optimizer.core.declaration.foreign_prompt import ForeignPrompt, plain_template, prompt_source, settings_of


@prompt_source()
def mlflow(reference: str) -> ForeignPrompt:
    if not (uri := os.environ.get("MLFLOW_TRACKING_URI")):
        raise InvalidInput("Say where MLflow is: MLFLOW_TRACKING_URI, such as http://127.0.0.1:5000.")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    name, at, alias = reference.partition("@")
    named, slash, version = name.partition("/")
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
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
        messages=[
            {"role": str(m["role"]), "content": plain_template(str(m["content"]), f"of {reference}")} for m in chat
        ],
        model=model,
        description=str(prompt.commit_message or ""),
        not_carried=not_carried,
    )
