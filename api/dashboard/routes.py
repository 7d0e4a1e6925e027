"""The routes below /dashboard: pages, acts with their confirmation, signing in, reports, and the files of pages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from api.dashboard.acts import act_named, carry_out, confirmation_to_send
from api.dashboard.changes import Changes
from api.dashboard.confirmations import require_name
from api.dashboard.figures import LastDays
from api.dashboard.mlflow_pages import PREFIX, MlflowProcess, passed_on, require_reader
from api.dashboard.pages import PAGES, PageRoute
from api.dashboard.rendering import BEING_READ_S, BUSY_S, HEADERS, SCRIPTS, freezes_of, page_answer, root_of
from api.dashboard.request_pages import list_asked
from api.dashboard.review_pages import answer_of, review_values
from api.dashboard.sessions import SessionKey, set_cookie
from api.dashboard.visitors import (
    FIRST_PAGE,
    PageVisit,
    Visitor,
    form_of,
    page_to_open,
    place_of_page,
    refuse_other_pages,
    require_token,
    sign_in,
    sign_out,
    still_opens,
    visitor_of,
)
from api.dashboard.workbench import WorkbenchForm, carry_out_form, form_in, form_values
from api.http.bodies import StrictRequest
from api.http.body_limits import limit_of
from api.http.problems import fault_of, status_of
from api.kept_reads import CHANGING_S, ReadKey
from api.routing import by_feedback_process, check_query
from api.services import Services
from optimizer.core.base.answers import etag_of, is_listed
from optimizer.core.base.errors import Busy, Conflict, DetentError, InvalidInput, NotAuthenticated, NotFound
from optimizer.runtime import wiring

FILES: Mapping[str, str] = {
    "dashboard.css": "text/css",
    **dict.fromkeys(SCRIPTS, "text/javascript"),
    "icon.svg": "image/svg+xml",
}
FOLDER = Path(__file__).parent / "files"
ACT_QUERY = frozenset(("id", "family", "variant", "interactions", "name"))
WORDS = re.compile(r"content_\w+|note|reason|expected_text")  # fields of forms that hold a person's
ENDED = "Your session has ended, so nothing was done."
# A report is one file to mail, its style inside: it may show that and nothing else, and runs nothing.
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # noqa: E501
# Address > use case of what it is about, of the report, its page, and the page that leads there: folder and name.
REPORTS: Mapping[str, tuple[str, str, Callable[[Any], str], Callable[[Any], tuple[str, str]]]] = {
    "/dashboard/rollouts/{id}/report": (
        "rollout",
        "report",
        wiring.rollout_page,
        lambda rollout: ("families", rollout.family),
    ),
    "/dashboard/studies/{id}/report": (
        "study",
        "study report",
        wiring.study_page,
        lambda study: ("studies", study.id),
    ),
}
MAIN = Markup("<main>")
BACK = MAIN + Markup('\n<p><a href="../../{folder}/{name}">Back to {name}</a></p>')
FROZEN = Markup("\n<p><b>{}</b>: champions only.</p>")
SEE_OTHER = 303
ASKED_AGAIN = (409, 412, 422)  # what a person may mend in the form
TITLES: Mapping[int, str] = {
    400: "That address cannot be read",
    403: "That is not yours to do",
    404: "There is nothing here",
    409: "That does not go now",
    412: "It has changed since you looked",
    413: "That is too much at once",
    415: "That is no form of these pages",
    422: "That cannot be used",
    429: "Too much in too short a time",
    500: "Something went wrong here",
    503: "Not ready at this moment",
}
Answers = Callable[[StrictRequest, Services], Awaitable[Response]]


class Dashboard:
    """What the pages of one process share."""

    def __init__(self) -> None:
        self._last_days, self._changes = LastDays(), Changes()
        self._signing: tuple[bytes, SessionKey] | None = None  # with the unit key that it is made of
        self._mlflow: MlflowProcess | None = None

    def close(self) -> None:
        if self._mlflow is not None:
            self._mlflow.close()

    def pages(self) -> list[Route]:
        """What is only looked at, and no stream: the process for feedback has these, too."""
        return [
            *(self._route(page.path, partial(self._page, page), page.query) for page in PAGES),
            *(self._route(path, partial(self._report, path), frozenset()) for path in REPORTS),
            self._route("/dashboard/acts/{act}", self._confirmation, ACT_QUERY),
        ]

    def routes(self) -> list[Route]:
        return [
            Route("/", _to_dashboard, include_in_schema=False),
            Route("/mlflow", _to_mlflow, include_in_schema=False),
            Route(PREFIX, _to_mlflow, include_in_schema=False),
            self._route(f"{PREFIX}/{{rest:path}}", self._mlflow_page, None),
            self._route(f"{PREFIX}/{{rest:path}}", self._mlflow_page, None, "POST"),
            *self.pages(),
            self._route("/dashboard/changes", self._stream, frozenset()),
            self._route("/dashboard/acts/{act}", self._act, frozenset(), "POST"),
            self._route("/dashboard/reviews/{id}", self._review, frozenset(), "POST"),
            self._route("/dashboard/requests", self._requests, frozenset(), "POST"),
            self._route("/dashboard/families/{family}/workbench", self._workbench, frozenset(), "POST"),
            self._route("/dashboard/sign-in", self._sign_in_page, frozenset(("next",))),
            self._route("/dashboard/sign-in", self._sign_in, frozenset(), "POST"),
            self._route("/dashboard/sign-out", self._sign_out, frozenset(), "POST"),
            Route("/dashboard/files/{name}", _file, include_in_schema=False),
            self._route("/dashboard/{rest:path}", self._nothing, frozenset()),
        ]

    def _route(self, path: str, answers: Answers, query: frozenset[str] | None, method: str = "GET") -> Route:
        """``query``: the parameters that the address may carry; None: any."""

        async def endpoint(request: Request) -> Response:
            shared: Services = request.scope["app"].state.services
            strict = StrictRequest(request.scope, request.receive, limit_of(path, shared.settings.limits))
            try:
                if query is not None:
                    check_query(strict, query)
                if method == "GET" and strict.first.get("hx-target") == "freezes":
                    return page_answer(
                        strict, "base.html", await self._visit(strict, shared)
                    )  # as far as it is looked at
                return await answers(strict, shared)
            except NotAuthenticated:
                if path == "/dashboard/sign-in":
                    raise
                if typed := await _typed(strict):
                    return page_answer(
                        strict, "sign_in.html", None, code=401, refusal=ENDED, next=FIRST_PAGE, typed=typed
                    )
                query_of_place = f"?{urlencode({'next': place})}" if (place := place_of_page(strict)) else ""
                return _redirect(strict, f"dashboard/sign-in{query_of_place}")
            except DetentError as error:
                return _error_page(strict, error, await _typed(strict))
            except (ClientDisconnect, HTTPException):
                raise
            except Exception as error:
                return _error_page(strict, fault_of(strict, error), await _typed(strict))

        endpoint.__name__ = f"{method} {path}"
        return Route(path, endpoint, methods=[method], include_in_schema=False)

    def signing(self, shared: Services) -> SessionKey:
        unit_key = shared.secrets.unit_key
        if self._signing is None or self._signing[0] != unit_key:
            self._signing = unit_key, SessionKey(unit_key)
        return self._signing[1]

    async def _visit(self, request: StrictRequest, shared: Services, visitor: Visitor | None = None) -> PageVisit:
        """``visitor`` None: whose request was not admitted yet; one that was is counted as in work already."""
        visitor = visitor or visitor_of(request, shared, self.signing(shared))
        await shared.request_limits.count(visitor.caller)
        visit = request.scope["state"]["visit"] = PageVisit(
            shared=shared, visitor=visitor, request=request, signing=self.signing(shared)
        )
        return visit

    async def _drawn(self, request: StrictRequest, shared: Services, draw: Callable[[PageVisit], Response]) -> Response:
        """By the process for feedback where there is one: to draw a page takes tens of milliseconds of an interpreter,
        for which prompts would wait here, and the page for them.
        """
        visitor = visitor_of(request, shared, self.signing(shared))  # the other process hears of this machine alone
        with suppress(Busy):  # nothing was changed, so it may be asked here as well
            # no HEAD: what passes requests on would wait for the body that its answer announces
            if request.method == "GET" and (answer := await by_feedback_process(request, shared)) is not None:
                return answer
        return await asyncio.to_thread(draw, await self._visit(request, shared, visitor))

    async def _page(self, page: PageRoute, request: StrictRequest, shared: Services) -> Response:
        def draw(visit: PageVisit) -> Response:
            return page_answer(request, page.template, visit, **page.values(visit, self._last_days))

        return await self._drawn(request, shared, draw)

    async def _stream(self, request: StrictRequest, shared: Services) -> Response:
        """As long as the page is open, its key or session opens it, and this process goes on."""
        await self._visit(request, shared)
        state = request.scope["app"].state

        def goes_on() -> bool:
            return not getattr(state, "is_ending", False) and still_opens(request, shared, self.signing(shared))

        events = self._changes.events(shared, goes_on)
        return StreamingResponse(events, media_type="text/event-stream", headers={**HEADERS, "X-Accel-Buffering": "no"})

    async def _mlflow_page(self, request: StrictRequest, shared: Services) -> Response:
        visit = await self._visit(request, shared)
        if request.method == "POST":
            refuse_other_pages(request)
        require_reader(visit.visitor.caller.access)
        self._mlflow = self._mlflow or MlflowProcess(shared.settings.run_dir() / "mlflow.json")
        return await passed_on(request, self._mlflow, [freeze["what"] for freeze in freezes_of(visit)])

    async def _report(self, path: str, request: StrictRequest, shared: Services) -> Response:
        (about, use_case, page, leads_here), id = REPORTS[path], request.path_params["id"]

        def draw(visit: PageVisit) -> Response:
            folder, name = leads_here(visit.ask(about, id=id))
            read = shared.kept_reads.of(
                ReadKey(subject=f"{use_case} {id}", access=visit.visitor.caller.access),
                lambda: page(visit.ask(use_case, id=id)),
                version=shared.serving.now_served.version,  # which each act changes
                keep_s=CHANGING_S,
            )
            if read is None:
                return page_answer(request, "being_made.html", visit, code=202, asks_again_s=BEING_READ_S)
            is_gone = folder == "families" and not visit.has_page(name)
            above = MAIN if is_gone else BACK.format(folder=folder, name=name)  # which the file to mail lacks
            for freeze in freezes_of(visit):
                above += FROZEN.format(freeze["what"])
            text = read.answer.replace(MAIN, above, 1)
            return HTMLResponse(
                text.encode("utf-8", "replace"), headers={**HEADERS, "Content-Security-Policy": REPORT_POLICY}
            )

        return await self._drawn(request, shared, draw)

    async def _confirmation(self, request: StrictRequest, shared: Services) -> Response:
        def draw(visit: PageVisit) -> Response:
            act = act_named(request.path_params["act"])
            confirmation = act.confirmation(visit, request.query)
            values: dict[str, Any] = {"act": act, "confirmation": confirmation, "detail": None, "typed": {}}
            may = visit.visitor.may(act.use_case, confirmation.family)
            return page_answer(request, "confirm.html", visit, may=may, **values)

        return await self._drawn(request, shared, draw)

    async def _form(self, request: StrictRequest, shared: Services) -> tuple[PageVisit, dict[str, str]]:
        """Raises what is wrong with a form before anything is done with it."""
        visit = await self._visit(request, shared)
        refuse_other_pages(request)
        form = request.scope["state"]["form"] = await form_of(request)
        if not still_opens(request, shared, self.signing(shared)):
            raise NotAuthenticated(ENDED)
        require_token(form, visit.visitor, shared, self.signing(shared))
        return visit, form

    async def _act(self, request: StrictRequest, shared: Services) -> Response:
        act = act_named(name := request.path_params["act"])
        visit, form = await self._form(request, shared)
        visit.require(act.use_case)

        form |= {"confirm": form["confirm"].strip()} if "confirm" in form else {}

        def answer() -> Response:
            confirmation = confirmation_to_send(visit, act, form)
            try:
                if confirmation is not None:
                    require_name(confirmation, form.get("confirm", ""))
                report = carry_out(visit, act, form)
            except DetentError as error:
                if confirmation is None or (code := status_of(error)) not in ASKED_AGAIN:
                    raise
                values: dict[str, Any] = {"act": act, "confirmation": confirmation, "may": True, "typed": form}
                return page_answer(request, "confirm.html", visit, code=code, **values, **_refusal(request, error))
            if act.place is not None:
                page = act.place(report)
            else:
                assert confirmation is not None
                page = confirmation.back
            return _redirect(request, f"{page}?done={visit.notice(name)}")

        return await asyncio.to_thread(answer)

    async def _workbench(self, request: StrictRequest, shared: Services) -> Response:
        visit, fields = await self._form(request, shared)
        act = fields.get("do", "")

        def answer(form: WorkbenchForm) -> Response:
            refusal: DetentError | None = None
            code = 200
            if act in ("save", "try"):
                try:
                    return _redirect(request, carry_out_form(visit, form, act))
                except DetentError as error:
                    refusal, code = error, status_of(error)
            elif act == "redraw":
                form = replace(form, seed=(form.seed or 0) + 1, example_ids=None)
            elif act == "typing":
                form = replace(form, seed=None)
            return page_answer(request, "workbench.html", visit, code=code, **form_values(visit, form, refusal))

        return await asyncio.to_thread(answer, form_in(fields))

    async def _review(self, request: StrictRequest, shared: Services) -> Response:
        visit, form = await self._form(request, shared)
        id = request.path_params["id"]

        def answer() -> Response:
            try:
                return _redirect(request, answer_of(visit, id, form))
            except (Conflict, InvalidInput) as error:
                of_family, skip = form.get("family"), form.get("skip", "")
                values = review_values(visit, of_family, skip, refusal=error.detail, answered=id, typed=form)
                return page_answer(request, "reviews.html", visit, code=status_of(error), **values)

        return await asyncio.to_thread(answer)

    async def _requests(self, request: StrictRequest, shared: Services) -> Response:
        visit, form = await self._form(request, shared)
        return _redirect(request, list_asked(visit, form))

    async def _nothing(self, request: StrictRequest, shared: Services) -> Response:
        await self._visit(request, shared)
        raise NotFound("There is no such page. The menu leads to those that there are.")

    async def _sign_in_page(self, request: StrictRequest, shared: Services) -> Response:
        place = page_to_open(request.query.get("next", ""))
        return page_answer(request, "sign_in.html", None, refusal=None, next=place, typed=())

    async def _sign_in(self, request: StrictRequest, shared: Services) -> Response:
        refuse_other_pages(request)
        request.scope["state"]["passage"].admit(f"address:{(request.scope['client'] or ['local'])[0]}")
        form, signing = await form_of(request), self.signing(shared)
        place = page_to_open(form.get("next", ""))
        try:
            session = sign_in(request, shared, signing, form.get("key", ""))
        except DetentError as error:
            values = {"refusal": error.detail.replace("`", ""), "next": place, "typed": ()}
            return page_answer(request, "sign_in.html", None, code=status_of(error), **values)
        answer = _redirect(request, place)
        answer.headers.update(set_cookie(signing.cookie, session, secure=request.url.scheme == "https"))
        return answer

    async def _sign_out(self, request: StrictRequest, shared: Services) -> Response:
        await self._form(request, shared)
        await asyncio.to_thread(sign_out, request, shared, self.signing(shared))
        answer = _redirect(request, "dashboard/sign-in")
        over = set_cookie(self.signing(shared).cookie, "", secure=request.url.scheme == "https", lasts_s=0)
        answer.headers.update(over)
        return answer


async def _typed(request: StrictRequest) -> Sequence[str]:
    """A person's words in a form of this server's own pages, which browsers do not keep where another page answers."""
    if request.method != "POST":
        return ()
    try:
        refuse_other_pages(request)
        form = await form_of(request)
    except DetentError:
        return ()
    return [text for name, text in form.items() if text.strip() and WORDS.fullmatch(name)]


def _error_page(request: StrictRequest, error: DetentError, typed: Sequence[str]) -> Response:
    """The same sentence as over the API; for a visitor who is known with the pages that lead on."""
    status, state = status_of(error), request.scope["state"]
    asks_again = request.method == "GET" and isinstance(error, Busy) and error.passes
    answer = page_answer(
        request,
        "error.html",
        state.get("visit"),
        code=status,
        title=TITLES.get(status) or HTTPStatus(status).phrase,
        **_refusal(request, error),
        asks_again_s=BUSY_S if asks_again else None,
        typed=typed,
        request_id=state.get("request_id") if status == 500 else None,
    )
    if (wait_s := error.members.get("retry_after_s")) is not None:
        answer.headers["Retry-After"] = str(wait_s)
    return answer


def _refusal(request: StrictRequest, error: DetentError) -> Mapping[str, Any]:
    """What a page tells of an error: its sentence, and the buttons of what it offers."""
    state = request.scope["state"]
    return {
        "detail": error.detail.replace("`", ""),
        "offers": error.members.get("offers", ()),
        "family": _family_of(request, state.get("visit"), state.get("form", {})),
    }


def _family_of(request: StrictRequest, visit: PageVisit | None, form: Mapping[str, str]) -> str | None:
    """The family that the address or the form names, itself or by its active rollout; None without one to be led to."""
    if visit is None:
        return None
    named = {**form, **request.query, **request.path_params}
    served = visit.shared.serving.now_served.families
    by_rollout = (name for name, one in served.items() if one.rollout is not None and one.rollout.id == named.get("id"))
    family = named.get("family") or next(by_rollout, None)
    return family if family in visit.family_names() else None


def _redirect(request: Request, place: str) -> Response:
    """``place`` as seen from the server's first page."""
    return RedirectResponse(root_of(request) + place, SEE_OTHER, headers=HEADERS)


async def _to_dashboard(request: Request) -> Response:
    return RedirectResponse("./dashboard")


async def _to_mlflow(request: Request) -> Response:
    """Below the pages, since a session's cookie is sent to nothing else."""
    return RedirectResponse(f"{root_of(request)}dashboard/mlflow/")


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in FILES:
        raise NotFound(f"The pages have no file {name[:60]!r}; they have {', '.join(FILES)}.")
    shared = [files("optimizer.adapters.reports") / "templates" / "base.css"] if name == "dashboard.css" else []
    text = await asyncio.to_thread(lambda: b"".join(file.read_bytes() for file in (*shared, FOLDER / name)))
    headers = {"Cache-Control": "no-cache", "ETag": (tag := etag_of(text))}
    if is_listed(tag, request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    return Response(text, media_type=FILES[name], headers=headers)
