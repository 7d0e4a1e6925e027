"""MLflow's own pages below /dashboard/mlflow/, for who may read texts: this server's MLflow listens on loopback alone.

What reads is passed on, by a list; no tag is set here and nothing is deleted. MLflow's script runs with the visitor's
session, so its page may run that alone, and files that a study left are shown without running anything.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Message

from api.dashboard.rendering import HEADERS
from api.http.bodies import StrictRequest
from api.http.forwarding import ForwardedAnswer, Neighbour
from optimizer.core.base.errors import Busy, NotAuthorised
from optimizer.core.serving.access import Access

PREFIX = "/dashboard/mlflow"
_API = r"(?:ajax-)?api/[23]\.0/mlflow"
# The page, its script and styles, and what that script asks in order to show experiments, runs, prompts and traces.
READS = re.compile(
    r"(?:static-files/[\w./-]+|version|health)?"
    rf"|{_API}/(?:experiments/(?:get|get-by-name|search)|runs/get|metrics/get-history(?:-bulk)?(?:-interval)?"
    r"|artifacts/list|(?:registered-models|model-versions)/(?:get|search|get-latest-versions|alias)"
    r"|logged-models/[\w-]+|server-info|users/current|gateway-proxy|datasets/search"
    r"|traces|traces/(?:get|batchGet|[\w-]+(?:/info)?)|unified-traces|scorers/list)"
)
SEARCHES = re.compile(
    rf"{_API}/(?:(?:experiments|runs|logged-models|datasets|traces|issues)/search|experiments/search-datasets"
    r"|registered-models/get-latest-versions|traces/(?:metrics|batchGetInfos))|graphql"
)
FILES = re.compile(
    rf"(?:model-versions/)?get-artifact|{_API}/(?:get-trace-artifact|logged-models/[\w-]+/artifacts/(?:files|directories))"
    r"|(?:ajax-)?api/2\.0/mlflow-artifacts/artifacts(?:/[\w./-]+)?"
)
TEXT = b"text/plain; charset=utf-8"
FILE_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # noqa: E501
# As the Fetch standard names what runs: a page's own scripts come from static-files/.
_RUNS = frozenset(("script", "worker", "sharedworker", "serviceworker", "audioworklet", "paintworklet"))
# MLflow's interface writes its styles into the page, and shows a file in a frame that it fills itself.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'{hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-src blob:; manifest-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Of this server's address alone: neither who asks, by which key, nor through which proxies they came.
_PASSED_ON = (b"accept", b"content-type", b"if-none-match", b"if-modified-since", b"range", b"user-agent")
_FROM_ANSWER = (b"content-type", b"content-length", b"content-disposition", b"content-range", b"etag", b"last-modified")
BACK = Markup(
    '<p style="position:fixed;right:16px;bottom:12px;z-index:9;margin:0;padding:6px 12px;border-radius:6px;'
    'max-width:40ch;background:#2b62a6;color:#fff;font:14px system-ui,sans-serif">{}'
    '<a href="../studies" style="color:#fff">Studies in Detent</a></p>'
)
MOST_NAMED = 3  # of what is frozen


class MlflowProcess(Neighbour):
    """The MLflow that ``detent serve`` runs."""

    patience_s = 60.0

    def away(self, why: str, *, is_sent: bool = False) -> Exception:
        return Busy(
            f"MLflow cannot be reached: {why}. It starts with `detent serve`, some seconds after the rest; with"
            " `--no-mlflow`, or where DETENT_MLFLOW_TRACKING_URI names another one, none runs here.",
            retry_after_s=5,
        )


def require_reader(access: Access) -> None:
    """Raises NotAuthorised for who may not read all texts: MLflow shows every family's."""
    if not (access.reaches("read-texts") and access.may_see(None)):
        raise NotAuthorised("MLflow shows texts of all families: it needs role read-texts, and a key for all of them.")


async def passed_on(request: StrictRequest, mlflow: MlflowProcess, frozen: Sequence[str]) -> Response:
    """MLflow's answer to what reads; 403 for everything else, and for a study's file that would run as a script. Its
    page says what is ``frozen``.

    Raises Busy where no MLflow runs here, HTTPException 405 for HEAD: a neighbour's answer is awaited with its body.
    """
    if request.method == "HEAD":
        raise HTTPException(405, headers={"Allow": "GET, POST"})
    path: str = request.path_params["rest"]
    is_file = FILES.fullmatch(path) is not None
    reads = READS.fullmatch(path) is not None or is_file
    if ".." in path or not (SEARCHES.fullmatch(path) if request.method == "POST" else reads):
        why = f"MLflow is for reading here, and {request.method} {path[:200]} is not on the list of what reads."
        return _refused(why)
    if is_file and request.first.get("sec-fetch-dest") in _RUNS:
        return _refused("A file that a study left is shown here and run nowhere.")
    scope = {
        **request.scope,
        "raw_path": f"/{path}".encode(),
        "headers": [(name, value) for name, value in request.scope["headers"] if name in _PASSED_ON],
    }
    answer = await mlflow.passed(scope, request.receive, await request.body(), request.state.request_id.encode())
    if answer is None:
        return Response(status_code=499)
    if not path:
        return await _page(request, answer, frozen)
    policy = FILE_POLICY if is_file else "default-src 'none'; frame-ancestors 'none'"
    cached = b"private, max-age=3600" if path.startswith("static-files/") else b"no-store"
    answer.raw_headers = [
        # Not every browser says what it wants a file for, and none runs a text.
        (name, TEXT if is_file and name == b"content-type" and b"script" in value.lower() else value)
        for name, value in answer.raw_headers
        if name in _FROM_ANSWER
    ]
    answer.raw_headers += [(b"content-security-policy", policy.encode()), (b"cache-control", cached)]
    return answer


def _refused(why: str) -> Response:
    return JSONResponse({"error_code": "PERMISSION_DENIED", "message": why}, 403, headers=HEADERS)


async def _page(request: StrictRequest, answer: ForwardedAnswer, frozen: Sequence[str]) -> Response:
    """MLflow's one page with the way back and what is frozen; its policy names the scripts in it: no other runs."""
    pieces: list[bytes] = []

    async def keep(message: Message) -> None:
        pieces.append(message.get("body", b""))

    await answer(request.scope, request.receive, keep)
    text = b"".join(pieces).decode("utf-8", "replace")
    inline = [sha256(script.encode()).digest() for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL)]
    hashes = "".join(f" 'sha256-{b64encode(digest).decode()}'" for digest in inline)
    sentences = [f"{what}: champions only. " for what in frozen[:MOST_NAMED]]
    if (n_more := len(frozen) - MOST_NAMED) > 0:
        sentences.append(f"{n_more} more are frozen. ")
    page = text.replace("<body>", f"<body>{BACK.format(''.join(sentences))}", 1)
    return HTMLResponse(
        page, answer.status_code, {**HEADERS, "Content-Security-Policy": PAGE_POLICY.format(hashes=hashes)}
    )
