"""Where adapters meet ports: what more than one caller opens, or what takes settings to open. Everything heavy is
imported inside the function that needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from optimizer.core.base.errors import DetentError, Refused
from optimizer.core.serving.access import EVERYTHING, Access

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from optimizer.adapters.files.alert_rule_files import AlertRuleFile
    from optimizer.adapters.files.family_files import FamilyFiles
    from optimizer.adapters.files.secrets import Secrets
    from optimizer.adapters.files.sources import Source
    from optimizer.adapters.files.spool import Spool
    from optimizer.adapters.models.language_models import Models
    from optimizer.adapters.models.user_calls import UserCalls
    from optimizer.content.core.policy.files import PipelineFiles
    from optimizer.content.core.policy.flags import Flags
    from optimizer.core.evaluation.judging.calibration import FittedJudge
    from optimizer.core.evaluation.scoring import Scorer
    from optimizer.core.family.family import Family
    from optimizer.core.feedback.pipeline_record import Target
    from optimizer.core.predictor.student import TaughtStudent
    from optimizer.core.predictor.teaching import TeachingRow
    from optimizer.core.search.strategy import SearchSetting, Strategy
    from optimizer.core.search.study import Study
    from optimizer.core.views.dialogs import TextGroup
    from optimizer.core.views.rollout_story import RolloutReport
    from optimizer.core.views.study_story import StudyReport
    from optimizer.host.config import Settings
    from optimizer.host.run_files import ProcessLock
    from optimizer.jobs.context import Context, JobContext, ServingHealth
    from optimizer.jobs.families.sync_families import FamilySync
    from optimizer.jobs.feedback.ingest_feedback import Intake
    from optimizer.ports import (
        AlertChannel,
        Clock,
        FamilySource,
        ModelSource,
        Pages,
        SealedHoldout,
        ServedModels,
        Store,
        Tracker,
    )

MODELS_WAIT_S = 3.0  # how long to wait for the gateway to read config/models.yaml again
USER_CALLS = "users"  # a file of the run folder that is locked while a user's model call is under way


def open_store(settings: Settings) -> Store:
    """The store as this process reads and writes it. Nothing is opened before the first use."""
    from optimizer.adapters.store import Database

    return cast("Store", Database(settings.db_url()))


def sealed_holdout() -> SealedHoldout:
    """The reader of what is sealed, for a study's run."""
    from optimizer.adapters.store.repositories.examples import HoldoutTable

    return cast("SealedHoldout", HoldoutTable())


def may_write_store(settings: Settings) -> bool:
    """Whether this account may change the store's file, and so everything in it."""
    from optimizer.adapters.store.engine import sqlite_path

    return os.access(sqlite_path(settings.db_url()), os.W_OK)


def worker_lock(settings: Settings) -> ProcessLock:
    """The right to be the worker of the store, which several homes may name."""
    from optimizer.adapters.store.engine import sqlite_path
    from optimizer.host.run_files import ProcessLock

    return ProcessLock(Path(f"{sqlite_path(settings.db_url())}.worker"))


def open_context(
    settings: Settings,
    *,
    actor: str,
    access: Access = EVERYTHING,
    store: Store | None = None,
    clock: Clock | None = None,
    families: FamilySource | None = None,
    not_ready: Callable[[], str | None] = lambda: None,
) -> Context:
    """The Context of a use case. What the process has not open is opened here, and no model before one is asked for.

    A process that answers requests puts what it holds in memory in the place of some ports.

    Args:
        not_ready: what the running server says is wrong with it.
    """
    from optimizer.adapters.files.secrets import KeyFiles
    from optimizer.core.serving.assignment import unit_hmac, verify_token
    from optimizer.core.serving.family_names import definition
    from optimizer.jobs.context import Context

    the_store, the_clock = store or open_store(settings), clock or open_clock(settings)

    @cache  # without arguments: settings hold a dict, so they have no hash
    def files() -> FamilySource:
        files_read = load_families(settings) if families is None else families
        with the_store.read() as tx:
            files_read.former_names = the_store.family_names.former(tx)
        return files_read

    secrets = cache(partial(open_secrets, settings))
    return Context(
        settings=settings,
        store=the_store,
        clock=the_clock,
        actor=actor,
        access=access,
        families=files,
        family=lambda name: definition(name, files().families, files().problems),
        models=lambda: open_models(settings),
        served_models=lambda: served_models(settings),
        scorer_for=scorers(settings),
        loaded_models=lambda wanted: loaded_models(settings, wanted),
        hmac_unit=lambda unit: unit_hmac(secrets().unit_key, unit),
        older_hmacs=lambda unit: [unit_hmac(key, unit) for key in secrets().unit_keys[1:]],
        installation_keys=KeyFiles(settings.var() / "keys", settings.token_keys),
        verify=lambda token: verify_token(token, secrets().token_keys, the_clock.now()),
        environment=lambda champion: load_flags().view(champion),
        pipeline_targets=lambda: load_targets(settings),
        alert_rules=lambda: open_alert_rules(settings).rules(),
        shipped_alert_rules=lambda: open_alert_rules(settings).shipped,
        alert_rules_problem=lambda: open_alert_rules(settings).problem,
        is_worker_running=lambda: worker_lock(settings).is_held(),
        mlflow_link=lambda study: mlflow_link(settings, study),
        serving_health=lambda: health_beside_server(the_store, the_clock, not_ready()),
        learn_student=learn_student,
        fit_judge=fit_judge,
        group_texts=group_texts,
    )


def mlflow_link(settings: Settings, study: Study) -> str | None:
    """Where MLflow shows the study now."""
    from optimizer.adapters.mlflow.connection import link_of

    return link_of(settings, study)


def health_beside_server(store: Store, clock: Clock, not_ready: str | None) -> ServingHealth:
    """The health that a process which serves nothing sees."""
    from optimizer.jobs.context import ServingHealth

    with store.read() as tx:
        _, ticked_at = store.serving_version.read(tx)
    return ServingHealth(
        read_at=clock.now(), ticked_at=ticked_at, fault=store.fault, lock_held=store.lock_held, not_ready=not_ready
    )


def job_context(
    settings: Settings, store: Store, clock: Clock, families: FamilySource, models: ModelSource, *, yields: bool
) -> JobContext:
    """What a queued job runs with.

    Args:
        yields: whether its calls wait for users' calls, as in the worker.
    """
    from optimizer.jobs.context import JobContext

    return JobContext(
        store=store,
        clock=clock,
        families=families,
        models=models,
        scorer_for=scorers(settings),
        users_wait=lambda: yields and users_wait(settings),
        learn_student=learn_student,
    )


def open_spool(settings: Settings) -> Spool:
    """Where this gateway puts records that the store does not take at once; each gateway of a home has its own."""
    from optimizer.adapters.files.spool import SPOOLS, claim

    return claim(settings.var() / SPOOLS)


def user_calls(settings: Settings) -> UserCalls:
    """Marks the calls of a process that answers users."""
    from optimizer.adapters.models.user_calls import UserCalls

    return UserCalls(settings.run_dir() / USER_CALLS)


def users_wait(settings: Settings) -> bool:
    """Whether a user of this home waits for a model now."""
    from optimizer.adapters.models import user_calls

    return user_calls.users_wait(settings.run_dir() / USER_CALLS)


def migrate_store(settings: Settings) -> None:
    """Brings the tables to this version, one process at a time; makes the file where there is none.

    Raises Refused where the settings name a file that does not exist while this home has a store in its usual place.
    """
    import structlog

    from optimizer.adapters.store import Database
    from optimizer.adapters.store.engine import sqlite_path

    path, usual = Path(sqlite_path(settings.db_url())), settings.var() / "detent.db"
    has_store = any(Path(f"{usual}{suffix}").exists() for suffix in ("", ".keyed"))
    if has_store and path.resolve() != usual.resolve() and not (path.exists() and path.stat().st_size):
        raise Refused(
            f"DETENT_DATABASE_URL (database_url) names {path}, where there is no store, and this home has one:"
            f" {usual}. A new one would be empty, so it would serve what the family files say, to everybody and without"
            " keys. Correct the name or leave it out; to begin anew, make another home: detent init DIR."
        )
    settings.run_dir().mkdir(parents=True, exist_ok=True)
    store = Database(settings.db_url())
    try:
        later = store.migrate(lambda: _lock(Path(f"{path}.migrate.lock")))
    finally:
        store.close()
    if later is not None:
        structlog.get_logger(__name__).warning("a later version made the store; it is served as it is", revision=later)


def _lock(file: Path) -> AbstractContextManager[object]:
    from filelock import FileLock  # here, because most starts find nothing to do

    return FileLock(file, timeout=120)


def open_clock(settings: Settings) -> Clock:
    """Real time, and the clock of rollouts, which all processes of a home scale from the same moment."""
    from optimizer.adapters.clock import SystemClock, shared_anchor

    anchor = None
    if settings.simulated_clock:
        settings.run_dir().mkdir(parents=True, exist_ok=True)
        file, lock = settings.var() / "clock.json", settings.run_dir() / "clock.lock"
        anchor = shared_anchor(file, settings.clock_scale, datetime.now(UTC), lock=lock)
    return SystemClock(scale=settings.clock_scale, anchor=anchor)


def load_families(settings: Settings) -> FamilyFiles:
    """The families' files, read once, under the profile's ``family_overrides``."""
    from optimizer.adapters.files.family_files import FamilyFiles
    from optimizer.adapters.models.model_settings import read_sizes_and_places
    from optimizer.jobs.families.family_folders import Folders

    files = FamilyFiles(
        settings.families_dir,
        settings.var() / "last_good",
        settings.family_overrides,
        more=settings.more_families_dirs,
        retired_dir=Folders.of_home(settings).retired,
        models_file=settings.models_file,
        read_models=read_sizes_and_places,
    )
    files.load()
    return files


def sync_families(settings: Settings, families: FamilySource, store: Store, clock: Clock) -> list[FamilySync]:
    """Tells the store what the family files hold; the profile says what an edited file does."""
    from optimizer.jobs.families.sync_families import sync_families

    syncs = sync_families(families.families, store, clock, serve_file_edits=settings.serve_file_edits)
    with store.read() as tx:
        families.former_names = store.family_names.former(tx)
    return syncs


def open_source(
    source: str,
    family: Family,
    columns: Mapping[str, str] | None = None,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    metrics: Path | None = None,
    prompt: str | None = None,
) -> Source:
    """The rows of a file, ``installed-docs``, ``mlflow:EXPERIMENT`` or ``langfuse:PROMPT``, for the import job."""
    from optimizer.adapters.files import sources

    system, colon, name = source.partition(":")
    if colon and system == "mlflow":
        from optimizer.adapters.prompt_sources.mlflow import read_traces

        return sources.Source(curated=False, events=sources.trace_events(read_traces(name), family, prompt))
    if colon and system == "langfuse":
        from optimizer.adapters.prompt_sources.langfuse import read_generations, read_scores
        from optimizer.core.feedback.langfuse_rows import ASSIGNMENT

        generations = read_generations([ASSIGNMENT, *family.inputs])
        events = sources.langfuse_events(generations, read_scores(), family, name or family.name)
        return sources.Source(curated=False, events=events)
    return sources.open_source(
        source, family, columns, encoding=encoding, delimiter=delimiter, metrics=metrics, prompt=prompt
    )


def read_pipeline_files(path: Path) -> PipelineFiles:
    """The content pipeline's own files: one, or all of a folder."""
    from optimizer.content.adapters.content_files import read_file, read_folder

    return read_folder(path) if path.is_dir() else read_file(path)


def load_flags() -> Flags:
    """The content pipeline's flags in this process's environment.

    Raises InvalidInput, which names every variable that cannot be read.
    """
    from optimizer.content.core.policy.flags import read_flags

    return read_flags(os.environ)


def load_targets(settings: Settings) -> Mapping[str, Target]:
    """The targets of the content pipeline's figures: those of monitoring.yaml where it exists, else the built-in ones.

    Raises:
        InvalidInput: every fault of the file, with its line.
    """
    from optimizer.content.adapters.content_files import read_levels
    from optimizer.core.feedback.pipeline_record import TARGETS

    return {**TARGETS, **read_levels(settings.monitoring_file)} if settings.monitoring_file.is_file() else TARGETS


def open_alert_rules(settings: Settings, *, watches: bool = False) -> AlertRuleFile:
    """The rules of the home's config/alert_rules.yaml, else those that come along; ``watches``: for the worker."""
    last_good = settings.var() / "last_good" / "alert_rules" / "alert_rules.yaml"
    return _open_alert_rules(settings.alert_rules_file, last_good, watches)


@lru_cache(maxsize=8)
def _open_alert_rules(file: Path, last_good: Path, watches: bool) -> AlertRuleFile:
    """Kept, since to read the file takes a page as long as all else on it; it is looked at for changes each time."""
    from optimizer.adapters.files.alert_rule_files import AlertRuleFile
    from optimizer.jobs.families.shipped_files import SHIPPED_HOME

    return AlertRuleFile(file, SHIPPED_HOME / "config" / "alert_rules.yaml", last_good, watches=watches)


def open_channels(settings: Settings) -> list[AlertChannel]:
    """The alert channels that have an address. No connection is made before the first message."""
    from optimizer.adapters import webhooks

    addresses = (
        (webhooks.slack, settings.alert_slack_webhook),
        (webhooks.discord, settings.alert_discord_webhook),
    )
    installation = f"Detent, profile {settings.profile}"
    return [
        channel(address, installation, settings.public_url) for channel, address in addresses if address is not None
    ]


def open_models(settings: Settings, *, last_good: bool = False) -> Models:
    """The models that config/models.yaml names. No model is loaded before the first call.

    Args:
        last_good: True for what serves: the file's last good text is kept, and used while the file cannot be read.
    """
    from optimizer.adapters.models.language_models import Models

    last_good_file = settings.var() / "last_good" / "models" / "models.yaml" if last_good else None
    return Models(settings.models_file, settings.run_dir(), last_good_file)


class CurrentModels:
    """The models of the file for what serves, as the file says whenever they are asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._lock = settings, Lock()
        self._models: Models | None = None

    def __call__(self) -> Models:
        with self._lock:
            if self._models is None:
                self._models = open_models(self._settings, last_good=True)
            else:
                self._models.refresh()
            return self._models


def loaded_models(settings: Settings, wanted: Collection[str] = ()) -> Mapping[str, str] | None:
    """The models that the running gateway knows, with a digest of each one's settings; None where no gateway runs.

    The gateway reads config/models.yaml again soon after a change. Where it does not know ``wanted`` yet, this waits.
    """
    from time import monotonic, sleep

    from optimizer.host.run_files import note

    until = monotonic() + MODELS_WAIT_S
    while True:
        gateway_models = cast("Mapping[str, str] | None", note(settings, "gateway", "models"))
        if gateway_models is None or gateway_models.keys() >= set(wanted) or monotonic() >= until:
            return gateway_models
        sleep(0.1)


def served_models(settings: Settings) -> ServedModels:
    """The same without a wait, and without a refusal where the file has faults."""
    from optimizer.ports import ServedModels

    try:
        models = open_models(settings, last_good=True)
    except (DetentError, OSError):
        models = None
    return ServedModels(catalogue=models, loaded=loaded_models(settings))


def open_scorer(family: Family, settings: Settings) -> Scorer:
    """The family's scorer. Metrics of the user's own are looked for in the home folder last."""
    from optimizer.adapters.text_metrics import build_scorer

    return build_scorer(family, settings.home)


def scorers(settings: Settings) -> Callable[[Family], Scorer]:
    """``open_scorer`` with the settings filled in, as jobs need it."""
    return lambda family: open_scorer(family, settings)


def classify(texts: Sequence[str], labels: Sequence[str], unlabelled: Sequence[str]) -> Sequence[str]:
    """A label for each of ``unlabelled``, learned without a model."""
    from optimizer.adapters.predictors.texts import classify

    return classify(texts, labels, unlabelled)


def learn_student(rows: Sequence[TeachingRow], *, trained_on: Mapping[str, Any]) -> TaughtStudent:
    """A student that these rows taught."""
    from optimizer.adapters.predictors.student_learning import learn_student

    return learn_student(rows, trained_on=trained_on)


def group_texts(texts: Sequence[str]) -> Sequence[TextGroup]:
    """Texts that are alike. It takes processor time and scikit-learn, so what asks it is read apart from the api."""
    from optimizer.adapters.predictors.texts import group_texts

    return group_texts(texts)


def fit_judge(scores: Sequence[float], ratings: Sequence[float], groups: Sequence[str], passes: float) -> FittedJudge:
    """The map from a judge's scores to people's ratings, and how good it is."""
    from optimizer.adapters.predictors.judge_agreement import fit_judge

    return fit_judge(scores, ratings, groups, passes)


def open_tracker(settings: Settings) -> Tracker:
    """MLflow at the configured address, else in the home's own database file."""
    from optimizer.adapters.mlflow.tracking import MlflowTracker

    if settings.mlflow_tracking_uri is None:  # it is shown below the dashboard
        return MlflowTracker(settings.tracking_uri(), "../studies")
    studies_at = f"{settings.public_url}/dashboard/studies" if settings.public_url else None
    return MlflowTracker(settings.tracking_uri(), studies_at=studies_at)


def rollout_page(report: RolloutReport) -> str:
    """A rollout's report as one HTML page that needs no network."""
    from optimizer.adapters.reports import rollout_plots

    return rollout_plots.rollout_page(report)


def study_page(report: StudyReport) -> str:
    """A study's report as one HTML page that needs no network."""
    from optimizer.adapters.reports import study_report

    return study_report.study_page(report)


def mirrored_pages(families: Mapping[str, Family], store: Store, clock: Clock) -> Pages:
    """Puts the pages that ``detent study report`` and ``detent rollout report`` write into MLflow."""
    from optimizer.jobs.rollouts.verify_rollout import report_rollout
    from optimizer.jobs.studies.report_study import report_study
    from optimizer.ports import Pages

    return Pages(
        study=lambda study: study_page(
            report_study(study, family=families.get(study.family), store=store, clock=clock)
        ),
        rollout=lambda rollout: rollout_page(report_rollout(rollout.id, store=store, clock=clock)),
    )


def open_secrets(settings: Settings) -> Secrets:
    """The keys of tokens and of units' HMACs; makes them under var/keys (mode 600) where there are none."""
    from optimizer.adapters.files.secrets import Secrets

    return Secrets.load(settings.var() / "keys", settings.token_keys)


def open_intake(settings: Settings, store: Store, clock: Clock, families: FamilySource, *, actor: str) -> Intake:
    """Takes events from someone at this machine, who may report anything."""
    from optimizer.jobs.feedback.ingest_feedback import intake_of

    return intake_of(open_context(settings, actor=actor, store=store, clock=clock, families=families))


def strategy_for(name: str, setting: SearchSetting) -> Strategy:
    """The strategy of one word of a study. Raises InvalidInput for an unknown word."""
    from optimizer.core.search.strategy import STRATEGIES, check_strategy

    (word,) = check_strategy(name)
    return STRATEGIES[word].make(setting)
