"""``detent events``: every interaction as it is reported, as JSON lines for another system."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from math import isfinite
from pathlib import Path
from time import sleep
from typing import IO, Annotated, Any

import typer

from optimizer.cli.output import say
from optimizer.cli.session import Session, time_of
from optimizer.core.base.errors import (
    DetentError,
    InvalidInput,
    NotAuthenticated,
    NotAuthorised,
    NotFound,
)
from optimizer.core.base.phrasing import printable_json

SETTLED = timedelta(seconds=30)  # an event may be written so much later than another that was received at its time
LOOK_AGAIN_S, TRY_AGAIN_S = 2.0, 5.0
AT_ONCE = 1000
OURS = (InvalidInput, NotAuthenticated, NotAuthorised, NotFound)  # no second try mends them

app = typer.Typer(name="events", no_args_is_help=True, help="What was reported, as a stream for other systems.")


@dataclass(kw_only=True)
class TailPosition:
    """How far a tail has come.

    Events are on disk in nearly the order of their receipt, so those of the last seconds are read again, and what was
    seen of them is left out.
    """

    since: datetime
    _seen: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def new_of(self, items: Sequence[Any]) -> list[Any]:
        """Those that were not seen yet."""
        new = [item for item in items if (item.family, item.id) not in self._seen]
        self._seen |= {(item.family, item.id): item.received_at for item in new}
        return new

    def settle(self, now: datetime) -> None:
        """Goes on to where nothing earlier can come any more; back, where the clock was set back behind what it saw."""
        newest = max(self._seen.values(), default=self.since)
        settled = min(newest, now) - SETTLED
        if settled > self.since or now < newest:
            self.since = settled
            self._seen = {key: at for key, at in self._seen.items() if at >= settled}


class LineFile:
    """JSON lines in a file that is followed by files of the same size: ``FILE``, ``FILE.1``, the oldest last."""

    def __init__(self, path: Path, *, most_bytes: int, files: int, is_of_tail: bool = True) -> None:
        """``is_of_tail``: a tail wrote the file, so half a line at its end may go.

        Raises InvalidInput where such a line is of something else, or another tail writes the file.
        """
        self._path, self._most_bytes, self._files, self._is_of_tail = path, most_bytes, files, is_of_tail
        self._out = self._open()

    def write(self, lines: Sequence[bytes]) -> None:
        """On disk when it returns. Raises OSError where the disk takes no more; the next write begins behind the last
        whole line.
        """
        if self._out.closed:
            self._out = self._open()
        try:
            for line in lines:
                if self._out.tell() and self._out.tell() + len(line) > self._most_bytes:
                    self._rotate()
                self._out.write(line)
            self._keep()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        with suppress(OSError):  # of what the disk did not take
            self._out.close()

    def _rotate(self) -> None:
        self._keep()
        self._out.close()
        older = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._files))]
        for one, next_one in reversed(list(pairwise(older))):
            if one.exists():
                os.replace(one, next_one)
        if self._files == 1:
            self._path.unlink()
        self._out = self._open()

    def _open(self) -> IO[bytes]:
        out = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        try:
            # Until it is closed. Raises InvalidInput where the file is not this tail's to write.
            import fcntl

            try:
                fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InvalidInput(f"Another `detent events tail` writes {self._path}. Name another file.") from None
            if not self._is_of_tail and _whole_lines(out) != out.seek(0, os.SEEK_END):
                raise InvalidInput(
                    f"{self._path} ends in the middle of a line, and the cursor does not say that a tail wrote it."
                    " Nothing was changed; name another file, or end its last line."
                )
            out.truncate(_whole_lines(out))  # half a line is of a tail that was killed, which writes it again
        except InvalidInput:
            out.close()
            raise
        out.seek(0, os.SEEK_END)
        self._is_of_tail = True
        return out

    def _keep(self) -> None:
        self._out.flush()
        os.fsync(self._out.fileno())


def _whole_lines(file: IO[bytes]) -> int:
    """Bytes up to the end of the last whole line."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 65536)
        file.seek(start)
        at = file.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


@app.command()
def tail(
    family: Annotated[str | None, typer.Option(help="Only of this family.", show_default=False)] = None,
    kind: Annotated[str, typer.Option(help="interactions or feedback.")] = "interactions",
    to: Annotated[
        Path | None, typer.Option(help="Append to this file, which is rotated; default: print.", show_default=False)
    ] = None,
    rotate_mb: Annotated[float, typer.Option(help="With --to: how large a file becomes.", min=0.001)] = 100.0,
    files: Annotated[int, typer.Option(help="With --to: how many files are kept; the oldest goes.", min=1)] = 10,
    cursor: Annotated[
        Path | None,
        typer.Option(help="File that keeps how far it has come; default: FILE.cursor beside --to.", show_default=False),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Where no cursor is kept yet, from here on: 24h, or a time; default: now.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when all is written, instead of waiting for more.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Lines of JSON, as without it.", rich_help_panel="Output")
    ] = False,
) -> None:
    """Write every event as a line of JSON, as the routes /v1/interactions and /v1/feedback have it.

    Each is written at least once: the cursor moves when lines are on disk, and a tail that was killed repeats those of
    its last half minute. Drop repetitions by family and id.

    Example: detent events tail --to /var/log/interactions.jsonl
    """
    if kind not in ("interactions", "feedback"):
        raise InvalidInput(f"--kind {kind!r} is none of interactions, feedback.")
    if not isfinite(rotate_mb):
        raise InvalidInput(f"--rotate-mb needs a number of megabytes, not {rotate_mb}.")
    from optimizer.jobs.feedback.read_events import read_feedback, read_interactions

    session, read = Session(), {"interactions": read_interactions, "feedback": read_feedback}[kind]
    place = cursor or (to.parent / f"{to.name}.cursor" if to is not None else None)
    now, (last, last_file) = session.clock.now(), _last_cursor(place, family, kind)
    begin = time_of(since, now, "--since") or now
    position = TailPosition(since=begin if last is None else min(last, now - SETTLED))
    file, out = None if to is None else str(to.resolve()), None
    try:
        if to is not None:
            out = LineFile(to, most_bytes=int(rotate_mb * 1e6), files=files, is_of_tail=file == last_file)
        _keep(place, family, kind, position.since, file)  # before the first line, which may be cut short
    except OSError as error:
        raise InvalidInput(f"Nothing can be written there: {error}.") from None
    is_away = False
    try:
        while True:
            try:
                for items in _pages(session, read, family, position.since):
                    _written(out, _lines(read, position.new_of(items)))
                    position.settle(session.clock.now())
                    _keep(place, family, kind, position.since, file)
                is_away = False
            except OURS:
                raise
            except (DetentError, OSError) as error:
                why = error
                if isinstance(error, OSError):  # a full disk; what it did not take is read again
                    why = DetentError(f"{error.filename or to}: {error.strerror}.")
                    position = TailPosition(since=position.since)
                if once:
                    raise why from None
                if not is_away:
                    say(f"{why} It is tried again.", "yellow")
                is_away = True
                position.settle(session.clock.now())
            if once:
                return
            sleep(TRY_AGAIN_S if is_away else LOOK_AGAIN_S)
    except KeyboardInterrupt:
        return
    finally:
        if out is not None:
            out.close()


def _pages(session: Session, read: Callable[..., Any], family: str | None, since: datetime) -> Iterator[Sequence[Any]]:
    cursor = None
    while True:
        page: Any = session.ask(read, family=family, since=since, cursor=cursor, limit=AT_ONCE)
        yield page.items
        if (cursor := page.next_cursor) is None:
            return


def _lines(read: Callable[..., Any], items: Sequence[Any]) -> list[bytes]:
    from optimizer.core.base.answers import Page
    from optimizer.runtime.use_cases import as_json_of

    shown = as_json_of(read, Page(items=items))["items"] if items else []
    return [printable_json(json.dumps(item, ensure_ascii=False)).encode() + b"\n" for item in shown]


def _written(out: LineFile | None, lines: Sequence[bytes]) -> None:
    if out is not None:
        out.write(lines)
        return
    sys.stdout.buffer.write(b"".join(lines))
    sys.stdout.flush()


def _last_cursor(place: Path | None, family: str | None, kind: str) -> tuple[datetime | None, str | None]:
    """How far it has come, and the file that it wrote; older cursors name none.

    Raises InvalidInput for the cursor of another stream.
    """
    if place is None or not place.exists():
        return None, None
    try:
        record = json.loads(place.read_text(encoding="utf-8"))
        of, at = (record["family"], record["kind"]), datetime.fromisoformat(record["since"])
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f"{place} keeps no cursor of `detent events tail`. Name another file.") from None
    if of != (family, kind):
        raise InvalidInput(f"{place} keeps the cursor of {of[1]} of {of[0] or 'all families'}. Name another file.")
    return at, record.get("to")


def _keep(place: Path | None, family: str | None, kind: str, since: datetime, to: str | None) -> None:
    """The old cursor or the new one, whole, whenever it is killed."""
    if place is None:
        return
    part = place.with_name(f"{place.name}.part")
    with open(part, "w", encoding="utf-8") as file:
        json.dump({"family": family, "kind": kind, "since": since.isoformat(), "to": to}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, place)
