"""What every answer tells a browser: run nothing, show it in no frame, take its type as declared."""

from __future__ import annotations

CSP = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
NAME_OF_CSP = b"content-security-policy"
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
RAW = tuple((name.lower().encode(), value.encode()) for name, value in SAFE_HEADERS.items())
SAFE_NAMES = frozenset(name for name, _ in RAW)
WITH_POLICY = (*RAW, (NAME_OF_CSP, CSP.encode()))


def add_safe_headers(headers: list[tuple[bytes, bytes]]) -> None:
    """Adds them in place; a page that has its own policy keeps it."""
    headers.extend(RAW if NAME_OF_CSP in dict(headers) else WITH_POLICY)
