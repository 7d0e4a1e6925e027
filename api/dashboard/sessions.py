"""Sessions of people who signed in with a key, and the tokens of forms.

A session is a signed cookie and nothing of it is stored before somebody signs out, so every worker reads each, also
after a restart. It names the hash of the key's secret: a key that is revoked, has expired or got a new secret opens
nothing, and no more does the session.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

LASTS = timedelta(hours=12)
NOTICE_LASTS = timedelta(minutes=10)  # of what was done, on a page that is opened again
TOKEN_LASTS = timedelta(days=1)  # of a form where nobody signs in, two at most


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSession:
    """``key_hash``: SHA-256 of the secret that it was begun with, as the store knows the key."""

    key_hash: str
    ends_at: datetime
    nonce: str


class SessionKey:
    """Signs sessions and tokens of forms. ``cookie``: its name, which differs from home to home, since browsers send
    cookies to every port of a host.
    """

    def __init__(self, unit_key: bytes) -> None:
        self._key = hmac.digest(unit_key, b"sessions of the dashboard", "sha256")
        self.cookie = f"detent_{self._signature('name of the cookie')[:12]}"

    def begin(self, key_hash: str, now: datetime) -> str:
        """The cookie of a new session."""
        content = f"{key_hash}.{int((now + LASTS).timestamp())}.{secrets.token_urlsafe(16)}"
        return f"{content}.{self._signature(content)}"

    def session(self, cookies: str, now: datetime) -> DashboardSession | None:
        """Args: cookies: the header, as it came. None where it holds no session of this home that goes on."""
        pairs = (pair.strip().partition("=") for pair in cookies.split(";"))  # among them what others of this host set
        cookie = next((value for name, _, value in pairs if name == self.cookie), "")
        content, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(content).encode()):
            return None
        key_hash, ends, nonce = content.split(".")
        session = DashboardSession(key_hash=key_hash, ends_at=datetime.fromtimestamp(int(ends), UTC), nonce=nonce)
        return session if now < session.ends_at else None

    def token(self, session: DashboardSession | None, now: datetime) -> str:
        """Of the forms of a page; the same as long as the session, so that a page which did not change says so."""
        return self._signature(f"form {session.nonce if session is not None else now.astimezone(UTC).date()}")

    def accepts(self, token: str, session: DashboardSession | None, now: datetime) -> bool:
        times = (now,) if session is not None else (now, now - TOKEN_LASTS)
        return any(hmac.compare_digest(token.encode(), self.token(session, at).encode()) for at in times)

    def notice(self, what: str, version: int, token: str, now: datetime) -> str:
        """What an address carries to the page that says what was done. ``token``: of the visitor's forms; ``version``:
        of what is served then.
        """
        content = f"{what}.{version}.{int(now.timestamp())}"
        return f"{content}.{self._notice_signature(content, token)}"

    def noticed(self, text: str, version: int, token: str, now: datetime) -> str | None:
        """What such a text says was done; None where another visitor was told so, some time has gone by or something
        has changed since. A process that has not heard of the change itself serves an earlier version.
        """
        content, _, signature = text.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._notice_signature(content, token).encode()):
            return None
        what, then, at = content.rsplit(".", 2)
        is_of_now = int(then) >= version and now - datetime.fromtimestamp(int(at), UTC) < NOTICE_LASTS
        return what if is_of_now else None

    def _notice_signature(self, content: str, token: str) -> str:
        return self._signature(f"notice {token} {content}")[:32]

    def _signature(self, content: str) -> str:
        return hmac.new(self._key, content.encode("utf-8", "surrogateescape"), sha256).hexdigest()


class EndedSessions:
    """Those that somebody signed out of. Each is an empty file until it would have ended by itself, so that every
    process of the home knows of it, also after a restart.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, session: DashboardSession) -> bool:
        return self._file(session).exists()

    def add(self, session: DashboardSession, now: datetime) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in self._folder.iterdir():
            ends_at = file.name.partition(".")[0]
            if ends_at.isdecimal() and int(ends_at) <= now.timestamp():
                file.unlink(missing_ok=True)
        self._file(session).touch()

    def _file(self, session: DashboardSession) -> Path:
        return self._folder / f"{int(session.ends_at.timestamp())}.{session.nonce}"


def set_cookie(name: str, value: str, *, secure: bool, lasts_s: int = int(LASTS.total_seconds())) -> Mapping[str, str]:
    """Without a path it holds for the folder of the address that sets it, behind a proxy's prefix too."""
    flags = "; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
    return {"Set-Cookie": f"{name}={value}; Max-Age={lasts_s}{flags}"}
