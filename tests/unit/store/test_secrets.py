"""Keys are made once, privately, and agreed on."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from optimizer.adapters.files.secrets import KeyFiles, Secrets, parse_keys
from optimizer.core.base.errors import InvalidInput

HEX = "ab" * 32


def test_absent_keys_are_made_for_the_owner_only_and_kept(tmp_path: Path):
    first = Secrets.load(tmp_path / "var" / "keys")
    assert Secrets.load(tmp_path / "var" / "keys") == first
    folder = tmp_path / "var" / "keys"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {f.name: f.stat().st_mode & 0o777 for f in folder.iterdir()} == {"unit.key": 0o600, "token.keys": 0o600}
    assert len(first.unit_key) == len(first.token_keys[0][1]) == 32


def test_installations_do_not_share_keys(tmp_path: Path):
    one, other = Secrets.load(tmp_path / "a" / "var" / "keys"), Secrets.load(tmp_path / "b" / "var" / "keys")
    assert one.unit_key != other.unit_key
    assert one.token_keys[0][1] != other.token_keys[0][1]


def test_processes_that_start_at_once_agree(tmp_path: Path):
    loaded: list[Secrets] = []
    barrier = threading.Barrier(8)

    def load() -> None:
        barrier.wait()
        loaded.append(Secrets.load(tmp_path / "var" / "keys"))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(loaded) == 8
    assert all(keys == loaded[0] for keys in loaded)


def test_keys_from_the_environment_are_taken_in_their_order(tmp_path: Path):
    found = Secrets.load(tmp_path / "var" / "keys", token_keys=f"new:{HEX}, old:{'cd' * 16}")
    assert found.token_keys == (("new", bytes.fromhex(HEX)), ("old", bytes.fromhex("cd" * 16)))
    assert not (tmp_path / "var" / "keys" / "token.keys").exists()


def test_a_key_that_others_could_read_is_closed_again(tmp_path: Path):
    Secrets.load(tmp_path / "var" / "keys")
    key = tmp_path / "var" / "keys" / "unit.key"
    key.chmod(0o644)
    Secrets.load(tmp_path / "var" / "keys")
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEX, "no usable id"),
        (f":{HEX}", "no usable id"),
        (f"k 1:{HEX}", "no usable id"),
        ("k1:abcd", "16 bytes"),
        ("k1:secret-that-is-no-hex-but-long-enough", "16 bytes"),
        ("k1:", "16 bytes"),
        (f"k1:{HEX},k1:{HEX}", "twice"),
        (f"k1:{HEX},", "no usable id"),
    ],
)
def test_unusable_keys_are_refused_without_quoting_them(text: str, said: str):
    with pytest.raises(InvalidInput, match=said) as refused:
        parse_keys(text, where="DETENT_TOKEN_KEYS")
    assert HEX not in refused.value.detail
    assert "secret-that" not in refused.value.detail


def test_secrets_are_not_shown_by_repr(tmp_path: Path):
    found = Secrets.load(tmp_path / "var" / "keys")
    assert found.unit_key.hex() not in repr(found)
    assert repr(found) == "Secrets()"


def test_a_damaged_key_file_is_named(tmp_path: Path):
    Secrets.load(tmp_path / "var" / "keys")
    (tmp_path / "var" / "keys" / "unit.key").write_text("oops")
    with pytest.raises(InvalidInput, match=r"unit\.key"):
        Secrets.load(tmp_path / "var" / "keys")


def test_a_token_key_goes_when_no_valid_token_can_be_signed_by_it(tmp_path: Path):
    files, folder = KeyFiles(tmp_path, None), tmp_path
    first = Secrets.load(folder).token_keys[0][0]
    day = datetime(2026, 11, 1, 12, tzinfo=UTC)
    second = files.rotate("token", day)
    third = files.rotate("token", day + timedelta(days=10))
    assert [id for id, _ in Secrets.load(folder).token_keys] == [third, second, first]
    fourth = files.rotate("token", day + timedelta(days=35))  # the first one signed until 35 days before
    assert [id for id, _ in Secrets.load(folder).token_keys] == [fourth, third, second]
    assert (folder / "token.keys").stat().st_mode & 0o777 == 0o600


def test_an_older_release_reads_the_newest_unit_key_alone(tmp_path: Path):
    files = KeyFiles(tmp_path, None)
    first = Secrets.load(tmp_path).unit_key
    names = [files.rotate("unit", datetime(2026, 11, 1, tzinfo=UTC)) for _ in range(2)]
    loaded = Secrets.load(tmp_path)
    assert (len(loaded.unit_keys), loaded.unit_keys[-1]) == (3, first)
    assert bytes.fromhex((tmp_path / "unit.key").read_text()) == loaded.unit_key
    assert files.newest("unit").name == names[-1]
    assert loaded.unit_key.hex() not in names[-1]
