"""The file of anchors: what is kept, what a crash may leave of it, and what is damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.storage.proofs import anchors as module
from tallygate.storage.proofs.anchors import AnchorError, AnchorFile, read_anchors
from tests.core.audit.forgery import make_world
from tests.core.proofs.proving import KEY, make_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from tallygate.core.proofs.checkpoint import SignedCheckpoint

BATCHES = make_world().batches()
SIGNED = [KEY.sign(make_checkpoint(BATCHES[: number + 1], 10**18 + number)) for number in range(4)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the anchors go."""
    return tmp_path / "anchors.jsonl"


def keep(path: Path, *signed: SignedCheckpoint) -> AnchorFile:
    """Return the file with so many more anchors."""
    file = AnchorFile(path)
    for each in signed:
        file.append(each)
    return file


def read(path: Path) -> list[SignedCheckpoint | None]:
    """Return what the file holds."""
    return [None if anchor is None else anchor.signed for anchor in read_anchors(path)]


def test_anchors_are_kept_in_their_order(path: Path) -> None:
    """Every anchor is there again for the next start, and the last one is at hand."""
    assert keep(path).last is None
    assert not path.exists()
    assert read(path) == []

    keep(path, *SIGNED[:2])
    file = keep(path, SIGNED[2])

    assert read(path) == SIGNED[:3]
    assert file.last is not None
    assert file.last.signed == SIGNED[2]
    reopened = AnchorFile(path)
    assert (reopened.last, reopened.torn_bytes) == (file.last, 0)


def test_a_line_torn_anywhere_is_told_and_does_not_count(path: Path) -> None:
    """However much of the last line a crash has left, the one before counts, and the next one takes its place."""
    keep(path, *SIGNED[:3])
    whole = path.read_bytes()
    begin = len(b"".join(whole.splitlines(keepends=True)[:2]))
    for size in range(begin + 1, len(whole)):
        path.write_bytes(whole[:size])
        file = AnchorFile(path)

        assert file.last is not None
        assert (file.last.signed, file.torn_bytes) == (SIGNED[1], size - begin)
    file.append(SIGNED[3])
    assert read(path) == [SIGNED[0], SIGNED[1], SIGNED[3]]


@pytest.mark.parametrize("tail", [b"\0" * 100, b"\0" * 100 + b"\n", b"{}\n"])
def test_what_a_torn_disk_leaves_in_place_of_a_line_does_not_count(path: Path, tail: bytes) -> None:
    """A last line that was stretched but never filled is a torn one."""
    keep(path, *SIGNED[:2])
    with path.open("ab") as file:
        file.write(tail)
    reopened = AnchorFile(path)

    assert reopened.last is not None
    assert (reopened.last.signed, reopened.torn_bytes) == (SIGNED[1], len(tail))


def test_a_first_line_that_is_torn_leaves_nothing(path: Path) -> None:
    """When the very first line was torn, there is no anchor yet."""
    path.write_bytes(b'{"body":"')
    file = keep(path)

    assert (file.last, file.torn_bytes) == (None, 9)
    file.append(SIGNED[0])
    assert read(path) == [SIGNED[0]]


def test_damage_before_the_last_line_is_not_taken_for_a_torn_one(path: Path) -> None:
    """Two bad lines at the end are no crash's work; a bad line elsewhere is found when all are read."""
    keep(path, *SIGNED[:3])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{}\n" + b"{}\n")
    with pytest.raises(AnchorError, match="damaged"):
        AnchorFile(path)

    path.write_bytes(lines[0] + b"{}\n" + lines[2])
    assert read(path) == [SIGNED[0], None, SIGNED[2]]


def test_only_the_end_of_a_long_file_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last anchor is found however long the file is."""
    keep(path, *SIGNED)
    monkeypatch.setattr(module, "TAIL_BYTES", len(path.read_bytes()) // 2)
    file = AnchorFile(path)

    assert file.last is not None
    assert (file.last.signed, file.torn_bytes) == (SIGNED[3], 0)


def test_what_could_not_be_written_is_told(tmp_path: Path) -> None:
    """A folder that is not there, perhaps a disk that is not mounted, is told by its name and never made."""
    file = AnchorFile(tmp_path / "elsewhere" / "anchors.jsonl")
    with pytest.raises(AnchorError, match="elsewhere"):
        file.append(SIGNED[0])

    assert file.last is None
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A folder in the place of the file is an error that names it."""
    with pytest.raises(AnchorError, match="cannot be read"):
        AnchorFile(tmp_path)
    with pytest.raises(AnchorError, match="cannot be read"):
        list(read_anchors(tmp_path))


def test_lines_of_another_process_are_never_cut_off(path: Path) -> None:
    """A copy of the store that goes on with the same anchors is told, and what it has signed stays there."""
    file = keep(path, SIGNED[0])
    keep(path, SIGNED[1])
    with pytest.raises(AnchorError, match="another process"):
        file.append(SIGNED[2])

    assert read(path) == SIGNED[:2]


@pytest.mark.parametrize("left", [0, 1])
def test_anchors_that_were_cut_or_moved_away_meanwhile_are_told(path: Path, left: int) -> None:
    """A file that has lost lines while it is in use is not filled up with zeros, nor begun anew without a word."""
    file = keep(path, *SIGNED[:2])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:left]))
    with pytest.raises(AnchorError, match="shorter"):
        file.append(SIGNED[2])
    path.unlink()
    with pytest.raises(AnchorError, match="shorter"):
        file.append(SIGNED[2])

    assert not path.exists()
    path.write_bytes(b"".join(lines))
    file.append(SIGNED[2])
    assert read(path) == SIGNED[:3]


def test_a_line_that_could_not_be_synced_makes_room_for_the_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an append that failed has left is our own, also when all of the line is there."""
    file = keep(path, SIGNED[0])

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("tallygate.storage.proofs.anchors.os.fsync", fail)
        with pytest.raises(AnchorError, match="Input/output"):
            file.append(SIGNED[1])
    file.append(SIGNED[2])

    assert read(path) == [SIGNED[0], SIGNED[2]]
