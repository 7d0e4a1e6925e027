"""The worker: exactly one per database.

It ticks, runs studies as DBOS workflows, mirrors to MLflow, rolls up, and watches champions. Each duty has a thread of
its own, so that the tick goes on while a search computes or MLflow hangs. DBOS records which studies have begun: after
a kill -9 the next worker continues them, and the study's journal answers what was asked before. Heavy libraries are
imported when the first study or mirror needs them, after the first tick.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType

import structlog

from optimizer.content.jobs.keep_environment_override import keep_environment_override
from optimizer.content.jobs.watch_pipeline import watch_pipeline
from optimizer.core.base.errors import StudyStopped
from optimizer.core.evaluation.run import QueuedRun
from optimizer.core.family.family import Family
from optimizer.core.rollout.champion_limits import ChampionLimits
from optimizer.core.views.forgetting import ForgetRun
from optimizer.host import run_files
from optimizer.host.config import Settings
from optimizer.host.memory import drop_cached
from optimizer.host.tracing import TRACING
from optimizer.jobs.champions.drill_rollback import drill_rollback, is_due
from optimizer.jobs.champions.watch_champion import watch_champion
from optimizer.jobs.champions.watch_limits import watch_limits
from optimizer.jobs.champions.watch_rules import HomeFigures, RuleWatcher, tell_faulty_file
from optimizer.jobs.champions.watch_students import watch_students
from optimizer.jobs.champions.watch_switch import SwitchWatcher
from optimizer.jobs.families.check_models import watch_retirements
from optimizer.jobs.families.each_family import each_family
from optimizer.jobs.families.tell_faulty_families import tell_faulty_families
from optimizer.jobs.feedback import collect_reviews
from optimizer.jobs.feedback.judge_traffic import monitor_traffic
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes, roll_up_performance, roll_up_traffic
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.mirror_outbox import mirror_once, ready
from optimizer.jobs.outbox.send_alerts import send_alerts
from optimizer.jobs.rollouts.tick import tick
from optimizer.jobs.runs.carry_out_run import carry_out_run
from optimizer.jobs.scheduling.hand_on_candidates import hand_on_candidates
from optimizer.jobs.scheduling.trigger_studies import trigger_studies
from optimizer.jobs.studies.read_spending import left_this_month
from optimizer.jobs.upkeep.check_store import check_store
from optimizer.jobs.upkeep.forget_person import carry_out_forgetting, waits_for
from optimizer.jobs.upkeep.prune_records import prune_records
from optimizer.jobs.upkeep.read_retention import retentions
from optimizer.ports import Alert, Tracker
from optimizer.runtime import wiring
from optimizer.runtime.personal_home import forgetting_home
from optimizer.runtime.store_health import StoreHealth
from optimizer.runtime.study_workflows import StudyWorkflows

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0  # between two looks for queued work and changed family files
END_SECONDS = 0.5  # between two looks at whether the worker shall end
MIRROR_SECONDS = 2.0
ALERTS_SECONDS = 2.0
STORE_SECONDS = 2.0
STORE_PAGES_SECONDS = 60.0  # the shortest time between two reads of the whole file
PIPELINE_SECONDS = 60.0
# Loading MLflow takes three seconds of CPU, which a service that has just started needs for its users.
MLFLOW_AFTER_SECONDS = 10.0
ALIASES_SECONDS = 60.0  # between two looks at MLflow while there is nothing to send
ROLL_UP_SECONDS = 60.0
ROLL_UP_REST = 49.0  # it rests for so many times as long as it took, so it uses at most a fiftieth of one processor
MINUTES_SECONDS = 20.0
RESTARTS_OF_S = 3600.0  # for which a restart is counted by a rule
CHAMPIONS_SECONDS = 60.0
STUDENTS_SECONDS = 20.0
TRIGGERS_SECONDS = 300.0
DRILL_SECONDS = 60.0  # between two looks at whether a drill is due
REVIEWS_SECONDS = 300.0  # between two looks for answers in doubt that are due for review
JUDGE_SECONDS = 60.0  # between two looks for answers of live traffic that a judge should score
RETIREMENTS_SECONDS = 3600.0
PURGE_SECONDS = 3600.0
PRUNE_SECONDS = 24 * 3600.0
PRUNE_PAUSE_S = 0.05  # between two batches, in which other processes can write
AGAIN_SECONDS = 60.0  # the longest time until a duty that failed is tried again
RUN_PAUSE_SECONDS = 600.0  # the longest time until a run that failed is tried again
STILL_FAILING = object()  # a duty returns it while a part of it that failed waits: its alert stays open
FAILED = "worker_duty_failed"
# They read texts, and send them or write them down later: none is under way while a person is forgotten.
HOLD_TEXTS = ("mirror", "rehearsal", "judge")


class Worker:
    """Holds the lock for as long as it lives. ``run`` returns after SIGTERM, SIGINT or ``stop()``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = wiring.worker_lock(settings)
        self._end = threading.Event()
        self._tracker: Tracker | None = None
        self._open_models = wiring.CurrentModels(settings)
        self._mlflow_from = time.monotonic() + MLFLOW_AFTER_SECONDS
        self._aliases_due = 0.0  # monotonic seconds
        self._roll_up_from = 0.0  # monotonic seconds
        self._studies: StudyWorkflows | None = None
        self._studies_from = 0.0  # monotonic seconds
        self._is_synced = False  # whether the store knows what the families' files hold
        self._under_way: set[str] = set()  # studies, at the last look
        self._run_pauses: dict[str, tuple[float, float]] = {}  # of failed runs: seconds, and their end (monotonic)
        self._of_texts = {duty: threading.Lock() for duty in HOLD_TEXTS}
        self._forgets = threading.Event()  # a forgetting is under way, or waits only for those duties
        self._handing_on = threading.Lock()  # two duties hand candidates on: a regular one, and the end of a study

    def run(
        self,
        *,
        wait: bool = True,
        on_wait: Callable[[int | None], object] | None = None,
        on_ready: Callable[[], object] | None = None,
    ) -> None:
        """Does the worker's duties until it is told to end.

        Args:
            wait: stand by until the lock is free; with False, raises Refused, which names the holder.
            on_wait: called once with the holder's pid, before it stands by.
            on_ready: called once the lock is held and the duties have begun.
        """
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._end_on_signal)
        if not self._take_lock(wait, on_wait):
            return
        self._open()
        self._duties = [
            self._thread("tick", self._tick, self._settings.tick_seconds),
            self._thread("mirror", self._mirror, MIRROR_SECONDS),
            self._thread(
                "alerts",
                lambda: send_alerts(
                    self._store,
                    self._channels,
                    self._clock,
                    least=self._settings.alert_level,
                    rules=self._rules.rules(),
                    public_url=self._settings.public_url,
                ),
                ALERTS_SECONDS,
            ),
            self._thread("pipeline", self._watch_pipeline, PIPELINE_SECONDS),
            self._thread("store", self._health.look, STORE_SECONDS),
            self._thread(
                "store pages", lambda: check_store(self._store, self._clock, self._end.wait), STORE_PAGES_SECONDS
            ),
            self._thread("prune", self._prune, PRUNE_SECONDS),
            self._thread("roll-up", self._roll_up, ROLL_UP_SECONDS),
            self._thread("minutes", self._roll_up_minutes, MINUTES_SECONDS),
            self._thread("traffic", lambda: roll_up_traffic(self._store, self._clock), MINUTES_SECONDS),
            self._thread(
                "champions",
                lambda: watch_champion(self._store, self._clock, self._families.families, self._rules.rules()),
                CHAMPIONS_SECONDS,
            ),
            self._thread(
                "students",
                lambda: watch_students(self._store, self._clock, self._families.families, self._open_models),
                STUDENTS_SECONDS,
            ),
            self._thread("switches", lambda: self._switches.look(self._families.families), self._settings.tick_seconds),
            self._thread("rehearsal", self._drill, DRILL_SECONDS),
            self._thread("triggers", self._trigger, TRIGGERS_SECONDS),
            self._thread("reviews", self._collect_reviews, REVIEWS_SECONDS),
            self._thread("judge", self._monitor_traffic, JUDGE_SECONDS),
            self._thread("runs", self._carry_out_runs, LOOK_SECONDS),
            self._thread("retirements", self._watch_retirements, RETIREMENTS_SECONDS),
        ]
        run_files.announce_soon(self._settings, "worker")
        if on_ready is not None:
            on_ready()
        self._duties.append(self._thread("studies", self._look_around, LOOK_SECONDS))
        while not self._end.is_set():  # `wait` would hold the lock that a signal's `set` may need
            time.sleep(END_SECONDS)
        for duty in self._duties:
            duty.join(timeout=2)
        self._health.close()
        self._store.close()
        run_files.withdraw(self._settings, "worker")
        self._lock.release()

    def _open(self) -> None:
        """Opens what the duties share; their lock is held."""
        self._store = wiring.open_store(self._settings)
        self._health = StoreHealth(self._settings, self._store)
        self._clock = wiring.open_clock(self._settings)
        self._switches = SwitchWatcher(self._store, self._clock)
        self._families = wiring.load_families(self._settings)
        context = wiring.open_context(
            self._settings, actor="system", store=self._store, clock=self._clock, families=self._families
        )
        self._context = replace(context, models=self._open_models)
        self._targets = wiring.load_targets(self._settings)
        self._flags = wiring.load_flags()
        self._channels = wiring.open_channels(self._settings)
        self._rules = wiring.open_alert_rules(self._settings, watches=True)
        self._rule_watcher = RuleWatcher(self._store, self._clock)
        alarms = self._settings.alarms
        self._limits = ChampionLimits(error_share=alarms.error_share, silence_minutes=alarms.silence_minutes)

    def stop(self) -> None:
        self._end.set()

    def _end_on_signal(self, number: int, _frame: FrameType | None) -> None:
        log.info("ending", signal=number)
        self._end.set()

    def _take_lock(self, wait: bool, on_wait: Callable[[int | None], object] | None) -> bool:
        if not wait:
            self._lock.acquire_or_refuse(
                f"Another worker serves this database, {self._settings.db_url()}",
                "There is exactly one; `detent worker --wait` stands by until it has ended.",
            )
            return True
        if self._lock.acquire():
            return True
        log.info("standing by", holder=self._lock.holder())
        if on_wait is not None:
            on_wait(self._lock.holder())
        while not self._end.is_set():
            if self._lock.acquire(timeout_s=0.5):
                return True
        return False

    def _thread(self, name: str, duty: Callable[[], object], every_s: float) -> threading.Thread:
        """Runs ``duty`` every so often.

        An error is logged, and alerted until the duty works again; a rare duty is tried again soon. An error does not
        end the other duties.
        """

        def loop() -> None:
            may_be_open = True  # an alert on this duty may be open, from this worker or an earlier one
            while not self._end.is_set():
                began, pause_s = time.monotonic(), every_s
                try:
                    with self._of_texts.get(name) or nullcontext():
                        is_failing = duty() is STILL_FAILING
                    if may_be_open and not is_failing:
                        self._store.write(
                            lambda tx: self._store.alerts.close(tx, FAILED, None, name, datetime.now(UTC))
                        )
                        may_be_open = False
                except Exception as error:  # a failed round must not end the leases of all rollouts
                    if self._end.is_set():  # the store closes under a duty that outlasts the end
                        log.info("duty cut short", duty=name, error=str(error))
                        return
                    log.exception("duty failed", duty=name)
                    self._alert(name, error)
                    may_be_open, pause_s = True, min(every_s, AGAIN_SECONDS)
                self._end.wait(max(0.05, pause_s - (time.monotonic() - began)))

        thread = threading.Thread(target=loop, name=name, daemon=True)
        thread.start()
        return thread

    def _alert(self, duty: str, error: Exception) -> None:
        alert = Alert(
            id=new_id("al"),
            kind=FAILED,
            subject=duty,
            level="warning",
            opened_at=datetime.now(UTC),
            detail=(
                f"The worker's duty {duty!r} failed: {error}. It goes on trying; var/logs/worker.log has the whole"
                " story."
            ),
        )
        try:
            self._store.write(lambda tx: self._store.alerts.open(tx, alert))
        except Exception:
            log.exception("alert not written", duty=duty)

    def _tick(self) -> None:
        with TRACING.span("tick"):
            report = tick(self._store, self._clock, self._settings.lease_seconds)
        if report.done or report.overtaken:
            log.debug("tick", at=report.at, done=report.done, overtaken=report.overtaken)

    def _look_around(self) -> object:
        if self._families.changed():
            self._families.load()
            self._is_synced = False
        if not self._is_synced:
            for sync in wiring.sync_families(self._settings, self._families, self._store, self._clock):
                log.info(
                    "family synced",
                    family=sync.family,
                    champion=sync.champion,
                    edited=sync.edited,
                    promoted=sync.promoted,
                )
            self._is_synced = True
        if self._studies is None:
            if time.monotonic() < self._studies_from:
                return STILL_FAILING
            self._studies_from = time.monotonic() + AGAIN_SECONDS
            # Not before the duties begin: its file may be broken, or the disk full, which must end no other duty.
            self._studies = StudyWorkflows(self._settings, self._store, self._clock, self._families)
            self._duties.append(self._thread("purge", self._studies.purge, PURGE_SECONDS))
        with self._store.read() as tx:
            unfinished = self._store.studies.unfinished(tx)
        self._studies.take_up(unfinished)
        ended, self._under_way = (
            self._under_way - {study.id for study in unfinished},
            {study.id for study in unfinished},
        )
        if ended:
            self._hand_on()
        return None

    def _mirror(self) -> None:
        """Sends everything that is due, then looks at the aliases every so often.

        MLflow is opened only when there is something to send, and not at once.
        """
        if self._tracker is None and time.monotonic() < self._mlflow_from:
            return
        now = self._clock.now()
        with self._store.read() as tx:
            is_due = bool(ready(tx, self._store, now))
        if not is_due and (self._tracker is None or time.monotonic() < self._aliases_due):
            return
        families = self._families.families
        pages = wiring.mirrored_pages(families, self._store, self._clock)
        names = {**dict.fromkeys(self._families.problems), **families}  # a family whose file has a fault still exists
        mirror_once(self._store, self._open_tracker, self._clock, names, pages)
        self._aliases_due = time.monotonic() + ALIASES_SECONDS

    def _open_tracker(self) -> Tracker:
        self._tracker = self._tracker or wiring.open_tracker(self._settings)
        return self._tracker

    def _watch_retirements(self) -> None:
        watch_retirements(self._store, self._clock, list(self._families.families.values()), self._open_models())

    def _watch_pipeline(self) -> None:
        keep_environment_override(self._store, self._clock, list(self._families.families.values()), self._flags)
        watch_pipeline(self._store, self._clock, self._targets)

    def _prune(self) -> None:
        files = self._families
        retention, unpruned = retentions(
            self._store,
            self._clock,
            {**files.retired(), **files.families},
            files.problems,
            pipeline_days=self._settings.pipeline_retain_days,
        )
        for family_left in unpruned:
            log.warning("not pruned", family=family_left.family, why=family_left.why)
        for pruned in prune_records(
            self._store, self._clock, retention, pause=lambda: self._end.wait(PRUNE_PAUSE_S)
        ).items:
            if pruned.n:
                log.info("pruned", rows=pruned.rows, family=pruned.family, n=pruned.n)

    def _roll_up(self) -> None:
        """Sums up every event of two days. On a busy day that takes long, so it then rests for longer."""
        if time.monotonic() < self._roll_up_from:
            return
        began_at = time.monotonic()
        roll_up_performance(store=self._store, clock=self._clock)
        ended_at = time.monotonic()
        self._roll_up_from = ended_at + ROLL_UP_REST * (ended_at - began_at)

    def _roll_up_minutes(self) -> None:
        roll_up_minutes(self._store, self._clock)
        families = dict(self._families.families)
        watch_limits(self._store, self._clock, families, self._limits)
        rules = self._rules.rules()
        problem = self._rules.problem
        tell_faulty_file(self._store, self._clock, problem.detail if problem is not None else None)
        tell_faulty_families(self._store, self._clock, self._families.problems)
        disk = shutil.disk_usage(self._settings.var())
        restarts, now = run_files.note(self._settings, "serve", "restarts"), time.time()
        figures = HomeFigures(
            disk=disk.used / (disk.used + disk.free),
            all_usd=self._settings.usd_per_month,
            restarts=None if restarts is None else [name for at, name, *_ in restarts if now - at < RESTARTS_OF_S],
        )
        self._rule_watcher.look(families, rules, figures)

    def _trigger(self) -> None:
        """Starts studies that are due. Candidates come first: while a rollout is under way no study
        starts by itself.
        """
        try:
            self._hand_on()
        finally:
            trigger_studies(self._context)

    def _hand_on(self) -> None:
        with self._handing_on:
            hand_on_candidates(self._store, self._clock, self._families, self._context.scorer_for)

    def _drill(self) -> None:
        def drill(family: Family) -> None:
            if is_due(family, store=self._store, clock=self._clock):
                outcome = drill_rollback(family, store=self._store, clock=self._clock, models=self._open_models())
                log.info("rollback drill ended", family=family.name, outcome=outcome)

        each_family(dict(self._families.families), drill)

    def _collect_reviews(self) -> None:
        def collect(family: Family) -> None:
            if collect_reviews.is_due(family, store=self._store, clock=self._clock):
                collect_reviews.collect_reviews(family, store=self._store, clock=self._clock)

        each_family(dict(self._families.families), collect)

    def _monitor_traffic(self) -> None:
        def users_wait() -> bool:
            if self._forgets.is_set():  # which users who wait all the time would keep from beginning
                raise StudyStopped("A person is being forgotten.")
            return wiring.users_wait(self._settings)

        def monitor(family: Family) -> None:
            if family.judge is not None and family.judge.monitor.share > 0 and not self._forgets.is_set():
                intake = wiring.open_intake(
                    self._settings, self._store, self._clock, self._families, actor="system:judge"
                )
                with self._store.read() as tx:
                    month = left_this_month(tx, self._context, family)
                monitor_traffic(
                    family,
                    month=month,
                    store=self._store,
                    clock=self._clock,
                    models=self._open_models(),
                    intake=intake,
                    users_wait=users_wait,
                )

        each_family(dict(self._families.families), monitor)

    def _carry_out_runs(self) -> object:
        """Carries out queued runs, one after the other; continues one that a killed worker left.

        Raises what kept a run from its end, once the others had their turn. That run waits longer each time: a
        forgetting for which the disk has no room would search everything again, and fill the disk, every second.
        """
        with self._store.read() as tx:
            unfinished = self._store.runs.unfinished(tx)
        ids = {run.id for run in unfinished}
        self._run_pauses = {id: pause for id, pause in self._run_pauses.items() if id in ids}
        faults: list[Exception] = []
        for run in unfinished:
            pause_s, ends_at = self._run_pauses.get(run.id, (LOOK_SECONDS, 0.0))
            if time.monotonic() < ends_at and not run.stop_requested:
                continue
            try:
                self._carry_out(run)
                self._run_pauses.pop(run.id, None)
            except Exception as fault:
                pause_s = min(2 * pause_s, RUN_PAUSE_SECONDS)
                self._run_pauses[run.id] = pause_s, time.monotonic() + pause_s
                log.warning("run will be tried again", run=run.id, fault=type(fault).__name__, pause_s=pause_s)
                faults.append(fault)
        if faults:
            raise faults[0]
        return STILL_FAILING if self._run_pauses else None

    def _carry_out(self, run: QueuedRun) -> None:
        if isinstance(run, ForgetRun):
            self._forget(run)
            return
        carry_out_run(
            run.id,
            wiring.job_context(
                self._settings, self._store, self._clock, self._families, self._open_models(), yields=True
            ),
            intake_of=lambda actor: wiring.open_intake(
                self._settings, self._store, self._clock, self._families, actor=actor
            ),
            classify=wiring.classify,
        )

    def _forget(self, run: ForgetRun) -> None:
        with self._store.read() as tx:
            if waits_for(tx, self._store, run) is not None:
                return
        home = forgetting_home(self._settings, self._store, self._clock, self._families)
        with ExitStack() as alone:
            if not run.request["dry_run"]:
                self._forgets.set()
                alone.callback(self._forgets.clear)
                for lock in self._of_texts.values():
                    alone.enter_context(lock)
            has_ended = carry_out_forgetting(run.id, home).has_ended
        if has_ended:
            self._store.unit_counts.forget_all()
            drop_cached()
