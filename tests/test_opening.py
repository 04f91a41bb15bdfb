"""A store is opened with what it has lost in plain sight, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.config import StoreSettings
from tallygate.opening import audit_books, open_books, open_proofs
from tallygate.storage.backup import back_up, restore
from tallygate.storage.lost_tail import LostTailError
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
