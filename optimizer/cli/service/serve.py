"""``detent serve`` and ``detent worker``: what runs for longer than a moment."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from optimizer.cli.output import say
from optimizer.core.base.errors import Busy, DetentError, Refused
from optimizer.runtime import wiring

if TYPE_CHECKING:
    from optimizer.adapters.files.family_files import FamilyFiles
    from optimizer.host.config import Settings
    from optimizer.ports import Store
    from optimizer.runtime.supervise import Alarm

RESTARTED = "process_restarted"  # a kind of alert, whose subject is the process


def serve(
    profile: Annotated[
        str | None, typer.Option(help="demo, dev, staging or prod; default: DETENT_PROFILE, else dev.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse to start while a family file is faulty.")] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on; others than loopback need keys.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the API; a taken one moves up to the next free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of the API, which share its port; default: api.workers.")
    ] = None,
    mlflow: Annotated[bool, typer.Option(help="Run the MLflow UI too.")] = True,
) -> None:
    """Run everything, supervised: API, feedback, gateway, worker and MLflow UI. Ctrl-C ends it.

    A process that dies starts again, after half a second at first and at most 30 s where it keeps dying; the address
    stays the same, and requests wait. A second server on the same home is refused (exit 3).

    Examples:
      detent serve
      detent serve --profile prod --strict
      detent serve --no-mlflow --port 9000
      detent serve --workers 4
    """
    from importlib.metadata import version

    from optimizer.cli.service.by_itself import EditNews, News, switched_on
    from optimizer.core.serving.rollout import refuse_other_clock
    from optimizer.host import run_files
    from optimizer.host.config import load_settings
    from optimizer.host.logs import set_up_logs
    from optimizer.jobs.families.check_models import with_unknown_model
    from optimizer.runtime.service_manager import ServiceManager
    from optimizer.runtime.supervise import Supervisor, refuse_open_door, refuse_other_uvicorn

    refuse_other_uvicorn(version("uvicorn"))
    settings = load_settings(profile, host=host, port=port, api={"workers": workers} if workers else None)
    lock = run_files.ProcessLock(settings.run_dir() / "serve")
    lock.acquire_or_refuse(
        "Another server runs on this home", f"End it first, or name another than {settings.home} by DETENT_HOME."
    )
    try:
        set_up_logs(settings, "supervisor", terminal=settings.log_json)
        wiring.load_targets(settings)  # what is faulty in file or environment is said here, before anything runs
        flags = wiring.load_flags()
        wiring.migrate_store(settings)
        store = wiring.open_store(settings)
        with store.read() as tx:
            refuse_open_door(settings.host, has_keys=bool(store.api_keys.all(tx)))
            for rollout in store.rollouts.all_active(tx):
                refuse_other_clock(rollout, settings.clock_scale)
        families = _load_families(settings, store, strict)
        # What began or ended by itself, and what was edited in the files.
        unknown = partial(with_unknown_model, partial(wiring.open_models, settings))
        by_itself, edits = News(store), EditNews(store, families, unknown)
        supervisor = Supervisor(
            settings,
            report=lambda sentence: say(f"{datetime.now():%H:%M:%S}  {sentence}"),
            alarm=alarm_into(store),
            mlflow=mlflow,
            news=lambda: [*by_itself(), *edits()],
            manager=ServiceManager.of_environment(os.environ),
        )
        _close_alarms_of_others(store, supervisor.names)
        say(f"Detent, profile {settings.profile}, home {settings.home}")
        say(f"  Pages       {supervisor.url('api')}/dashboard")
        say(f"  API         {supervisor.url('api')}   (documentation: {supervisor.url('api')}/docs)")
        mlflow_url = supervisor.url("mlflow") or settings.mlflow_tracking_uri
        say(f"  MLflow      {mlflow_url}" if mlflow_url else "  MLflow      not started")
        say(f"  Logs        {settings.log_dir()}")
        if flags.knobs:
            say(f"  Overridden  content pipelines serve their champion with {flags} of the environment", "yellow")
        for line in switched_on(store, list(families.families.values())):
            say(f"  By itself   {line}")
        say("Ctrl-C ends everything.")
        supervisor.run()
        store.close()
    finally:
        lock.release()


def _load_families(settings: Settings, store: Store, strict: bool) -> FamilyFiles:
    """The families as they are, and their files synced with the store.

    A faulty file is reported; under --strict it is refused.
    """
    from optimizer.jobs.families.check_models import unknown_models

    families = wiring.load_families(settings)
    for name, problem in families.problems.items():
        if strict:
            raise Refused(f"--strict: family {name} has a faulty file. {problem.detail}", family=name)
        say(
            f"Family {name} has a faulty file; its last good version serves, if there is one.\n{problem.detail}",
            "yellow",
        )
    models = wiring.open_models(settings, last_good=not strict)
    if models.problem is not None:
        say(f"{models.problem.detail}\nUntil that is corrected, the models are those of the file before.", "yellow")
    for name, family in families.families.items():
        if (unknown := unknown_models(family, models)) is not None:
            if strict:
                raise Refused(f"--strict: {unknown.detail}", family=name)
            say(
                f"{unknown.detail}\nUntil that is corrected, what asks this model fails, and no study of {name}"
                " starts.",
                "yellow",
            )
    for sync in wiring.sync_families(settings, families, store, wiring.open_clock(settings)):
        if sync.promoted or sync.edited:
            say(sync.text)
    if not families.families and not families.problems:
        say(
            f"No families in {settings.families_dir} yet. Make one: detent family create NAME --from prompt.txt"
            " --examples sheet.csv"
        )
    return families


def _close_alarms_of_others(store: Store, names: frozenset[str]) -> None:
    """Of processes that are started no more, as with fewer workers: nothing else would ever close them."""
    with store.read() as tx:
        restarted = {alert.subject for alert in store.alerts.all(tx, open_only=True, kind=RESTARTED)}
    alarm = alarm_into(store)
    for process in restarted - names:
        alarm(process, "")


def alarm_into(store: Store) -> Alarm:
    """Opens and closes the alert ``process_restarted``; returns whether the store took it.

    A store that cannot be written must not stop the supervision.
    """
    import structlog

    from optimizer.jobs.ids import new_id
    from optimizer.ports import Alert

    def alarm(process: str, sentence: str) -> bool:
        now = datetime.now(UTC)
        try:
            if not sentence:
                store.write(lambda tx: store.alerts.close(tx, RESTARTED, None, process, now))
                return True
            alert = Alert(
                id=new_id("al"),
                kind=RESTARTED,
                subject=process,
                level="warning",
                detail=sentence,
                opened_at=now,
            )
            store.write(lambda tx: store.alerts.open(tx, alert))
        except DetentError as error:
            structlog.get_logger("supervisor").warning("alert not written", child=process, error=error.detail)
            return not isinstance(error, Busy)  # what does not pass is not asked again
        return True

    return alarm


def worker(
    wait: Annotated[bool, typer.Option("--wait", help="Stand by until the present worker has ended.")] = False,
) -> None:
    """Run the worker alone: studies, ticks, mirror. Exactly one works per database, and a
    second is refused (exit 3); `detent serve` brings its own.

    Example: detent worker --wait
    """
    import sys

    from optimizer.host.config import load_settings
    from optimizer.host.logs import set_up_logs
    from optimizer.runtime.worker import Worker

    settings = load_settings(as_served=True)
    set_up_logs(settings, "worker")
    wiring.migrate_store(settings)
    Worker(settings).run(
        wait=wait,
        on_wait=lambda pid: say(f"Standing by: the worker with pid {pid} holds the lock."),
        on_ready=lambda: say(f"Worker of {settings.home}, pid {os.getpid()}. Ctrl-C ends it."),
    )
    say("The worker has ended.")
    sys.stderr.flush()
    os._exit(0)  # a search in a thread may compute on for minutes; its journal makes it safe to cut off
