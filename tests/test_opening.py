"""A store is opened with what it has lost in plain sight, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tallygate.config import StoreSettings
from tallygate.core.errors import StoreUnavailableError
from tallygate.opening import audit_books, open_books, open_proofs
from tallygate.storage.keeping.backup import back_up, restore
from tallygate.storage.proofs.anchors import AnchorError, AnchorFile
from tallygate.storage.proofs.lost_tail import LostTailError
from tests.contract.world import SHEET, USD, serve

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> StoreSettings:
    """Where a store goes, with everything beside it."""
    return StoreSettings(
        path=tmp_path / "tallygate.db",
        pepper_file=tmp_path / "pepper",
        checkpoint_key_file=tmp_path / "checkpoint-key",
        anchors_file=tmp_path / "anchors.jsonl",
        hold_durability="wait",
        after_crash="void",
    )


async def run(store: StoreSettings, calls: int, *, accept_lost_tail: bool = False) -> None:
    """Open a store, serve some calls, and close it as a gateway does."""
    ledger, _ = open_books(store, accept_lost_tail=accept_lost_tail)
    try:
        proofs = await open_proofs(store, ledger)
        if not ledger.sheet.version:
            await ledger.publish(SHEET, "operator")
            await ledger.open_account("Ann", "operator")
            await ledger.deposit(ledger.accounts()[0].id, USD, None, "operator")
        done = ledger.accounts()[0].sequence
        for number in range(calls):
            await serve(ledger, ledger.accounts()[0], f"chatcmpl-{done + number}")
        await proofs.close()
    finally:
        await ledger.close()


def assert_proved(store: StoreSettings, lost: int) -> None:
    """All of the books and anchors fit, when so many anchors are accounted for by an accepted loss."""
    report, anchors = audit_books(store, deep=True)

    assert (report.problems, anchors.faults, anchors.lost) == ([], [], lost)


async def test_restored_backup_goes_on_when_the_operator_says_so(store: StoreSettings, tmp_path: Path) -> None:
    """An old backup is refused, accepted by the operator's word, noted with its restore, and proved ever after."""
    await run(store, 1)
    back_up(store.path, tmp_path / "backup")
    await run(store, 2)
    restore(tmp_path / "backup", store.path, replace=True)
    with pytest.raises(LostTailError, match="accept-lost-tail"):
        await run(store, 1)
    await run(store, 1, accept_lost_tail=True)
    await run(store, 1)
    report, _ = audit_books(store, deep=True)

    assert report.kinds["note"] == 3  # the account, the restore, the loss
    assert_proved(store, lost=1)


@pytest.mark.parametrize("lost_calls", [1, 2])
async def test_loss_that_was_noted_but_not_anchored_takes_the_word_again(
    store: StoreSettings, tmp_path: Path, lost_calls: int
) -> None:
    """A crash between the note and its anchor leaves a store that is refused, and accepted by the same option."""
    await run(store, 1)
    back_up(store.path, tmp_path / "backup")
    await run(store, lost_calls)
    kept = store.anchors_file.read_bytes()
    restore(tmp_path / "backup", store.path, replace=True)
    await run(store, 0, accept_lost_tail=True)
    store.anchors_file.write_bytes(kept)  # as if the process had died before it was anchored
    with pytest.raises(LostTailError):
        await run(store, 0)
    await run(store, 0, accept_lost_tail=True)

    assert_proved(store, lost=1)


async def test_loss_that_cannot_be_anchored_ends_the_start(
    store: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the anchors' disk fails when a loss is accepted, the start ends with that, and can be made again."""
    await run(store, 1)
    back_up(store.path, tmp_path / "backup")
    await run(store, 1)
    restore(tmp_path / "backup", store.path, replace=True)

    def fail(*_: object) -> None:
        raise AnchorError("the anchors cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(AnchorFile, "append", fail)
        with pytest.raises(StoreUnavailableError, match="cannot be written"):
            await run(store, 0, accept_lost_tail=True)
    await run(store, 0, accept_lost_tail=True)

    assert_proved(store, lost=1)


async def test_books_without_their_anchors_are_told(store: StoreSettings) -> None:
    """Books that were moved without their anchors open, with a warning; new ones, and those with anchors, without."""
    with capture_logs() as quiet:
        await run(store, 1)
        await run(store, 0)
    store.anchors_file.unlink()
    with capture_logs() as told:
        await run(store, 0)

    assert quiet == []
    assert [(line["log_level"], line["anchors"]) for line in told] == [("warning", str(store.anchors_file))]
