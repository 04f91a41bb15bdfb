"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from tallygate.wholefile import whole_file

if TYPE_CHECKING:
    from pathlib import Path


def test_file_appears_when_all_has_gone_well(tmp_path: Path) -> None:
    """Until then there is a draft; then there is the file, for its owner only, and nothing else."""
    path, before = tmp_path / "file", os.umask(0)
    try:
        with whole_file(path) as draft:
            draft.write_text("whole")
            draft.with_name(f"{draft.name}-wal").write_text("left behind")
            assert not path.exists()
    finally:
        os.umask(before)

    assert (path.read_text(), path.stat().st_mode & 0o777) == ("whole", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    """Whatever goes wrong in between, neither file nor draft is left."""
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "file"):
        raise ZeroDivisionError

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("early", [True, False])
def test_file_that_is_there_is_left_alone(tmp_path: Path, *, early: bool) -> None:
    """A file of that name, there before or come in the meantime, is never overwritten."""
    path = tmp_path / "file"
    if early:
        path.write_text("old")
    with contextlib.suppress(FileExistsError), whole_file(path) as draft:
        draft.write_text("new")
        path.write_text("old")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
