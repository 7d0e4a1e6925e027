"""Opens what a command works with: settings, the store, and the server of this home when one runs.

A command asks for use cases by ``client``: of the server when one runs, else in this process.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from optimizer.cli.output import say, show_report, table, tell_change
from optimizer.cli.server_option import chosen_server
from optimizer.core.base.answers import Page, members_of
from optimizer.core.base.errors import (
    Busy,
    Conflict,
    DetentError,
    InvalidInput,
    NotAuthenticated,
    NotAuthorised,
    NotFound,
    Refused,
)
from optimizer.core.serving.family_names import definition, is_retired
from optimizer.runtime import wiring
from optimizer.runtime.use_cases import use_case_of

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.family.family import Family
    from optimizer.core.serving.rollout import Rollout
    from optimizer.core.views.family import FamilyView
    from optimizer.host.config import Settings
    from optimizer.jobs.context import Context
    from optimizer.jobs.dataset.import_examples import ImportReport
    from optimizer.ports import Clock, FamilySource, Store
    from optimizer.runtime.api_client import ApiClient
    from optimizer.runtime.client import Client

UNITS = {"m": 60, "h": 3600, "d": 86400}  # seconds
ABOUT_THE_ACT = (Conflict, Refused, InvalidInput)  # the store would say the same

Q = TypeVar("Q")
R = TypeVar("R")
P = TypeVar("P", bound="Items")


class Items(Protocol):
    """A page, or a report with items."""

    @property
    def items(self) -> Sequence[Any]: ...


class Session:
    """Opened once per command; everything in it is opened when first used."""

    progress: Callable[[int, int], None] | None = None  # of a long read; set before it
    _place_told = False
    _connection: ApiClient | None = None  # the last server that was looked for; ``look_again`` keeps it open
    _is_untold = False  # of files that changed, or of what a server that ended may not have told the store

    def __init__(self, home: Path | None = None) -> None:
        """``home``: the one that is meant, whatever the folder; None: as a command finds it."""
        self._named_home = home
        self._looking = threading.Lock()

    def look_again(self) -> Session:
        """A program may stay open for days: a server starts or ends meanwhile, and family files change."""
        with self._looking:
            self._is_untold |= self.__dict__.get("server") is not None
            for name in ("server", "asked_server", "client", "context"):
                self.__dict__.pop(name, None)
            if "families" in self.__dict__ and self.families.changed():
                self._is_untold = True
                self.families.load()
            if self.server is None and self._is_untold:  # the store is told of the others as it is opened
                wiring.sync_families(self.settings, self.families, self.store, self.clock)
                self._is_untold = False
        return self

    @cached_property
    def settings(self) -> Settings:
        """Under the profile that the home was served with last.

        Raises InvalidInput where another server is asked: then nothing of this home is meant.
        """
        if (url := chosen_server()) is not None:
            raise InvalidInput(
                f"This command reads this machine's own home, and the server {url} was named (--server or"
                " DETENT_SERVER). Run it where that server runs, or name none."
            )
        from optimizer.host.config import load_settings

        return load_settings(home=self._named_home or _home(), as_served=True)

    @cached_property
    def server(self) -> ApiClient | None:
        """The one that is named, else the one of this home where it answers."""
        from optimizer.host import run_files

        named = chosen_server()
        process = run_files.find_api(self.settings) if named is None else None
        url = named or (process.url if process is not None else None)
        if url is None:
            return None  # and nothing that speaks HTTP is loaded
        from optimizer.runtime.api_client import ApiClient

        connection = self._connection
        if connection is None or connection.url != url.rstrip("/"):  # a thread may still ask the one before
            connection = self._connection = (
                ApiClient(url, self.settings.api_key)
                if named is None
                else ApiClient.at(named, os.environ.get("DETENT_API_KEY"))
            )
        return connection if named is not None or connection.is_alive() else None

    def before_change(self) -> None:
        """Says, once, on which server or in which home a change is made.

        Raises InvalidInput outside of every project, where no home and no server is named: the one that happens to run
        may be another one than the one that is meant.
        """
        if self._place_told or self._named_home is not None:
            return
        from optimizer.host.config import project_home

        url = chosen_server()
        if url is None and project_home() is None:
            running = f", or --server {self.server.url}" if self.server is not None else ""
            raise InvalidInput(
                f"{Path.cwd()} is in no Detent project, so a change would go to the server that happens to run, of"
                f" {self.settings.home}. If that is meant, go there or name it: DETENT_HOME={self.settings.home}"
                f"{running}. Nothing was changed."
            )
        say(f"Home: {self.settings.home}" if url is None else f"Server: {url}")
        self._place_told = True

    @cached_property
    def client(self) -> Client:
        """Says before each change where it is made."""
        return GuardedClient(self._client, self.before_change)

    def ask(self, use_case: Callable[[Context, Any], R], /, **members: Any) -> R:
        """The report of a use case; ``members``: of its request."""
        return self.client.ask(use_case, use_case_of(use_case).request(**members))

    def whole(self, use_case: Callable[[Context, Any], Page[R]], /, **members: Any) -> Page[R]:
        """A list to its end."""
        from optimizer.runtime.client import whole

        request: Any = use_case_of(use_case).request
        return whole(self.client, use_case, request(**members, limit=1000))

    def family_view(self, family: str) -> FamilyView:
        """Raises NotFound where there is no such family."""
        from optimizer.jobs.scheduling.read_families import read_family

        return self.ask(read_family, family=family)

    def show(
        self,
        as_json: bool,
        use_case: Callable[[Context, Any], R],
        view: Callable[[Console, R], object] | None = None,
        /,
        **members: Any,
    ) -> R:
        """Asks for a use case, and shows its report: as its route answers it, or by ``view`` for people."""
        report = self.ask(use_case, **members)
        show_report(as_json, use_case, report, None if view is None else lambda out: view(out, report))
        return report

    def show_page(
        self,
        as_json: bool,
        use_case: Callable[[Context, Any], P],
        columns: Mapping[str, str],
        /,
        *,
        empty: str,
        rows: Callable[[P], Sequence[Mapping[str, Any]]] | None = None,
        **members: Any,
    ) -> P:
        """Asks for a page, and shows its items: for people as a table of ``rows``, which are the items as they are."""
        return self.show(
            as_json,
            use_case,
            lambda out, page: table(
                rows(page) if rows else [members_of(item) for item in page.items], columns, empty=empty
            )(out),
            **members,
        )

    def change(self, as_json: bool, act: Callable[[Context, Any], R], /, **members: Any) -> R:
        """Asks for an act, and says what it did, why, how to take it back and what comes next."""
        change: Any = (report := self.show(as_json, act, **members))
        own = getattr(change, "decision", None) or change  # a rollout's own ``forced`` says that some act on it was
        forced = " (forced)" if getattr(own, "forced", False) and change.changed else ""
        of_family = f"{change.family}: " if hasattr(change, "family") else ""
        tell_change(
            f"{of_family}{change.what}{forced}.",
            why=change.why,
            undo=change.undo,
            then=change.next,
            but=" ".join(filter(None, (getattr(change, "shown_worse", None), getattr(change, "warning", None)))),
        )
        return report

    @cached_property
    def asked_server(self) -> ApiClient | None:
        """The server that is named, else the one of this home where it runs and asks for no key that is not there;
        None: this process acts on the store, by the right to write its file.
        """
        if self.server is None or self._must_ask_server or self.settings.api_key is not None:
            return self.server
        try:
            with self.store.read() as tx:
                return None if self.store.api_keys.all(tx) else self.server
        except Busy:  # the server lets nobody in then
            return None

    @property
    def _must_ask_server(self) -> bool:
        return chosen_server() is not None or not wiring.may_write_store(self.settings)

    @property
    def _client(self) -> Client:
        from optimizer.runtime.client import InProcess, OverHttp

        here = InProcess(lambda: self.context)
        if self.asked_server is None:
            return here
        there = OverHttp(self.asked_server)
        return there if self._must_ask_server else BrakesOnStore(there, here, self.actor)

    @cached_property
    def context(self) -> Context:
        """The context of use cases in this process."""
        context = wiring.open_context(
            self.settings,
            actor=self.actor,
            store=self.store,
            clock=self.clock,
            families=self.families,
            not_ready=lambda: self.server.why_not_ready() if self.server is not None else None,
        )
        return replace(context, progress=self.progress)

    @cached_property
    def store(self) -> Store:
        """The store, migrated where no server does that, and knowing what the family files hold."""
        from optimizer.host import run_files
        from optimizer.host.logs import log_to_file

        log_to_file(self.settings)
        if run_files.find(self.settings, "serve") is None:
            wiring.migrate_store(self.settings)
        store = wiring.open_store(self.settings)
        if self.server is None:
            wiring.sync_families(self.settings, self.families, store, self.clock)
        return store

    @cached_property
    def clock(self) -> Clock:
        """The clock of this home; where another server is asked, this machine's, for times such as 24h ago."""
        from optimizer.adapters.clock import SystemClock

        return SystemClock() if chosen_server() is not None else wiring.open_clock(self.settings)

    @cached_property
    def families(self) -> FamilySource:
        from optimizer.host.logs import log_to_file

        log_to_file(self.settings)
        return wiring.load_families(self.settings)

    @cached_property
    def actor(self) -> str:
        from optimizer.host.user_homes import local_actor

        return local_actor()

    def family(self, name: str) -> Family:
        """Raises InvalidFamily where the file is wrong and nothing good is known, NotFound otherwise."""
        files = self.families
        if name not in files.families and name not in files.problems:
            with self.store.read() as tx:
                files.former_names = self.store.family_names.former(tx)
        return definition(name, files.families, files.problems)

    def refuse_former_name(self, name: str) -> None:
        """Raises Conflict where a family that is to be made would have a name that another one had."""
        with self.store.read() as tx:
            present = self.store.family_names.former(tx).get(name, name)
        if present != name and not is_retired(present):
            raise Conflict(
                f"{name} is a former name of the family {present} and still leads there. Choose another name."
            )

    def import_curated(self, file: Path, family: Family) -> ImportReport:
        """Takes the examples that stand beside a family's file, which was written just now: its server may not know
        of it yet.
        """
        from optimizer.jobs.dataset.import_examples import TextsWithoutGroup, import_rows

        rows, texts = wiring.open_source(str(file), family).rows, TextsWithoutGroup(family)
        assert rows is not None
        report = import_rows(
            texts.passing(rows), family=family, store=self.store, clock=self.clock, actor=self.actor, curated=True
        )
        return texts.with_look_alikes(report)

    def variant_id(self, family: str, name: str) -> str:
        """The id of a variant: given in full, as a beginning that no other has, or by use (champion, candidate, file).

        Of this home it is read in the store, whatever the server says: brakes name one.
        """
        if chosen_server() is None:
            from optimizer.jobs.champions.read_variants import find_variant

            return find_variant(self.context, family, name).variant.id
        return self.named_variant(family, name)

    def named_variant(self, family: str, name: str) -> str:
        """As ``variant_id``, as the server has it where one runs."""
        from optimizer.jobs.champions.read_variants import read_named_variant

        return self.ask(read_named_variant, family=family, name=name).variant

    def active_rollout(self, family: str) -> Rollout:
        """Raises NotFound when none is pending, validating, approved or deploying."""
        from optimizer.core.views.rollout_story import ending_of
        from optimizer.jobs.rollouts.read_rollout import read_rollouts
        from optimizer.jobs.upkeep.read_status import read_status

        newest = self.ask(read_rollouts, family=family).items
        rollout = next((rollout for rollout in newest if rollout.is_active), None)
        if rollout is not None:
            return rollout
        last = f" The last one {ending_of(newest[0])}." if newest else ""
        if newest and newest[0].outcome == "promoted":
            # Where another champion serves by now, a rollback would take back that one.
            champions = {row.name: row.champion for row in self.ask(read_status).families}
            if champions.get(family) == newest[0].candidate:
                last += f" To take it back: detent champion rollback {family}."
        raise NotFound(
            f"{family} has no active rollout.{last} Start one: detent rollout start {family} VARIANT.", family=family
        )


class GuardedClient:
    """A client that calls ``before_change`` before it asks for a change; dry runs and reads are none."""

    def __init__(self, client: Client, before_change: Callable[[], None]) -> None:
        self._client, self._before_change = client, before_change

    def ask(self, function: Callable[[Context, Q], R], request: Q) -> R:
        if not use_case_of(function).is_read and not getattr(request, "dry_run", False):
            self._before_change()
        return self._client.ask(function, request)


class BrakesOnStore:
    """A client that asks the server, but that a brake which it does not carry out is carried out on the store.

    Brakes are the acts that stop what is served or take it back. Write access to the store's file suffices for one,
    even without a valid key or a running server: it would allow anything else as well. The record then says
    ``local:<user>`` and no key's name. To let things go on again (unfreeze, resume, approve) is no brake.
    """

    def __init__(self, remote: Client, local: Client, actor: str) -> None:
        """``actor``: who acts on the store."""
        self._remote, self._local, self._actor = remote, local, actor

    def ask(self, function: Callable[[Context, Q], R], request: Q) -> R:
        try:
            return self._remote.ask(function, request)
        except ABOUT_THE_ACT:
            raise
        except DetentError as error:
            use_case = use_case_of(function)
            if not use_case.brake:
                if not isinstance(error, NotAuthenticated | NotAuthorised):
                    raise
                way_out = (
                    f"Without DETENT_API_KEY this account may do it on the store: it is then done as {self._actor}."
                )
                raise type(error)(f"{error.detail} {way_out}", **error.members) from None
            done = "read in" if use_case.is_read else "done on"
            if isinstance(error, NotFound):  # to a key for other families nothing is there
                report = self._local.ask(function, request)
                say(f"The server says: {error.detail}\nSo it was {done} the store, as {self._actor}.", "yellow")
                return report
            say(f"{error.detail}\nSo it is {done} the store itself, as {self._actor}.", "yellow")
            return self._local.ask(function, request)


def _home() -> Path:
    """The project of this folder, else the one whose server runs.

    Raises:
        NotFound: neither; nothing is made in a folder that is no project.
        InvalidInput: several servers run.
    """
    from optimizer.host import user_homes
    from optimizer.host.config import project_home

    home = project_home()
    if home is not None:
        return home
    running = user_homes.running()
    if not running:
        raise NotFound(
            f"{Path.cwd()} is no Detent project (it holds no families/), and no server of yours runs. Go to the"
            " project's folder, name it with DETENT_HOME, or make one: detent init DIR."
        )
    if len(running) > 1:
        homes = ", ".join(map(str, running))
        raise InvalidInput(
            f"Servers of yours run in {len(running)} homes: {homes}. Name the one that is meant with DETENT_HOME."
        )
    say(f"This folder is no project; the server of {running[0]} is asked.")
    return running[0]


def check_one_of(option: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise InvalidInput(f"{option} must be one of {', '.join(choices)}, not {value!r}.")


def time_of(text: str | None, now: datetime, option: str, *, ahead: bool = False) -> datetime | None:
    """The time that an option says: 2026-11-30T14:00, in UTC where it names no zone, or 24h for so long ago.

    Raises InvalidInput.

    Args:
        ahead: 24h stands for so long from now.
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now + span(text, option) * (1 if ahead else -1)
        except OverflowError:
            raise InvalidInput(f"{option} {text} is no time of the calendar.") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def span(text: str, option: str) -> timedelta:
    """The time that an option such as 30m, 24h or 7d says; raises InvalidInput."""
    match = re.fullmatch(r"([0-9]{1,6})([mhd])|0", text)
    if match is None:
        raise InvalidInput(f"{option} needs a time such as 30m, 24h or 7d, not {text!r}.")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]]) if match[1] else timedelta()
