"""Where a study is to be seen in MLflow: the page of its run on the server that runs now."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from optimizer.host import run_files

if TYPE_CHECKING:
    from optimizer.core.search.study import Study
    from optimizer.host.config import Settings

WAIT_S = 2.0


def link_of(settings: Settings, study: Study) -> str | None:
    """The address of the study's run; of the list of experiments while it is not mirrored yet.

    None where no MLflow answers.
    """
    base = (settings.mlflow_tracking_uri or _local(settings) or "").rstrip("/")
    if not base.startswith(("http://", "https://")):
        return None
    parts = urlsplit(base)
    shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))  # without a password
    if study.mlflow_run_id is None:
        return f"{shown}/#/experiments"
    experiment = _experiment(base, study.mlflow_run_id, trust_env=settings.mlflow_tracking_uri is not None)
    return None if experiment is None else f"{shown}/#/experiments/{experiment}/runs/{study.mlflow_run_id}"


def _local(settings: Settings) -> str | None:
    run = run_files.find(settings, "mlflow")
    return run.url if run is not None else None


def _experiment(base: str, run: str, *, trust_env: bool) -> str | None:
    import httpx

    try:
        answer = httpx.get(
            f"{base}/api/2.0/mlflow/runs/get", params={"run_id": run}, timeout=WAIT_S, trust_env=trust_env
        )
        return str(answer.json()["run"]["info"]["experiment_id"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
