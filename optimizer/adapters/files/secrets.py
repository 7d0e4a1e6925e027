"""The installation's secret keys: for assignment tokens and for units.

From DETENT_TOKEN_KEYS, or made once under ``var/keys``.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from optimizer.core.base.errors import InvalidInput
from optimizer.core.serving.assignment import TOKEN_VALID
from optimizer.ports import InstallationKey, KeyKind

KEY_BYTES = 32
MIN_KEY_BYTES = 16
OLDER_UNIT_KEYS = "unit.older"
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_ROTATED_ID = re.compile(r"k[0-9a-f]{6}-(\d{8}T\d{6}Z)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """``token_keys``: (id, secret), the first signs and all verify.

    ``unit_keys`` turn units into HMACs: the first those that are stored, the older ones those that were.
    """

    token_keys: tuple[tuple[str, bytes], ...] = field(repr=False)
    unit_keys: tuple[bytes, ...] = field(repr=False)

    @property
    def unit_key(self) -> bytes:
        return self.unit_keys[0]

    @property
    def unit_key_names(self) -> tuple[str, ...]:
        """No secrets."""
        return tuple(map(_name_of, self.unit_keys))

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
        unit_key = _secret(unit_text, where=str(unit_file))
        older: list[bytes] = []
        with contextlib.suppress(FileNotFoundError):
            lines = (folder / OLDER_UNIT_KEYS).read_text().split()
            older = [secret for _, secret in parse_keys(",".join(lines), where=str(folder / OLDER_UNIT_KEYS))]
        return cls(token_keys=parsed, unit_keys=(unit_key, *(key for key in older if key != unit_key)))


class KeyFiles:
    """ports.InstallationKeys on ``var/keys``.

    Each file is replaced as a whole, and an older release reads both kinds: a key's id says when it began to sign, and
    units' older keys have a file of their own.
    """

    def __init__(self, folder: Path, token_keys: str | None) -> None:
        """Args: token_keys: DETENT_TOKEN_KEYS, which beat the folder's."""
        self._folder, self._token_keys = folder, token_keys

    def newest(self, kind: KeyKind) -> InstallationKey:
        secrets_now = Secrets.load(self._folder, self._token_keys)
        if kind == "unit":
            older = secrets_now.unit_keys[1:]
            written_at = datetime.fromtimestamp((self._folder / "unit.key").stat().st_mtime, UTC)
            name = _name_of(secrets_now.unit_key)
            return InstallationKey(name=name, n_older=len(older), rotated_at=written_at if older else None)
        name = secrets_now.token_keys[0][0]
        return InstallationKey(
            name=name,
            n_older=len(secrets_now.token_keys) - 1,
            rotated_at=began_at(name),
            is_in_environment=bool(self._token_keys),
        )

    def rotate(self, kind: KeyKind, at: datetime) -> str:
        secrets_now = Secrets.load(self._folder)
        if kind == "unit":
            key = secrets.token_bytes(KEY_BYTES)
            older = "".join(f"{_name_of(one)}:{one.hex()}\n" for one in secrets_now.unit_keys)
            _replace(self._folder / OLDER_UNIT_KEYS, older)  # first, so that no kill leaves a key in neither file
            _replace(self._folder / "unit.key", f"{key.hex()}\n")
            return _name_of(key)
        id = f"k{secrets.token_hex(3)}-{at:%Y%m%dT%H%M%SZ}"
        # Those by which a token that is still valid may be signed: a key signed until the one before it in the list
        # began to
        ended: list[datetime | None] = [at, *(began_at(id) for id, _ in secrets_now.token_keys)]
        lines = [
            (id, secrets.token_bytes(KEY_BYTES)),
            *[
                key
                for key, end in zip(secrets_now.token_keys, ended, strict=False)
                if end is None or at - end <= TOKEN_VALID
            ],
        ]
        _replace(self._folder / "token.keys", "".join(f"{name}:{secret.hex()}\n" for name, secret in lines))
        return id


def began_at(id: str) -> datetime | None:
    """When a key that a rotation made began to sign; None of any other."""
    match = _ROTATED_ID.fullmatch(id)
    return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) if match is not None else None


def _name_of(unit_key: bytes) -> str:
    return f"u{sha256(unit_key).hexdigest()[:12]}"


@contextlib.contextmanager
def _draft(path: Path, text: str) -> Iterator[str]:
    """The name of a file beside ``path`` with this text, on disk; it is gone afterwards."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 600 from the start
    try:
        with os.fdopen(descriptor, "w") as draft:
            draft.write(text)
            draft.flush()
            os.fsync(draft.fileno())
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _replace(path: Path, text: str) -> None:
    """On disk when it returns: the old file or the new one, whole."""
    with _draft(path, text) as name:
        os.replace(name, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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
    """Leaves access to its owner alone. A path that is so already is not touched, since its disk may be read-only."""
    if path.stat().st_mode & 0o777 != mode:
        path.chmod(mode)


def _read_or_make(path: Path, make: Callable[[], str]) -> str:
    """The file's text. An absent file appears whole or not at all, and only once: the first process to link it wins."""
    if not path.exists():
        with _draft(path, make() + "\n") as name, contextlib.suppress(FileExistsError):
            os.link(name, path)
    _close(path, 0o600)
    return path.read_text().strip()
