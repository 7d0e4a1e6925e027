"""Services that all routes of this process share: settings, store, clock, families and what is served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache, partial
from time import monotonic
from typing import Annotated, TypeVar

import structlog
from fastapi import Depends, Request

from api.access.auth import Caller
from api.access.callers import CallerCounts
from api.access.key_limits import RequestLimits
from api.access.limits import MinuteWindows
from api.access.wrong_keys import WrongKeys
from api.exposures import ExposureCounts
from api.held_texts import HeldTexts
from api.http.forwarding import FeedbackProcess, Gateway
from api.kept_reads import KeptReads
from api.serving import ServingState
from api.snapshot import Snapshots
from optimizer.adapters.files.secrets import Secrets
from optimizer.adapters.files.spool import SPOOLS, waiting_ids
from optimizer.adapters.models.language_models import PricesByName
from optimizer.content.core.policy.flags import Flags
from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.family import Family
from optimizer.core.feedback.pipeline_record import TARGETS, Target
from optimizer.core.feedback.telemetry import PriceOf
from optimizer.core.serving.access import EVERYTHING, Access
from optimizer.core.serving.assignment import OVERRIDE_SALT, UNITS_KEPT, Assignment, VerifiedTokens, unit_hmac
from optimizer.core.serving.family_names import definition
from optimizer.host.config import Settings
from optimizer.host.user_homes import local_actor
from optimizer.jobs.calls.shelves import ExampleShelf
from optimizer.jobs.context import Context, ServingHealth
from optimizer.jobs.feedback.ingest_feedback import Intake, Turns
from optimizer.jobs.feedback.place_events import Idempotency
from optimizer.ports import Clock, FamilySource, Store, Transaction
from optimizer.runtime import wiring
from optimizer.runtime.fit_apart import fit_judge_apart
from optimizer.runtime.store_health import StoreHealth

T = TypeVar("T")

log = structlog.get_logger("api")
READ_KEYS_AGAIN_S = 0.2  # at the soonest, for tokens of an unknown key
MINUTES = "minutes"  # a file of the run folder, in which several workers count


@dataclass(kw_only=True)
class Services:
    """Built once per process, in the application's lifespan."""

    settings: Settings
    store: Store
    clock: Clock
    families: FamilySource
    secrets: Secrets
    serving: ServingState
    health: StoreHealth
    gateway: Gateway
    feedback: FeedbackProcess | None = None  # reads long bodies of feedback; None: this process does
    workers: int = 1  # processes that answer the same requests
    feedback_process: bool = False  # whether one more counts their events
    flags: Flags = field(default_factory=Flags)
    targets: Mapping[str, Target] = field(default_factory=lambda: TARGETS)  # of the content pipeline's figures
    exposures: ExposureCounts = field(default_factory=ExposureCounts)
    held_texts: HeldTexts = field(default_factory=HeldTexts)
    kept_reads: KeptReads = field(default_factory=KeptReads)  # for the pages
    examples: ExampleShelf = field(init=False)  # from which nearest examples are shown
    actor_without_key: str = field(default_factory=local_actor)
    operator_windows: MinuteWindows = field(init=False)
    event_windows: MinuteWindows = field(init=False)
    chat_windows: MinuteWindows | None = field(init=False)  # without a key; None: no limit
    address_windows: MinuteWindows | None = field(init=False)  # of chats; None: no limit
    request_limits: RequestLimits = field(init=False)
    snapshots: Snapshots = field(init=False)
    wrong_keys: WrongKeys = field(default_factory=WrongKeys)
    callers: CallerCounts = field(default_factory=CallerCounts)
    turns: Turns = field(default_factory=Turns)
    verified: VerifiedTokens = field(init=False)
    hmac_unit: Callable[[str], str] = field(init=False)  # cached for units that came lately
    prices: PriceOf = field(init=False)
    waiting: Callable[[], set[str]] = field(init=False)  # ids of answers whose records wait on disk
    _keys_read_at: float = field(default_factory=monotonic, init=False)  # monotonic

    def __post_init__(self) -> None:
        self._use(self.secrets)
        self.examples = ExampleShelf(self.store)
        self.serving.on_new_version.append(self.read_keys)
        self.prices = PricesByName(self.settings.models_file)
        self.waiting = partial(waiting_ids, self.settings.var() / SPOOLS)
        limits = self.settings.limits
        windows: Callable[[int, str], MinuteWindows] = MinuteWindows
        if (n_processes := self.workers + self.feedback_process) > 1:
            from api.access.shared_windows import minute_windows  # not on every system

            windows = minute_windows(n_processes, self.settings.run_dir() / MINUTES)
        self.operator_windows = windows(limits.operator_per_minute, "changes")
        self.event_windows = windows(limits.events_per_minute, "events")
        most = limits.keyless_chat_per_minute
        self.chat_windows = None if most is None else windows(most, "chat requests without a key")
        most = limits.address_chats_per_minute
        self.address_windows = None if most is None else windows(most, "chat requests of one address")
        self.serving.on_forgotten += [
            lambda: self.verified.clear(),
            self.held_texts.clear,
            self.examples.clear,
            self.kept_reads.clear,
        ]
        self.request_limits = RequestLimits(self.store, self.clock, self.workers, self.callers)

    def _use(self, secrets: Secrets) -> None:
        self.secrets, self.serving.token_keys = secrets, secrets.token_keys
        self.verified = VerifiedTokens(secrets.token_keys)
        self.hmac_unit = lru_cache(maxsize=UNITS_KEPT)(partial(unit_hmac, secrets.unit_key))
        self.snapshots = Snapshots(unit_hmac(secrets.unit_key, OVERRIDE_SALT))

    def read_keys(self) -> bool:
        """Takes over keys of the installation that were rotated; whether there were any. Keys that cannot be read
        leave those that are in use.
        """
        self._keys_read_at = monotonic()
        try:
            secrets = wiring.open_secrets(self.settings)
        except (OSError, InvalidInput) as error:
            log.error("keys of the installation cannot be read; the ones before stay in use", error=str(error))
            return False
        if secrets == self.secrets:
            return False
        self._use(secrets)
        return True

    def assignment(self, token: str, now: datetime) -> Assignment:
        """As ``VerifiedTokens``. A key that is not known here may be a moment old: another process has signed by it."""
        try:
            return self.verified.assignment(token, now)
        except InvalidInput as error:
            is_unknown = error.members.get("type") == "unknown_key"
            if not is_unknown or monotonic() - self._keys_read_at < READ_KEYS_AGAIN_S or not self.read_keys():
                raise
        return self.verified.assignment(token, now)

    def older_hmacs(self, unit: str) -> Sequence[str]:
        return [unit_hmac(key, unit) for key in self.secrets.unit_keys[1:]]

    def family(self, name: str) -> Family:
        """The definition of a family; raises NotFound, or InvalidFamily when its file was never readable here."""
        return definition(name, self.families.families, self.families.problems)

    def intake(
        self,
        actor: str,
        idempotency: Idempotency | None = None,
        access: Access = EVERYTHING,
        *,
        by_gateway: bool = False,
    ) -> Intake:
        """Takes the events of one request in, as far as its sender's key goes."""
        now = self.clock.now()
        return Intake(
            store=self.store,
            clock=self.clock,
            families=self.families.families,
            verify=lambda token: self.assignment(token, now),
            hmac_unit=self.hmac_unit,
            older_hmacs=self.older_hmacs,
            actor=actor,
            access=access,
            by_gateway=by_gateway,
            text_bytes=None
            if by_gateway
            else self.settings.limits.event_text_bytes,  # what was answered has to be on record
            idempotency=idempotency,
            waiting=self.waiting,
            turns=self.turns,
        )

    def context(self, caller: Caller) -> Context:
        """The context of one request, for its use case."""
        context = wiring.open_context(
            self.settings, actor=caller.actor, access=caller.access, store=self.store, clock=self.clock
        )
        return replace(
            context,
            families=lambda: self.families,
            family=self.family,
            hmac_unit=lambda unit: self.hmac_unit(unit),  # a rotation replaces it, as it does the older keys
            older_hmacs=self.older_hmacs,
            verify=lambda token: self.assignment(token, self.clock.now()),
            fit_judge=fit_judge_apart,
            serving_health=self.serving_health,
            pipeline_targets=lambda: self.targets,
        )

    def serving_health(self) -> ServingHealth:
        served, fault, lock_held = self.serving.now_served, self.store_fault, self.store.lock_held
        return ServingHealth(
            read_at=served.read_at,
            ticked_at=served.ticked_at,
            fault=fault,
            lock_held=lock_held,
            detail=self.serving.store_error,
            not_ready=None
            if (served.version is not None and fault is None)
            else fault or lock_held or "the store was not read yet",
            exposures_waiting=self.exposures.n_waiting,
            workers=self.workers,
        )

    @property
    def store_fault(self) -> str | None:
        """Why a process of this home cannot read or write the store, in words for anyone; None where all can."""
        return self.serving.store_fault or self.health.elsewhere()

    def read(self, fn: Callable[[Transaction], T]) -> T:
        with self.store.read() as tx:
            return fn(tx)


def of(request: Request) -> Services:
    services: Services = request.scope["app"].state.services
    return services


async def _shared(request: Request) -> Services:
    """Runs on the event loop: FastAPI hands a plain function to a thread, and each request would wait for one."""
    return of(request)


Shared = Annotated[Services, Depends(_shared)]
