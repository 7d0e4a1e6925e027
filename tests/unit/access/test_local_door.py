"""Without keys only programs of this machine come in: by exact name and port, not for a page, not through a proxy."""

from __future__ import annotations

import pytest

from optimizer.core.serving.local_door import SAFE_METHODS, hosts_of, refusal

HERE = hosts_of(8321)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
JSON = ("content-type", "application/json")


def why(
    *headers: tuple[str, str], method: str = "POST", host: str | None = "127.0.0.1:8321", http_version: str = "1.1"
) -> str | None:
    return refusal(method, [*([("host", host)] if host is not None else []), *headers], HERE, http_version=http_version)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("host", ["127.0.0.1:8321", "localhost:8321", "LocalHost:8321", "[::1]:8321"])
def test_a_program_of_this_machine_comes_in(host: str, method: str) -> None:
    assert why(method=method, host=host) is None
    form = ("content-type", "application/x-www-form-urlencoded")
    assert why(form, ("user-agent", "curl/8"), method=method, host=host) is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "host",
    [
        *(None, "", "127.0.0.1", "localhost", "localhost:80", "127.0.0.1:8322", "box:8321", "box"),
        *("evil.example:8321", "127.0.0.1.evil.example:8321", "localhost.:8321", "127.0.0.2:8321", "0.0.0.0:8321"),
        *("10.0.0.5:8321", "[::ffff:127.0.0.1]:8321", "user@localhost:8321", "localhost:8321,x"),
    ],
)
def test_another_name_or_port_does_not(host: str | None, method: str) -> None:
    assert why(method=method, host=host) is not None


def test_two_hosts_are_none() -> None:
    assert why(("host", "127.0.0.1:8321")) is not None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "http://localhost:3000", "http://127.0.0.1", "https://127.0.0.1:8321", "http://localhost:8321"),
        *("http://evil.example", "http://127.0.0.1:8321.evil.example", "app://x", "box", "file://"),
        *("chrome-extension://abcdefghijklmnop", "moz-extension://1-2"),
    ],
)
def test_a_page_of_another_origin_does_not(origin: str, method: str) -> None:
    assert why(("origin", origin), JSON, ("x-requested-with", "x"), method=method) is not None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "odd"])
def test_what_a_browser_sends_for_another_site_does_not(site: str, method: str) -> None:
    assert why(("sec-fetch-site", site), JSON, method=method) is not None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "name",
    [
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-anything"),
        *("forwarded", "via", "x-real-ip"),
    ],
)
def test_what_came_through_a_proxy_does_not(name: str, method: str) -> None:
    assert "keys" in str(why((name, "127.0.0.1"), method=method))


def test_a_proxy_that_gives_no_other_sign_is_known_by_its_old_protocol() -> None:
    assert "keys" in str(why(http_version="1.0"))
    assert why(http_version="1.1") is None
    assert why(http_version="2") is None


@pytest.mark.parametrize(
    "mark", [("origin", "http://127.0.0.1:8321"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")]
)
def test_the_servers_own_page_changes_things_as_no_form_can(mark: tuple[str, str]) -> None:
    assert all(why(mark, method=method) is None for method in SAFE_METHODS)
    assert why(mark) is not None
    form = "application/x-www-form-urlencoded"
    for type in ("text/plain", "TEXT/PLAIN; charset=utf-8", form, "multipart/form-data; boundary=x"):
        assert why(mark, ("content-type", type)) is not None
    assert why(mark, JSON) is None
    assert why(mark, ("x-requested-with", "detent")) is None
    assert why(mark, method="DELETE") is None


def test_a_server_on_port_80_is_named_without_it() -> None:
    assert hosts_of(80, ["localhost"]) == {"localhost", "localhost:80"}
    assert hosts_of(None, ["localhost"]) == {"localhost"}
