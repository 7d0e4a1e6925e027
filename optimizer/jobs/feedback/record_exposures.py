"""Takes the counts of clients that decide in process: how many units each arm was shown to per window."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from optimizer.core.base.errors import Fault, InvalidInput, TooLarge
from optimizer.core.base.knob import is_share, is_whole
from optimizer.core.feedback.event_kinds import moment
from optimizer.jobs.context import Context
from optimizer.jobs.request import Objects, Request
from optimizer.ports import Exposure, Transaction

RESERVED = ("api", "gateway")  # these count for themselves
LONGEST_WINDOW = timedelta(hours=1)
FIELDS = ("family", "variant", "rollout", "stage", "from", "to", "exposed")
MAX_NAME_CHARS = 512


class ExposuresRequest(Request):
    client: Annotated[str, Field(min_length=1, max_length=512)]
    windows: Annotated[Objects, Field(description="Each: family, variant, rollout, stage, from, to, exposed")]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountsTaken:
    accepted: int
    duplicates: int


def record_exposures(context: Context, request: ExposuresRequest) -> CountsTaken:
    """Counts of clients that decide in process.

    A window that is sent again changes nothing; a larger count replaces a smaller one. Units without a token count in
    a rollout only as far as their key has reported them so.

    Raises:
        InvalidInput: with every fault of the request; nothing is stored then.
    """
    store, clock, client, windows = context.store, context.clock, request.client, request.windows
    if len(windows) > (most := context.settings.limits.batch):
        raise TooLarge(f"The list has {len(windows):,} windows, and one request takes {most:,}. Send it in parts.")
    if context.access.families is not None:
        for window in windows:
            context.require_family(window.get("family"))
    families = context.families().families
    now = clock.now()
    faults = (
        []
        if _is_name(client) and client not in RESERVED
        else [Fault(pointer="/client", detail=f"must be a name other than {', '.join(RESERVED)}")]
    )
    for i, window in enumerate(windows):
        faults += [
            Fault(pointer=f"/windows/{i}{pointer}", detail=detail)
            for pointer, detail in _problems(window, families, now)
        ]
    if faults:
        raise InvalidInput(
            "The counts were not taken: " + "; ".join(f"{f.pointer} {f.detail}" for f in faults[:5]) + ".", faults
        )
    rows: list[Exposure] = []
    for window in windows:
        start = moment(window["from"])
        assert start is not None
        rows.append(
            (
                window["family"],
                window["variant"],
                window.get("rollout"),
                window.get("stage"),
                start,
                client,
                window["exposed"],
            )
        )

    def put(tx: Transaction) -> CountsTaken:
        changed = store.exposures.put(tx, rows, context.actor)
        return CountsTaken(accepted=sum(changed), duplicates=len(changed) - sum(changed))

    return store.write(put, rows=len(rows))


def _problems(window: Any, families: Collection[str], now: datetime) -> list[tuple[str, str]]:
    if not isinstance(window, Mapping):
        return [("", f"must be an object with {', '.join(FIELDS)}")]
    problems = [(f"/{name}", "is not a field of a window") for name in window if name not in FIELDS]
    family = window.get("family")
    if not isinstance(family, str) or family not in families:
        problems.append(("/family", f"is not the name of a family here: {family!r}"))
    if not _is_name(window.get("variant")):
        problems.append(("/variant", "must be the id of a variant"))
    if window.get("rollout") is not None and not _is_name(window["rollout"]):
        problems.append(("/rollout", "must be the id of a rollout, or null"))
    stage, exposed = window.get("stage"), window.get("exposed")
    if stage is not None and not is_share(stage):
        problems.append(("/stage", "must be a share from 0 to 1, or null"))
    if not is_whole(exposed) or not 0 <= exposed < 2**31:
        problems.append(("/exposed", "must be a whole number, 0 or larger"))
    start = moment(window.get("from"))
    end = moment(window.get("to"))
    detail = "must be a time with its zone, such as 2026-11-20T08:30:00Z"
    of_time = [(pointer, detail) for pointer, at in (("/from", start), ("/to", end)) if at is None]
    if start is not None and end is not None and not timedelta(0) < end - start <= LONGEST_WINDOW:
        of_time.append(("/to", "must lie after from, by at most an hour"))
    if start is not None and start > now + LONGEST_WINDOW:
        of_time.append(("/from", "lies in the future; check the sender's clock"))
    return problems + of_time


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARS and "\x00" not in value and value.isprintable()
