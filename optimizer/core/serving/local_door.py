"""Who may come in where no key is required: programs of this machine, but no page of a browser, and no proxy for
others.

A browser on this machine sends to loopback whatever a page tells it to, so three things are checked. The page's owner
may point a name at this machine: Host is compared exactly. The page has an origin of its own: Origin is compared as
well. The browser sends requests that look like a form's without asking first: an unsafe request has to carry what a
form cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Headers = Sequence[tuple[str, str]]  # names in lower case, in the order sent

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
SAFE_METHODS = ("GET", "HEAD")
FORM_TYPES = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data")
_FORWARDED = ("forwarded", "via", "x-real-ip")
# No page may send these to another origin before it was let.
_ASKED_FIRST = ("x-requested-with", "x-api-key", "authorization")


def hosts_of(port: int | None, names: Iterable[str] = LOCAL_NAMES) -> frozenset[str]:
    """What Host must say of a server on this port; without the number where it is HTTP's own."""
    names = tuple(names)
    numbered = {f"{name}:{port}" for name in names} if port is not None else set()
    return frozenset(numbered | (set(names) if port in (None, 80) else set()))


def refusal(
    method: str, headers: Headers, hosts: frozenset[str], *, http_version: str, is_page: bool = False
) -> str | None:
    """The sentence on why the request is refused and what to do; None where a program of this machine sent it.

    Args:
        hosts: what Host may say, exactly: name and port.
        is_page: of the dashboard, to which a link of any site may lead, and whose own forms carry a token.
        http_version: as ASGI has it. By default nginx passes requests on as 1.0, with a Host of its own and no other
            sign.
    """
    if http_version in ("0.9", "1.0"):
        return (
            f"the request is HTTP/{http_version}, which proxies send and no client of today. Make a key with `detent"
            " keys` for what comes through a proxy"
        )
    named, origins, sites = list[str](), list[str](), list[str]()
    for name, value in headers:  # once: every request without a key comes through here
        if name in _FORWARDED or name.startswith("x-forwarded-"):
            return (
                f"the request was forwarded (header {name}), so it is not known who sent it. Make a key with `detent"
                " keys` for what comes through a proxy"
            )
        if name == "host":
            named.append(value)
        elif name == "origin":
            origins.append(value)
        elif name == "sec-fetch-site":
            sites.append(value)
    if len(named) != 1 or named[0].lower() not in hosts:
        host_text = repr(", ".join(named)[:100]) if named else "no Host"
        return (
            f"it answers to {', '.join(sorted(hosts))} only, and the request says {host_text}. Use one of these, port"
            " included, or make a key with `detent keys`"
        )
    host = named[0]
    if any(origin.lower() != f"http://{host.lower()}" for origin in origins):
        return f"it takes no requests from pages of {', '.join(origins)[:100]!r}. Make a key with `detent keys`"
    if any(site not in ("same-origin", "none") for site in sites) and not (is_page and is_opened(method, headers)):
        return (
            f"a browser sent this for a page of another site (Sec-Fetch-Site: {', '.join(sites)[:40]}). Make a key with"
            " `detent keys`"
        )
    # Whether a browser would have asked this server before it sent such a request from another origin.
    if (
        not is_page
        and bool(origins or sites)
        and method == "POST"
        and not any(name in _ASKED_FIRST or (name == "content-type" and not is_form(value)) for name, value in headers)
    ):  # others are asked first by their method
        return "a page's POST needs `Content-Type: application/json` or `X-Requested-With`, which no form can send"
    return None


def is_opened(method: str, headers: Headers) -> bool:
    """Whether a browser opens a page of its own with this request; the site with the link cannot read that page."""
    named = dict(headers)
    return method in SAFE_METHODS and (named.get("sec-fetch-mode"), named.get("sec-fetch-dest")) == (
        "navigate",
        "document",
    )


def is_of_own_page(headers: Headers) -> bool:
    """Whether a browser says that a page of the address itself sent this form.

    Sec-Fetch-Site is the browser's own word; without it, as on plain HTTP to another machine, Origin must name the host
    that was asked. A proxy may speak HTTPS to the browser, so the scheme is not compared.
    """
    named = dict(headers)
    site = named.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    host, origin = named.get("host", "").lower(), named.get("origin", "").lower()
    return bool(host) and origin in (f"http://{host}", f"https://{host}")


def is_form(content_type: str) -> bool:
    """Whether any web page can send this type of body."""
    return content_type.partition(";")[0].strip().lower() in FORM_TYPES
