"""The routes below /dashboard: pages, acts with their confirmation, signing in, reports, and the two files that pages
load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from api.dashboard.acts import act_named, carry_out
from api.dashboard.figures import LastDays
from api.dashboard.pages import PAGES, PageRoute
from api.dashboard.rendering import HEADERS, root_of, shown
from api.dashboard.sessions import SessionKey, set_cookie
from api.dashboard.visitors import (
    PageVisit,
    form_of,
    refuse_other_pages,
    require_token,
    sign_in,
    visitor_of,
)
from api.http.bodies import StrictRequest
from api.http.body_limits import limit_of
from api.http.problems import status_of
from api.routing import check_query
from api.services import Services
from optimizer.core.base.errors import DetentError, NotAuthenticated, NotFound
from optimizer.runtime import wiring

FILES: Mapping[str, str] = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
FOLDER = Path(__file__).parent / "files"
ACT_QUERY = frozenset(("id", "family"))
# A report is one file to mail, its style inside: it may show that and nothing else, and runs nothing.
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # noqa: E501
REPORTS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "/dashboard/rollouts/{id}/report": ("report", wiring.rollout_page),
    "/dashboard/studies/{id}/report": ("study report", wiring.study_page),
}
SEE_OTHER = 303
Answers = Callable[[StrictRequest, Services], Awaitable[Response]]


class Dashboard:
    """What the pages of one process share."""

    def __init__(self) -> None:
        self._last_days = LastDays()
        self._signing: SessionKey | None = None

    def routes(self) -> list[Route]:
        pages = [self._route(page.path, partial(self._page, page), page.query) for page in PAGES]
        reports = [self._route(path, partial(self._report, *REPORTS[path]), frozenset()) for path in REPORTS]
        return [
            Route("/", _to_dashboard, include_in_schema=False),
            *pages,
            *reports,
            self._route("/dashboard/acts/{act}", self._confirmation, ACT_QUERY),
            self._route("/dashboard/acts/{act}", self._act, frozenset(), "POST"),
            self._route("/dashboard/reviews/{id}", self._review, frozenset(), "POST"),
            self._route("/dashboard/sign-in", self._sign_in_page, frozenset()),
            self._route("/dashboard/sign-in", self._sign_in, frozenset(), "POST"),
            self._route("/dashboard/sign-out", self._sign_out, frozenset(), "POST"),
            Route("/dashboard/files/{name}", _file, include_in_schema=False),
            self._route("/dashboard/{rest:path}", self._nothing, frozenset()),
        ]

    def _route(self, path: str, answers: Answers, query: frozenset[str], method: str = "GET") -> Route:
        async def endpoint(request: Request) -> Response:
            shared: Services = request.scope["app"].state.services
            strict = StrictRequest(request.scope, request.receive, limit_of(path, shared.settings.limits))
            try:
                check_query(strict, query)
                return await answers(strict, shared)
            except NotAuthenticated:
                if path in ("/dashboard/sign-in", "/dashboard/sign-out"):
                    raise
                return _redirect(strict, "dashboard/sign-in")
            except DetentError as error:
                # The same sentence as over the API; for a visitor who is known with the pages that lead on.
                status = status_of(error)
                visit: PageVisit | None = strict.scope["state"].get("visit")
                title = HTTPStatus(status).phrase if status != 422 else "That cannot be used"
                answer = shown(strict, "error.html", visit, code=status, title=title, detail=error.detail)
                if (wait_s := error.members.get("retry_after_s")) is not None:
                    answer.headers["Retry-After"] = str(wait_s)
                return answer

        endpoint.__name__ = f"{method} {path}"
        return Route(path, endpoint, methods=[method], include_in_schema=False)

    def signing(self, shared: Services) -> SessionKey:
        self._signing = self._signing or SessionKey(shared.secrets.unit_key)
        return self._signing

    async def _visit(self, request: StrictRequest, shared: Services) -> PageVisit:
        visitor = visitor_of(request, shared, self.signing(shared))
        await shared.request_limits.count(visitor.caller)
        visit = request.scope["state"]["visit"] = PageVisit(shared=shared, visitor=visitor, request=request)
        return visit

    async def _page(self, page: PageRoute, request: StrictRequest, shared: Services) -> Response:
        visit = await self._visit(request, shared)
        return await asyncio.to_thread(
            lambda: shown(request, page.template, visit, **page.values(visit, self._last_days))
        )

    async def _report(
        self, name: str, page: Callable[[Any], str], request: StrictRequest, shared: Services
    ) -> Response:
        visit = await self._visit(request, shared)
        text = await asyncio.to_thread(lambda: page(visit.ask(name, id=request.path_params["id"])))
        return HTMLResponse(
            text.encode("utf-8", "replace"), headers={**HEADERS, "Content-Security-Policy": REPORT_POLICY}
        )

    async def _confirmation(self, request: StrictRequest, shared: Services) -> Response:
        visit, act = await self._visit(request, shared), act_named(request.path_params["act"])

        def page() -> Response:
            confirmation = act.confirmation(visit, request.query)
            return shown(
                request, "confirm.html", visit, act=act, confirmation=confirmation, may=visit.visitor.may(act.use_case)
            )

        return await asyncio.to_thread(page)

    async def _form(self, request: StrictRequest, shared: Services) -> tuple[PageVisit, dict[str, str]]:
        """Raises what is wrong with a form before anything is done with it."""
        visit = await self._visit(request, shared)
        refuse_other_pages(request)
        form = await form_of(request)
        require_token(form, visit.visitor, shared, self.signing(shared))
        return visit, form

    async def _act(self, request: StrictRequest, shared: Services) -> Response:
        act = act_named(name := request.path_params["act"])
        visit, form = await self._form(request, shared)
        visit.require(act.use_case)

        def back() -> str:
            page = act.confirmation(visit, form).back  # before the act, after which there may be nothing to confirm
            carry_out(visit, act, form)
            return page

        return _redirect(request, f"{await asyncio.to_thread(back)}?done={name}")

    async def _review(self, request: StrictRequest, shared: Services) -> Response:
        visit, form = await self._form(request, shared)
        members: dict[str, Any] = {"id": request.path_params["id"], "answer": form.get("answer", "")}
        if form.get("expected_text", "").strip():
            members["expected_text"] = form["expected_text"]
        elif form.get("as_answered"):
            members["as_answered"] = True
        await asyncio.to_thread(lambda: visit.act("answer review", **members))
        of_family = f"&family={quote(form['family'])}" if form.get("family") else ""
        return _redirect(request, f"dashboard/reviews?done=1{of_family}")

    async def _nothing(self, request: StrictRequest, shared: Services) -> Response:
        await self._visit(request, shared)
        raise NotFound("There is no such page. The links above lead to those that there are.")

    async def _sign_in_page(self, request: StrictRequest, shared: Services) -> Response:
        return shown(request, "sign_in.html", None, refusal=None)

    async def _sign_in(self, request: StrictRequest, shared: Services) -> Response:
        refuse_other_pages(request)
        form, signing = await form_of(request), self.signing(shared)
        try:
            session = sign_in(request, shared, signing, form.get("key", ""))
        except DetentError as error:
            return shown(request, "sign_in.html", None, code=status_of(error), refusal=error.detail)
        answer = _redirect(request, "dashboard")
        answer.headers.update(set_cookie(signing.cookie, session, secure=request.url.scheme == "https"))
        return answer

    async def _sign_out(self, request: StrictRequest, shared: Services) -> Response:
        refuse_other_pages(request)
        answer = _redirect(request, "dashboard/sign-in")
        over = set_cookie(self.signing(shared).cookie, "", secure=request.url.scheme == "https", lasts_s=0)
        answer.headers.update(over)
        return answer


def _redirect(request: Request, place: str) -> Response:
    """``place`` as seen from the server's first page."""
    return RedirectResponse(root_of(request) + place, SEE_OTHER, headers=HEADERS)


async def _to_dashboard(request: Request) -> Response:
    return RedirectResponse("./dashboard")


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in FILES:
        raise NotFound(f"The pages have no file {name[:60]!r}; they have {', '.join(FILES)}.")
    text = await asyncio.to_thread((FOLDER / name).read_bytes)
    return Response(text, media_type=FILES[name], headers={"Cache-Control": "no-cache"})
