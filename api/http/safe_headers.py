"""What every answer tells a browser: run nothing, show it in no frame, take its type as declared."""

from __future__ import annotations

from collections.abc import Sequence

NAME_OF_CSP = b"content-security-policy"
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
CSP = b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
WITH_POLICY = (*SAFE_HEADERS, (NAME_OF_CSP, CSP))


def safe_headers(answered: Sequence[tuple[bytes, bytes]]) -> Sequence[tuple[bytes, bytes]]:
    """What an answer with the headers ``answered`` gets besides; a page that has its own policy keeps it."""
    return SAFE_HEADERS if any([name == NAME_OF_CSP for name, _ in answered]) else WITH_POLICY
