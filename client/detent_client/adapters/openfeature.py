"""For OpenFeature: providers that get prompts as flags from a Detent server, a hook that counts what bulk evaluation
does not, outcomes by ``track``, and the prompt of a flag, whose ``with`` block reports as the client's own does.

A single evaluation is counted by the server. A bulk evaluation is not, since nobody knows which of its flags will be
used: ``ExposureHook`` counts each when it is.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any

import httpx
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, FlagNotFoundError, GeneralError, OpenFeatureError, TypeMismatchError
from openfeature.flag_evaluation import (
    FlagEvaluationDetails,
    FlagResolutionDetails,
    FlagValueType,
    Reason,
)
from openfeature.hook import Hook, HookContext, HookHints
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from detent_client.async_client import AsyncClient
from detent_client.choice import Choice, Variant
from detent_client.client import BaseClient, Client
from detent_client.errors import InvalidAssignment, InvalidInput
from detent_client.prompt import Prompt
from detent_client.server_time import seconds_of, server_time_of
from detent_client.session import DAY_S
from detent_client.template import Template

EVALUATIONS = "/ofrep/v1/evaluate/flags"
IS_COUNTED = "is_counted"  # in a flag's metadata: whether its use was counted; absent where the server did
MAX_UNITS = 1_000
TOO_MANY, AWAY_FROM = 429, 500  # statuses by which a server that is there says "later"
OUTCOME = ("success", "score", "label", "expected", "source", "tags")

log = logging.getLogger("detent_client")


class DetentProvider(OFREPProvider):
    """Asks the server for each flag, which counts it. ``track`` reports outcomes through ``detent``."""

    def __init__(self, detent: BaseClient, url: str, key: str | None = None, *, timeout: float = 2.0) -> None:
        """``key``: of role feedback; ``timeout``: seconds of one request, after which the default value is served."""
        super().__init__(url, headers_factory=lambda: _headers(key), timeout=timeout)
        self._detent = detent

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        _track(self._detent, tracking_event_name, tracking_event_details)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFlags:
    """``until``: monotonic; then they are asked for again, with ``etag``."""

    flags: Mapping[str, Any]
    etag: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LastChampion:
    """Of a family; served to any unit while the server cannot be asked. ``fetched_at``: monotonic."""

    flag: Mapping[str, Any]
    fetched_at: float

    @classmethod
    def of(cls, flag: Mapping[str, Any], fetched_at: float) -> LastChampion:
        """In no arm, since nobody watches a rollout then, and without the assignment of the unit that it was served."""
        value = {**flag["value"], "rollout": None, "stage": None}
        value.pop("assignment", None)
        return cls(flag={**flag, "reason": "DEFAULT", "metadata": {}, "value": value}, fetched_at=fetched_at)

    def flag_of(self, own: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """``own``: what the unit was served last, which stays where it is this champion, outside a rollout."""
        is_same = own is not None and own["variant"] == self.flag["variant"]
        return own if own is not None and is_same and own["metadata"].get("lease_expires_at") is None else self.flag


class DetentBulkProvider(AbstractProvider):
    """Asks for all flags of a unit at once and keeps them for ``max_age`` seconds, a candidate's no longer than its
    lease: for an application that reads several flags of one user. Its own hook counts those that are used. While the
    server cannot be asked, the last champions are served for a day, to any unit; other flags give the default value.
    """

    def __init__(
        self,
        detent: BaseClient,
        url: str,
        key: str | None = None,
        *,
        max_age: float = 10.0,
        timeout: float = 2.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """``max_age``: at most 30, so that an outcome still falls into the stage that was served."""
        super().__init__()
        self._detent, self._max_age_s = detent, min(max_age, 30.0)
        self._http = httpx.Client(base_url=url, headers=_headers(key), timeout=timeout, transport=transport)
        self._lock = Lock()
        self._units: OrderedDict[str, UnitFlags] = OrderedDict()
        self._champions: Mapping[str, LastChampion] = {}
        self._failure, self._away_until = "", 0.0  # until then the server is not asked

    def get_metadata(self) -> Metadata:
        return Metadata(name="Detent")

    def get_provider_hooks(self) -> list[Hook]:
        return [ExposureHook(self._detent)]

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        flags = self._flags(evaluation_context)
        if flag_key not in flags:
            raise FlagNotFoundError(f"Detent serves no family {flag_key!r} to this key.")
        flag = flags[flag_key]
        metadata = {**flag["metadata"], IS_COUNTED: False}
        reason = Reason[flag["reason"]]
        return FlagResolutionDetails(flag["value"], reason=reason, variant=flag["variant"], flag_metadata=metadata)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeMismatchError("A prompt is an object: ask with get_object_details.")

    resolve_boolean_details = resolve_string_details = resolve_integer_details = resolve_float_details = _refuse

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        _track(self._detent, tracking_event_name, tracking_event_details)

    def shutdown(self) -> None:
        self._http.close()

    def _flags(self, context: EvaluationContext | None) -> Mapping[str, Any]:
        unit = (context.targeting_key if context is not None else None) or ""
        with self._lock:
            known = self._units.get(unit)
        if known is None or monotonic() >= known.until:
            known = self._renewed(unit, known)
            with self._lock:
                self._units[unit] = known
                self._units.move_to_end(unit)
                if len(self._units) > MAX_UNITS:
                    self._units.popitem(last=False)
        return known.flags

    def _renewed(self, unit: str, known: UnitFlags | None) -> UnitFlags:
        """Raises OpenFeatureError."""
        if monotonic() >= self._away_until:
            try:
                return self._fetch(unit, known)
            except GeneralError as error:
                self._failure, self._away_until = str(error.error_message), monotonic() + self._max_age_s
        oldest, own = monotonic() - DAY_S, known.flags if known is not None else {}
        champions = {family: one for family, one in self._champions.items() if one.fetched_at >= oldest}
        if not champions:
            raise GeneralError(self._failure)
        flags = {family: one.flag_of(own.get(family)) for family, one in champions.items()}
        return UnitFlags(flags=flags, etag="", until=self._away_until)

    def _fetch(self, unit: str, known: UnitFlags | None) -> UnitFlags:
        """Raises OpenFeatureError."""
        headers = {"If-None-Match": known.etag} if known is not None and known.etag else {}
        sent_at = monotonic()
        try:
            answer = self._http.post(EVALUATIONS, json={"context": {"targetingKey": unit}}, headers=headers)
        except httpx.HTTPError as error:
            raise GeneralError(f"Detent cannot be asked: {type(error).__name__}.") from None
        try:
            said = answer.json() if answer.content else {}
            if answer.status_code == TOO_MANY or answer.status_code >= AWAY_FROM:
                raise GeneralError(f"Detent cannot answer now (status {answer.status_code}).")
            if answer.status_code not in (200, 304):
                raise OpenFeatureError(ErrorCode(said["errorCode"]), str(said["errorDetails"]))
            if answer.status_code == 304 and known is not None:
                flags = known.flags
            else:
                flags = {flag["key"]: flag for flag in said["flags"]}
            until = self._until(flags, answer.headers, sent_at)
            champions = [flag for flag in flags.values() if flag["value"].get("role") == "champion"]
            earlier = {family: one for family, one in self._champions.items() if family in flags}
            self._champions = earlier | {flag["key"]: LastChampion.of(flag, sent_at) for flag in champions}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise GeneralError(f"Detent gave no answer of this protocol (status {answer.status_code}).") from None
        return UnitFlags(flags=flags, etag=answer.headers.get("etag", ""), until=until)

    def _until(self, flags: Mapping[str, Any], headers: Mapping[str, str], sent_at: float) -> float:
        """The lease is counted by the server's clock. An answer without Date is kept for this one evaluation."""
        leases = [flag["metadata"].get("lease_expires_at") for flag in flags.values()]
        ends = [seconds_of(lease) for lease in leases if lease is not None]
        until = sent_at + self._max_age_s
        if ends:
            time = server_time_of(headers, sent_at)
            until = min(until, sent_at + min(ends) - time.latest(sent_at)) if time is not None else sent_at
        return until


class ExposureHook(Hook):
    """Counts a flag of a bulk evaluation when it is used, once. The flags of a single evaluation, and those of a
    default value, it leaves alone.
    """

    def __init__(self, detent: BaseClient) -> None:
        self._detent = detent

    def after(self, hook_context: HookContext, details: FlagEvaluationDetails[FlagValueType], hints: HookHints) -> None:
        metadata = details.flag_metadata
        if metadata.get(IS_COUNTED) is False and isinstance(metadata, MutableMapping):
            metadata[IS_COUNTED] = True  # another hook of this kind sees the same details
            self._detent._session.count(_choice(details))


def flag_prompt(
    detent: Client | AsyncClient,
    flag: FlagEvaluationDetails[Any],
    *,
    unit: str | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    variables: Mapping[str, Any] | None = None,
    **more: Any,
) -> Prompt:
    """A flag's prompt, filled in; to be used as that of ``Client.prompt``. It never raises for what the server said:
    inputs that do not fit are left out, and then it counts in no arm.

    Args:
        unit: the targeting key.
        variables: also by name.
    """
    choice = _choice(flag)
    variables = {**(variables or {}), **more}
    template = choice.variant.template
    is_fitting = True
    try:
        rendering = template.fill(variables, history) if choice.role != "fallback" else None
    except InvalidInput:
        rendering, is_fitting = None, False
    prompt = detent._session.served(choice, rendering or template.fill_anyhow(variables, history), unit, variables)
    if not is_fitting:
        prompt.leave_arm("the inputs do not fit the prompt")
    return prompt


def _choice(flag: FlagEvaluationDetails[Any]) -> Choice:
    """What the server chose, or the default value; ``is_counted``: by this client. Raises ValueError for a default
    that holds no messages.
    """
    value = flag.value
    if not isinstance(value, Mapping) or not isinstance(value.get("messages"), Sequence):
        raise ValueError(
            f"The default of {flag.flag_key!r} is no prompt: give {{'messages': [...], 'model': {{...}}}}."
        )
    is_bulk = IS_COUNTED in flag.flag_metadata
    is_default = flag.error_code is not None or flag.reason in (Reason.ERROR, Reason.ERROR.value)
    return Choice(
        variant=Variant(
            family=str(value.get("family", flag.flag_key)),
            id=value.get("variant") if not is_default else None,
            template=Template(value["messages"], value.get("inputs")),
            model=dict(value.get("model") or {}),
            tools=value.get("tools"),
            response_format=value.get("response_format"),
        ),
        role=str(value.get("role")) if not is_default else "fallback",
        rollout=value.get("rollout") if not is_default else None,
        stage=value.get("stage") if not is_default else None,
        is_counted=is_bulk and flag.reason != Reason.TARGETING_MATCH,
        # a bulk evaluation's is as old as its answer, and may be of a cohort that is closed
        token=value.get("assignment") if not is_default and not is_bulk else None,
    )


def _track(detent: BaseClient, name: str, details: TrackingEventDetails | None) -> None:
    """What the details say, as feedback; ``value`` is the score where none is named. OpenFeature lets it not raise."""
    said: dict[str, Any] = dict(details.attributes) if details is not None else {}
    assignment = said.get("assignment")
    outcome = {field: said[field] for field in OUTCOME if field in said}
    if details is not None and details.value is not None:
        outcome.setdefault("score", details.value)
    try:
        if not isinstance(assignment, (str, Prompt)):
            raise InvalidAssignment("no assignment")
        detent.feedback(assignment, **outcome)
    except (ValueError, TypeError, InvalidAssignment) as error:
        log.warning("the outcome %r was dropped (%s): give assignment, and success, score or label", name, error)


def _headers(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key is not None else {}
