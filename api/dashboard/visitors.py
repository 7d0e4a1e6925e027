"""Who opens a page, and what a use case answers them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.access.auth import Caller, Keys, Opens, identify, require, require_family, secret_of, without_key
from api.access.local_door import require_program_of_this_machine
from api.dashboard.sessions import DashboardSession, EndedSessions, SessionKey
from api.http.bodies import StrictRequest
from api.http.problems import MalformedBody, UnsupportedMediaType
from api.idempotency import KeyedRequest, RepeatedRequest, call_once
from api.routing import admit, admit_again, as_told_to, count_change
from api.services import Services
from optimizer.core.base.errors import Busy, DetentError, InvalidFamily, NotAuthenticated, NotAuthorised
from optimizer.core.serving.access import hash_of
from optimizer.core.serving.local_door import is_of_own_page
from optimizer.core.serving.rollout import Rollout, is_frozen
from optimizer.jobs.request import invalid
from optimizer.runtime.apart import answer_apart
from optimizer.runtime.use_cases import USE_CASES, UseCase

FORM_TYPE = "application/x-www-form-urlencoded"
FIRST_PAGE = "dashboard"
WINDING = re.compile(r"[\\#]|//|/\.{1,2}(/|$)")
LISTED = 50  # rows of a list, before its next page
MAX_FIELDS = 300  # the workbench has some for each message and example
BY_NAME = {use_case.name: use_case for use_case in USE_CASES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """``session`` None: someone of this machine while no key is asked for, or a program that sends its key with each
    request.
    """

    caller: Caller
    session: DashboardSession | None
    token: str  # of the forms on the pages that are answered

    def may(self, name: str, family: str | None = None) -> bool:
        """Whether the use case of this name would not be refused for who asks; what would be is not offered.
        ``family`` None: of all of them.
        """
        access = self.caller.access
        return access.reaches(BY_NAME[name].role) and access.may_see(family)

    def may_list(self, name: str) -> bool:
        """As ``may``, of a use case that gives a key for named families what is theirs."""
        use_case, access = BY_NAME[name], self.caller.access
        return access.reaches(use_case.role) and (use_case.narrows or access.may_see(None))

    @property
    def reads_texts(self) -> bool:
        return self.caller.access.reaches("read-texts")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageVisit:
    """One request of a visitor, for what its page asks."""

    shared: Services
    visitor: Visitor
    request: StrictRequest
    signing: SessionKey

    def ask(self, name: str, /, **members: Any) -> Any:
        """The report of a use case, as its API route would answer it: texts are None where the key may not read them.

        Raises as the use case does, NotAuthorised where the visitor's role or families do not reach.
        """
        use_case = BY_NAME[name]
        asking, figures_only = self._asking(use_case, members), not self.visitor.reads_texts
        context = self.shared.context(self.visitor.caller)
        try:
            if use_case.apart:
                return use_case.answer.validate_json(
                    answer_apart(use_case, context, asking, figures_only=figures_only)  # beside this process
                )
            report = use_case.call(context, asking)
        except InvalidFamily as error:
            raise as_told_to(self.visitor.caller, error) from None
        return use_case.answer.validate_json(use_case.written(report, figures_only=True)) if figures_only else report

    def act(self, name: str, /, *, nonce: str = "", **members: Any) -> Any:
        """Carries an act out as its API route does; the same act with the same ``nonce`` once, with the first report.

        Raises as ``ask``, TooMany beyond the limit of changes.
        """
        use_case, shared = BY_NAME[name], self.shared
        asking = self._asking(use_case, members)
        if use_case.change is not None:
            count_change(self.request, shared, use_case.change)
        if nonce:
            sent = sha256(asking.model_dump_json().encode()).hexdigest()
            scope = f"{self.visitor.caller.quota} {self.request.url.path}"
            self.request.state.keyed = KeyedRequest(scope, f"{nonce[:100]} {sent}", sent)
        caller = self.visitor.caller
        try:
            return call_once(
                use_case, asking, self.request, shared, caller, lambda report: Response(use_case.written(report))
            )
        except RepeatedRequest as repeated:
            return use_case.answer.validate_python(repeated.answer["body"])

    def notice(self, what: str) -> str:
        """Of what was just done, for the address of the page that says so."""
        return self.signing.notice(what, self._version(), self.visitor.token, self.shared.clock.now())

    def noticed(self) -> str | None:
        """What the address says was done; None where this visitor did not do it, or something has changed since."""
        text, now = self.request.query.get("done", "")[:300], self.shared.clock.now()
        return self.signing.noticed(text, self._version(), self.visitor.token, now)

    def _version(self) -> int:
        return self.shared.serving.now_served.version or 0

    def family_names(self) -> list[str]:
        """Of what is served and the visitor may see, from memory."""
        return sorted(filter(self.visitor.caller.access.may_see, self.shared.serving.now_served.families))

    def has_page(self, family: str) -> bool:
        """Whether its file is there, good or not; from memory."""
        files = self.shared.families
        return family in files.families or family in files.problems

    def active_rollout(self, family: str) -> Rollout | None:
        """From memory; of a family that the visitor may see."""
        served = self.shared.serving.now_served.families.get(family)
        return served.rollout if served is not None else None

    def is_frozen(self, family: str) -> bool:
        """By its own freeze or that of all; from memory."""
        return is_frozen(self.shared.serving.now_served.freezes, family) is not None

    def champion(self, family: str) -> str | None:
        """The variant that serves; from memory."""
        served = self.shared.serving.now_served.families.get(family)
        return served.champion.variant if served is not None else None

    def has_prompt(self, family: str) -> bool:
        """Whether its champion has a text that could be edited; from memory."""
        served = self.shared.serving.now_served.families.get(family)
        return served is not None and bool(served.variants[served.champion.variant].messages)

    def chats_usd_per_hour(self, family: str) -> float | None:
        """What its chats may spend in an hour, as its file says; None: no cap. From memory."""
        definition = self.shared.serving.now_served.definitions.get(family)
        return definition.limits.usd_per_hour if definition is not None else None

    def require(self, name: str) -> None:
        """Raises NotAuthorised where the visitor's role does not reach."""
        require(self.visitor.caller, BY_NAME[name].role)

    def _asking(self, use_case: UseCase, members: dict[str, Any]) -> Any:
        self.require(use_case.name)
        if not use_case.narrows:
            require_family(self.visitor.caller, members.get("family"))
        try:
            return use_case.request.model_validate(members, by_name=True)
        except ValidationError as error:
            raise invalid(error) from None


def visitor_of(request: StrictRequest, shared: Services, signing: SessionKey) -> Visitor:
    """Raises NotAuthenticated where nobody is signed in and a key is needed, NotAuthorised for what is not of this
    machine where none is.
    """
    if secret_of(request.first) is not None:
        caller = admit(request, shared, "read", narrows=True)
        return Visitor(caller=caller, session=None, token="")
    caller, session = _known(request, shared, signing)
    state = request.scope["state"]
    state["caller"] = caller
    state["passage"].admit(caller.quota)
    return Visitor(caller=caller, session=session, token=signing.token(session, shared.clock.now()))


def still_opens(request: StrictRequest, shared: Services, signing: SessionKey) -> bool:
    """Whether the page of a request that was admitted would be opened now, too: its key or session may have ended."""
    try:
        if secret_of(request.first) is not None:
            admit_again(request, "read", narrows=True)
        else:
            _known(request, shared, signing)
    except DetentError:
        return False
    return True


def _known(request: StrictRequest, shared: Services, signing: SessionKey) -> tuple[Caller, DashboardSession | None]:
    """Who sent it without a key of its own, and the session; raises as ``visitor_of``."""
    keys, now = _keys(shared), shared.clock.now()
    session = signing.session(request.first.get("cookie", ""), now)
    if session is not None and session in _ended_sessions(shared):
        session = None
    opens: Opens | None = keys.by_hash.get(session.key_hash) if session is not None else None
    if opens is not None and not opens.is_over(now):
        return opens.caller, session
    if keys.is_open_to(request.first, now):
        require_program_of_this_machine(request, is_page=True)
        client = request.scope["client"]
        return without_key(shared.actor_without_key, client[0] if client else None, "dashboard"), None
    raise NotAuthenticated("Sign in with a key to see this page.")


def _keys(shared: Services) -> Keys:
    keys = shared.serving.now_served.keys
    if keys is None:
        raise Busy("The store has not been read since the server started, so keys cannot be checked yet.")
    return keys


def sign_in(request: StrictRequest, shared: Services, signing: SessionKey, secret: str) -> str:
    """The cookie of a session of this key. Raises NotAuthenticated, NotAuthorised for a key that reads nothing, TooMany
    for an address that goes on with wrong ones.
    """
    keys, now, client = _keys(shared), shared.clock.now(), request.scope["client"]
    host = client[0] if client else ""
    if not keys.any_exist:
        raise NotAuthenticated("This server has no keys, so there is nothing to sign in with: open /dashboard.")
    try:
        caller = identify({"x-api-key": secret.strip() or "-"}, keys, now)
    except NotAuthenticated as error:
        shared.callers.count("refused", request.first.get("user-agent", ""), f" from {host}, a wrong key")
        raise shared.wrong_keys.came_from(host) or error from None
    require(caller, "read")
    return signing.begin(hash_of(secret.strip()), now)


def sign_out(request: StrictRequest, shared: Services, signing: SessionKey) -> None:
    """Ends the session of this browser, for every copy of its cookie."""
    now = shared.clock.now()
    session = signing.session(request.first.get("cookie", ""), now)
    if session is not None:
        _ended_sessions(shared).add(session, now)


def _ended_sessions(shared: Services) -> EndedSessions:
    return EndedSessions(shared.settings.run_dir() / "ended_sessions")


def path_of(request: Request) -> str:
    """Of the address, without what a proxy put before it."""
    path: str = request.scope["path"]
    return path.removeprefix(request.scope.get("root_path", ""))


def place_of_page(request: StrictRequest) -> str:
    """What leads back to a page that was asked for, from the server's first page on; "" to the first one of all."""
    query = request.scope["query_string"].decode("latin-1")
    place = quote(path_of(request).lstrip("/")) + (f"?{query}" if query else "")
    return place if request.method == "GET" and place != FIRST_PAGE else ""


def page_to_open(place: str) -> str:
    """``place`` where it is a page of this server as ``place_of_page`` says it, else the first one. Nothing that a link
    may say leads elsewhere: no scheme and no host, however a browser reads it, and no way up.
    """
    path = unquote(place.partition("?")[0])
    is_page = path == FIRST_PAGE or path.startswith(f"{FIRST_PAGE}/")
    is_plain = f"{path}{place}".isprintable() and not WINDING.search(path)
    return place if is_page and is_plain else FIRST_PAGE


def refuse_other_pages(request: StrictRequest) -> None:
    """Raises NotAuthorised for a form that a page of another site sent."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.scope["headers"]]
    if not is_of_own_page(headers):
        raise NotAuthorised(
            "A page of another site sent this form, or the browser does not say which one did. Open the page here and"
            " send it again."
        )


async def form_of(request: StrictRequest) -> dict[str, str]:
    """The fields of a form, of each name the last. Raises UnsupportedMediaType, TooLarge or MalformedBody."""
    if request.media_type != FORM_TYPE:
        raise UnsupportedMediaType(f"A page sends its forms as {FORM_TYPE}.")
    try:
        text = (await request.body()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"))
    except ValueError as error:
        raise MalformedBody(f"The form cannot be read: {error}.") from None


def require_token(form: dict[str, str], visitor: Visitor, shared: Services, signing: SessionKey) -> None:
    """Raises NotAuthorised for a form that is not of a page which this visitor opened."""
    if not visitor.token or not signing.accepts(form.get("token", ""), visitor.session, shared.clock.now()):
        raise NotAuthorised("This form is not of a page that was opened here of late. Open the page and send it again.")
