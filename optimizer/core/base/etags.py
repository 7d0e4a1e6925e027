"""Entity tags: made from content, compared as RFC 9110 says."""

from __future__ import annotations

from hashlib import sha256

from optimizer.core.base.errors import PreconditionFailed


def etag_of(content: bytes) -> str:
    """A strong tag of these bytes, quotes included."""
    return f'"{sha256(content).hexdigest()[:32]}"'


def is_listed(etag: str, header: str | None) -> bool:
    """Whether an If-Match or If-None-Match header names this tag (``*`` names every tag).

    Weak tags compare by their text.
    """
    if header is None:
        return False
    if header.strip() == "*":
        return True
    wanted = etag.removeprefix("W/")
    return any(tag.strip().removeprefix("W/") == wanted for tag in header.split(","))


def check_preconditions(current: str | None, *, if_match: str | None, if_none_match: str | None) -> None:
    """Raises PreconditionFailed when the resource is not in the state that the sender of a PUT saw;
    None means it does not exist.
    """
    if if_match is not None and (current is None or not is_listed(current, if_match)):
        raise PreconditionFailed(
            f"If-Match asked for {if_match}, and the resource has {current or 'never been written'}. Read it again and"
            " decide anew.",
            current=current,
        )
    if if_none_match is not None and current is not None and is_listed(current, if_none_match):
        raise PreconditionFailed(
            f"If-None-Match asked for a resource that is not {if_none_match}, and it is {current}.",
            current=current,
        )
