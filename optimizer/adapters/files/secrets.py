"""The installation's secret keys: for assignment tokens and for units.

From DETENT_TOKEN_KEYS, or made once under ``var/keys``.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from optimizer.core.base.errors import InvalidInput

KEY_BYTES = 32
MIN_KEY_BYTES = 16
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """``token_keys``: (id, secret), the first signs and all verify.

    ``unit_key`` turns units into HMACs and must never change:
    with another one, no unit would be recognised in what is stored.
    """

    token_keys: tuple[tuple[str, bytes], ...] = field(repr=False)
    unit_key: bytes = field(repr=False)

    @classmethod
    def load(cls, folder: Path, token_keys: str | None = None) -> Secrets:
        """Reads the keys of the folder and makes those that are absent; processes that start at once agree on them.

        Args:
            token_keys: DETENT_TOKEN_KEYS, which beat the folder's.
        Raises:
            InvalidInput: DETENT_TOKEN_KEYS or a key file is not ``id:hex[,id:hex…]``, or a secret is too short.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close(folder, 0o700)
        unit_file, token_file = folder / "unit.key", folder / "token.keys"
        unit_text = _read_or_make(unit_file, lambda: secrets.token_hex(KEY_BYTES))
        if token_keys:
            parsed = parse_keys(token_keys, where="DETENT_TOKEN_KEYS")
        else:
            key_lines = _read_or_make(token_file, lambda: f"k{secrets.token_hex(3)}:{secrets.token_hex(KEY_BYTES)}")
            parsed = parse_keys(",".join(key_lines.split()), where=str(token_file))
        return cls(token_keys=parsed, unit_key=_secret(unit_text, where=str(unit_file)))


def parse_keys(text: str, *, where: str) -> tuple[tuple[str, bytes], ...]:
    """``id:hexsecret[,id:hexsecret…]`` as (id, secret) pairs. Raises InvalidInput without ever quoting a secret."""
    keys: dict[str, bytes] = {}
    for place, entry in enumerate((e.strip() for e in text.split(",")), start=1):
        id, _, secret = entry.partition(":")
        if not _KEY_ID.fullmatch(id):
            raise InvalidInput(
                f"Key {place} of {where} has no usable id. Write id:hexsecret, with letters, digits, '_', '.' or '-' in"
                " the id, separated by commas."
            )
        if id in keys:
            raise InvalidInput(f"{where} names key {id!r} twice. Give each key an id of its own.")
        keys[id] = _secret(secret, where=f"key {id!r} of {where}")
    return tuple(keys.items())


def _secret(text: str, *, where: str) -> bytes:
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        secret = b""
    if len(secret) < MIN_KEY_BYTES:
        raise InvalidInput(
            f"The secret of {where} is not at least {MIN_KEY_BYTES} bytes in hex digits. Make one with: "
            'python -c "import secrets; print(secrets.token_hex(32))"'
        )
    return secret


def _close(path: Path, mode: int) -> None:
    """To its owner alone. One that is closed already is left alone: it may lie on a disk that can only be read."""
    if path.stat().st_mode & 0o777 != mode:
        path.chmod(mode)


def _read_or_make(path: Path, make: Callable[[], str]) -> str:
    """The file's text. An absent file appears whole or not at all, and only once: the first process to link it wins."""
    if not path.exists():
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 600 from the start
        try:
            with os.fdopen(descriptor, "w") as draft:
                draft.write(make() + "\n")
                draft.flush()
                os.fsync(draft.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(name, path)
        finally:
            os.unlink(name)
    _close(path, 0o600)
    return path.read_text().strip()
