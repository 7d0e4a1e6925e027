"""The last page of the demo: what happened, what to open, what to try next, and what the same costs on a model of one's own."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from optimizer.cli.study_run import read_definition
from optimizer.core.family import Family
from optimizer.demo.place import Place
from optimizer.demo.price import EXAMPLE_MODEL, dry_run
from optimizer.demo.rollouts import Rollouts
from optimizer.demo.screen import Screen
from optimizer.demo.servers import Servers
from optimizer.demo.studies import Searched
from optimizer.jobs.mirror_outbox import TOPICS
from optimizer.ports import Clock, Store

MIRRORED_WITHIN_S = 60.0


def say_ending(
    screen: Screen,
    *,
    place: Place,
    servers: Servers,
    store: Store,
    clock: Clock,
    families: Mapping[str, Family],
    studies: Mapping[str, Searched],
    rollouts: Rollouts,
    cascade: str,
) -> None:
    """A dozen lines; waits first until MLflow has everything."""
    backlog = _wait_for_mirror(store)
    screen.step("What happened")
    for searched in studies.values():
        study, confirmation = searched.study, searched.study.confirmation or {}
        figures = "not confirmed, since nothing was better on dev"
        if "winner_mean" in confirmation:
            figures = (
                f"{confirmation['champion_mean']:.3f} to {confirmation['winner_mean']:.3f} on {confirmation['n']} sealed documents, "
                f"95 % interval of the lift {confirmation['lift_low']:+.3f} to {confirmation['lift_high']:+.3f}, p {confirmation['p']:.2g}"
            )
        screen.say(f"  {study.family}: {(study.outcome or study.status).replace('_', ' ')}; {figures}")
    for family in rollouts.ids:
        how = "started as FORCED, without a nomination" if family in rollouts.forced else "started on a nomination"
        screen.say(f"  {family}: rollout {rollouts.ids[family]} {how}; {rollouts.outcome(family)}")
    screen.say(f"  {cascade}")
    fresh = rollouts.n_visits - rollouts.n_from_journal
    screen.say(
        f"  Traffic of the rollouts: {rollouts.n_visits} requests, {rollouts.n_from_journal} answered from the journal, {fresh} by the model"
    )
    behind = f", {backlog} items not yet in MLflow (they are sent when it answers)" if backlog else ""
    screen.say(f"  Time: {screen.elapsed()} ({_times(screen)}){behind}")
    _say_addresses(screen, servers, studies)
    home = f"DETENT_HOME={place.settings.home} " if place.why else ""
    detent = home + _command()
    family = next(iter(studies))
    screen.say("Try next:", "bold")
    screen.say(f"  {detent} serve --profile demo                 the same servers again, everything is kept")
    searched_by = studies[family].study.id
    screen.say(f"  {detent} study show {searched_by}        {detent} rollout log {family}        {detent} variant list {family}")
    _say_own(screen, place, families, studies, store, clock)


def _say_addresses(screen: Screen, servers: Servers, studies: Mapping[str, Searched]) -> None:
    screen.say(
        "Open while the servers run (they stop with the demo, unless it was started with --keep; the first command below starts them again):",
        "bold",
    )
    screen.say(f"  API documentation  {servers.url('api')}/docs")
    mlflow = servers.url("mlflow")
    for family, searched in studies.items():
        page = _study_page(mlflow, searched.study.id, family) if mlflow else None
        screen.say(f"  MLflow, {family}: {page or 'the server was not ready yet; see `detent status`'}")


def _study_page(mlflow: str, study: str, family: str) -> str | None:
    """Address of the study's run, as MLflow finds it by its tag."""
    with httpx.Client(base_url=mlflow, timeout=15.0, trust_env=False) as client:
        try:
            found = client.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": f"detent/{family}"})
            experiment = found.raise_for_status().json()["experiment"]["experiment_id"]
            where = f"tags.`detent.study` = '{study}' and tags.`detent.kind` = 'study'"
            runs = client.post("/api/2.0/mlflow/runs/search", json={"experiment_ids": [experiment], "filter": where})
            run = runs.raise_for_status().json()["runs"][0]["info"]["run_id"]
        except (httpx.HTTPError, KeyError, IndexError, ValueError):
            return None
    return f"{mlflow}/#/experiments/{experiment}/runs/{run}"


def _say_own(
    screen: Screen, place: Place, families: Mapping[str, Family], studies: Mapping[str, Searched], store: Store, clock: Clock
) -> None:
    screen.say("The same on your own model and file (name the model in config/models.yaml):", "bold")
    screen.say(f"  {_command()} family create mine --from prompt.txt --examples sheet.csv --model gpt-4o-mini")
    screen.say(f"  {_command()} study run mine --definition experiments/demo.yaml --budget-usd 1 --dry-run")
    name = next(iter(studies))
    estimated = dry_run(families[name], read_definition(place.definition), store=store, clock=clock)
    if estimated is not None and estimated[0].usd is not None:
        estimate, price = estimated
        usd = estimate.usd
        assert usd is not None
        screen.say(
            f"  Dry run of this demo's study of {name} on {EXAMPLE_MODEL} (${price.input_usd_per_mtok:g} and ${price.output_usd_per_mtok:g} per million "
            f"tokens in and out): ${usd.expected:.3f} expected, ${usd.low:.3f} to ${usd.high:.3f}, {estimate.calls.expected:.0f} calls"
        )


def _command() -> str:
    """``detent`` as the reader has to type it here: the environment that make builds is not on the path."""
    return "detent" if shutil.which("detent") else os.path.relpath(Path(sys.executable).with_name("detent"))


def _wait_for_mirror(store: Store) -> int:
    """What is still unsent after a while; 0 when MLflow has everything."""
    deadline = time.monotonic() + MIRRORED_WITHIN_S
    while True:
        with store.read() as tx:
            backlog = store.outbox.backlog(tx, topics=TOPICS)
        if backlog == 0 or time.monotonic() > deadline:
            return backlog
        time.sleep(0.5)


def _times(screen: Screen) -> str:
    return ", ".join(f"step {n} {seconds:.0f} s" for n, seconds in enumerate(screen.seconds.values(), start=1))
