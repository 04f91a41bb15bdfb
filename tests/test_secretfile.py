"""Secrets that are made once and kept in a file."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tallygate.secretfile import SECRET_BYTES, SecretFileError, read_or_make_secret, read_secret

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "ab" * SECRET_BYTES


def put(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file with this mode."""
    path.write_text(text)
    path.chmod(mode)


def test_secret_is_made_once(tmp_path: Path) -> None:
    """A missing file is made with 32 random bytes, and read back ever after."""
    secret = read_or_make_secret(tmp_path / "new" / "pepper")

    assert len(secret) == SECRET_BYTES
    assert read_or_make_secret(tmp_path / "new" / "pepper") == secret
    assert read_or_make_secret(tmp_path / "other") != secret


def test_only_the_owner_can_read_a_new_secret(tmp_path: Path) -> None:
    """The file is made 0600 and its folder 0700, and nothing else is left in it."""
    path = tmp_path / "new" / "pepper"
    read_or_make_secret(path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_many_that_make_a_secret_at_once_get_the_same(tmp_path: Path) -> None:
    """Whoever comes second reads what the first has made."""
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: read_or_make_secret(tmp_path / "pepper"), range(8)))

    assert len(secrets) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "pepper"]


@pytest.mark.parametrize("text", [TEXT, TEXT + "\n", f"  {TEXT.upper()}\n\n"])
def test_space_and_case_do_not_matter(tmp_path: Path, text: str) -> None:
    """A secret that was written by hand is read whatever surrounds its digits."""
    put(tmp_path / "pepper", text)

    assert read_or_make_secret(tmp_path / "pepper") == b"\xab" * SECRET_BYTES


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601, 0o666])
def test_secret_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    """A file that group or others can touch is not used, and the remedy is named, never the secret."""
    put(tmp_path / "pepper", TEXT, mode)

    with pytest.raises(SecretFileError, match="chmod 600") as refused:
        read_or_make_secret(tmp_path / "pepper")
    assert TEXT not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "\n", "ab", TEXT[:-1], TEXT[:-2], TEXT + "ab", "zz" * SECRET_BYTES, "é" * 64, TEXT * 10]
)
def test_what_is_no_secret_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    """A file with anything else is neither used nor overwritten."""
    put(tmp_path / "pepper", text)

    with pytest.raises(SecretFileError, match="does not hold 32 bytes"):
        read_or_make_secret(tmp_path / "pepper")
    assert (tmp_path / "pepper").read_text() == text


def test_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    """What the system will not open is told as a secret file that cannot be used."""
    (tmp_path / "pepper").mkdir(mode=0o700)

    with pytest.raises(SecretFileError, match="cannot be used"):
        read_or_make_secret(tmp_path / "pepper")


def test_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    """A named pipe, which nobody may ever write to, is refused at once."""
    os.mkfifo(tmp_path / "pepper", 0o600)

    with pytest.raises(SecretFileError, match="not a regular file"):
        read_or_make_secret(tmp_path / "pepper")


def test_missing_secret_is_wanted_back(tmp_path: Path) -> None:
    """Nobody is told to make a new secret in the place of one that is lost, and none is made."""
    with pytest.raises(SecretFileError, match=r"does not exist\. Put a copy of it back"):
        read_secret(tmp_path / "pepper")
    assert not (tmp_path / "pepper").exists()
