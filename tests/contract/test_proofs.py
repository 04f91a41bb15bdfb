"""What can be proved of a store: the same on every store, and of nothing but what is durable."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import apsw
import pytest
from msgspec.structs import replace

from tallygate.core.errors import InvariantBrokenError, StoreUnavailableError
from tallygate.core.ledger.batch import header_hash
from tallygate.core.ledger.merkle import merkle_root
from tallygate.core.proofs.checkpoint import CheckpointKey, decode_checkpoint, header_leaf
from tallygate.core.proofs.receipt import Receipt
from tallygate.core.proofs.totals import find_imbalance
from tallygate.core.proofs.verdict import judge
from tallygate.storage.proofs.anchor_check import check_anchors
from tallygate.storage.proofs.anchors import AnchorFile, read_anchors
from tallygate.storage.proofs.embedded import EmbeddedProofs, make_checkpoint
from tallygate.storage.proofs.memory_archive import MemoryArchive
from tallygate.storage.proofs.sqlite_archive import SqliteArchive
from tests.contract.world import WRITER, Flaky, Machine, MemoryStore, SqliteStore, end, fund, request, serve

if TYPE_CHECKING:
    from pathlib import Path

    from tallygate.storage.embedded import EmbeddedLedger
    from tallygate.storage.proofs.archive import Archive

KEY = CheckpointKey(bytes(range(32)))


def archive_of(machine: Machine) -> Archive:
    """Return the archive of a machine's store."""
    if isinstance(machine.store, MemoryStore):
        return MemoryArchive(machine.store.disk)
    assert isinstance(machine.store, SqliteStore)
    return SqliteArchive(machine.store.path)


def proofs_of(machine: Machine, ledger: EmbeddedLedger, path: Path) -> EmbeddedProofs:
    """Return the proofs of a ledger, which keep nobody waiting."""
    anchors = AnchorFile(path / "anchors.jsonl")
    return EmbeddedProofs(archive_of(machine), anchors, KEY, now_ns=machine.now_ns, store=ledger, apart_s=0)


async def test_checkpoint_says_what_is_in_the_store(machine: Machine, tmp_path: Path) -> None:
    """Head, tree, totals and balances of a checkpoint are those that the batches give, and it is anchored."""
    ledger = await machine.start()
    account = await fund(ledger)
    await serve(ledger, account, "chatcmpl-1")
    hold = await ledger.hold(request("chatcmpl-2", account))
    proofs = proofs_of(machine, ledger, tmp_path)
    assert proofs.latest is None
    signed = await proofs.checkpoint()
    checkpoint = decode_checkpoint(signed.body)
    (head,) = checkpoint.heads
    archive = archive_of(machine)
    headers = [archive.header(sequence) or b"" for sequence in range(1, head.sequence + 1)]

    assert (head.writer, head.epoch, head.header_hash) == (WRITER, 1, header_hash(headers[-1]))
    assert archive.header(head.sequence + 1) is archive.header(0) is None
    assert head.tree_root == merkle_root([header_leaf(header_hash(header)) for header in headers])
    assert find_imbalance(checkpoint.sums) == {}
    assert checkpoint.sums["USD", "held"] == hold.cost.total
    assert checkpoint.sums["USD", "available"] == account.available
    assert checkpoint.sums["USD", "income/base"] == 11_007
    assert (
        [anchor and anchor.signed for anchor in read_anchors(tmp_path / "anchors.jsonl")] == [signed] == [proofs.latest]
    )


async def test_receipt_of_every_inference_is_a_proof(machine: Machine, tmp_path: Path) -> None:
    """Over more batches than a tile has, across restarts, each receipt proves its inference."""
    ledger = await machine.start()
    account = await fund(ledger)
    for number in range(300):
        await serve(ledger, account, f"chatcmpl-{number}")
        if number in {7, 128, 250}:
            ledger = await machine.restart()
            account = ledger.account(account.id)
    proofs = proofs_of(machine, ledger, tmp_path)
    for number in (0, 1, 127, 128, 255, 256, 299):
        receipt = await proofs.receipt(f"chatcmpl-{number}", account.id)
        assert receipt is not None
        verdict = judge(receipt, KEY.public)

        assert (verdict.faults, verdict.subject) == ([], f"inference chatcmpl-{number}")
        assert verdict.facts[-1].startswith("that charge is what the price sheet gives")


async def test_receipt_belongs_to_its_account(machine: Machine, tmp_path: Path) -> None:
    """Another account, and an id of nothing, get none; the operator gets any."""
    ledger = await machine.start()
    account, other = await fund(ledger), await fund(ledger)
    await serve(ledger, account, "chatcmpl-1")
    proofs = proofs_of(machine, ledger, tmp_path)

    assert await proofs.receipt("chatcmpl-1", other.id) is None
    assert await proofs.receipt("chatcmpl-2", account.id) is None
    assert proofs.latest is None
    assert isinstance(await proofs.receipt("chatcmpl-1"), Receipt)


async def test_receipt_makes_a_checkpoint_only_where_none_covers_it(machine: Machine, tmp_path: Path) -> None:
    """Once anchored, an inference is proved under what is there; what came later takes a new one."""
    ledger = await machine.start()
    account = await fund(ledger)
    await serve(ledger, account, "chatcmpl-1")
    proofs = proofs_of(machine, ledger, tmp_path)
    first = await proofs.receipt("chatcmpl-1", account.id)
    await serve(ledger, account, "chatcmpl-2")
    again = await proofs_of(machine, ledger, tmp_path).receipt("chatcmpl-1", account.id)
    later = await proofs.receipt("chatcmpl-2", account.id)

    assert first is not None
    assert later is not None
    assert again == first
    assert later.checkpoint != first.checkpoint
    assert len(list(read_anchors(tmp_path / "anchors.jsonl"))) == 2


async def test_receipts_asked_for_at_once_share_one_checkpoint(machine: Machine, tmp_path: Path) -> None:
    """However many customers ask, what one checkpoint covers is not signed twice."""
    ledger = await machine.start()
    account = await fund(ledger)
    await serve(ledger, account, "chatcmpl-1")
    proofs = proofs_of(machine, ledger, tmp_path)
    receipts = await asyncio.gather(*(proofs.receipt("chatcmpl-1", account.id) for _ in range(5)))

    assert len({receipt and receipt.checkpoint.body for receipt in receipts}) == 1
    assert len(list(read_anchors(tmp_path / "anchors.jsonl"))) == 1


async def test_balance_proof_is_of_the_balance_now(machine: Machine, tmp_path: Path) -> None:
    """The proof is of the balance after the account's last entry, again after a restart, and for its owner alone."""
    ledger = await machine.start()
    account = await fund(ledger)
    await fund(ledger)
    proofs = proofs_of(machine, ledger, tmp_path)
    first = await proofs.balance(account.id, account.sequence)
    assert first == await proofs.balance(account.id, account.sequence)
    await serve(ledger, account, "chatcmpl-1")
    for _ in range(2):
        proof = await proofs.balance(account.id, account.sequence)
        assert proof is not None
        verdict = judge(proof, KEY.public)

        assert verdict.faults == []
        assert verdict.facts[0].endswith(f"after {account.sequence} entries")
        assert proof != first
        proofs = proofs_of(machine, ledger, tmp_path)
    assert await proofs.balance("acct_nobody", 1) is None


async def test_checkpoint_says_nothing_that_is_not_durable(tmp_path: Path) -> None:
    """What the memory has and the disk has not is in no checkpoint."""
    machine = Machine(SqliteStore(tmp_path / "tallygate.db"))
    ledger = await machine.start()
    account = await fund(ledger)
    proofs = proofs_of(machine, ledger, tmp_path)
    before = decode_checkpoint((await proofs.checkpoint()).body)
    hold = asyncio.ensure_future(ledger.hold(request("chatcmpl-1", account)))
    await asyncio.sleep(0)
    assert account.held
    snapshot = archive_of(machine).snapshot()  # on the loop, which has not committed yet

    assert (snapshot.head.sequence, snapshot.tree_root) == (before.heads[0].sequence, before.heads[0].tree_root)
    assert sum(balance[2] for balance in snapshot.balances) == 0
    await hold
    assert archive_of(machine).head().sequence == before.heads[0].sequence + 1
    await machine.stop()


async def test_store_that_has_failed_is_not_vouched_for(machine: Machine, tmp_path: Path) -> None:
    """After a failed commit nothing more is signed."""
    flaky: list[Flaky] = []

    def wrap(journal: object) -> Flaky:
        flaky.append(Flaky(journal))  # type: ignore[arg-type]
        return flaky[0]

    ledger = await machine.start(wrap)
    account = await fund(ledger)
    proofs = proofs_of(machine, ledger, tmp_path)
    flaky[0].fails_at = "flush"
    with pytest.raises(StoreUnavailableError):
        await ledger.hold(request("chatcmpl-1", account))
    with pytest.raises(StoreUnavailableError):
        await proofs.checkpoint()
    await proofs.close()

    assert proofs.latest is None


async def test_clean_stop_leaves_the_last_word_anchored(machine: Machine, tmp_path: Path) -> None:
    """Closing makes a checkpoint of what is new, also of what nobody waited for, and none if there is nothing."""
    ledger = await machine.start()
    account = await fund(ledger)
    hold = await ledger.hold(request("chatcmpl-1", account))
    ledger.begin_attempt(hold, request("chatcmpl-1", account).first._replace(try_=1))
    proofs = proofs_of(machine, ledger, tmp_path)
    await proofs.close()
    await proofs.close()
    await proofs_of(machine, ledger, tmp_path).close()
    (anchor,) = read_anchors(tmp_path / "anchors.jsonl")

    assert anchor is not None
    assert anchor.checkpoint.heads[0].sequence == archive_of(machine).head().sequence


async def test_books_that_do_not_balance_are_not_signed(machine: Machine) -> None:
    """A moment whose totals do not sum to zero is a defect, and never gets a signature."""
    ledger = await machine.start()
    await fund(ledger)
    snapshot = archive_of(machine).snapshot()
    wrong = snapshot._replace(sums={**snapshot.sums, ("USD", "world"): 0})
    with pytest.raises(InvariantBrokenError, match="sum to zero"):
        make_checkpoint(wrong, None, 1)  # type: ignore[arg-type]


async def test_anchor_that_cannot_be_kept_is_told(machine: Machine, tmp_path: Path) -> None:
    """Where the anchors' disk fails, no checkpoint is given out, and calls go on."""
    ledger = await machine.start()
    account = await fund(ledger)
    proofs = proofs_of(machine, ledger, tmp_path / "not-mounted")
    with pytest.raises(StoreUnavailableError, match="anchors"):
        await proofs.checkpoint()
    await serve(ledger, account, "chatcmpl-1")
    await proofs.close()

    assert ledger.ready


async def test_store_of_an_older_version_gets_its_tiles(tmp_path: Path) -> None:
    """A store without tiles is given them when it is opened, as if it had always had them."""
    machine = Machine(SqliteStore(tmp_path / "tallygate.db"))
    ledger = await machine.start()
    account = await fund(ledger)
    for number in range(280):
        await serve(ledger, account, f"chatcmpl-{number}")
    before = archive_of(machine).snapshot()
    await machine.stop()
    db = apsw.Connection(str(tmp_path / "tallygate.db"))
    tiles = list(db.execute("SELECT * FROM tiles"))
    db.execute("DELETE FROM tiles")
    db.close()
    await machine.start()
    db = apsw.Connection(str(tmp_path / "tallygate.db"))

    assert len(tiles) == 2
    assert list(db.execute("SELECT * FROM tiles")) == tiles
    db.close()
    after = archive_of(machine).snapshot()
    assert (after.tree_root, after.sums) == (before.tree_root, before.sums)
    await machine.stop()


async def test_past_is_what_it_was(machine: Machine, tmp_path: Path) -> None:
    """Totals and balances of any earlier batch are those that a checkpoint signed at that moment."""
    ledger = await machine.start()
    account = await fund(ledger)
    proofs = proofs_of(machine, ledger, tmp_path)
    moments = []
    for number in range(6):
        moments.append(archive_of(machine).snapshot())
        await proofs.checkpoint()
        hold = await ledger.hold(request(f"chatcmpl-{number}", account))
        if number % 2:
            await serve(ledger, await fund(ledger), f"chatcmpl-other-{number}")
        else:
            await ledger.void(hold, end(), "failed")
    for moment in moments:
        past = archive_of(machine).past(moment.head.sequence)

        assert sorted(past.balances) == sorted(moment.balances)
        assert {k: v for k, v in past.sums.items() if v} == {k: v for k, v in moment.sums.items() if v}
    report = await proofs.audit()
    assert (report.faults, report.count) == ([], 6)


async def test_books_are_held_against_their_anchors(machine: Machine, tmp_path: Path) -> None:
    """A torn last line is no fault; a damaged one, another key's, and other balances than were signed are."""
    ledger = await machine.start()
    await fund(ledger)
    proofs = proofs_of(machine, ledger, tmp_path)
    first, second = await proofs.checkpoint(), await proofs.checkpoint()
    path = tmp_path / "anchors.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    checkpoint = decode_checkpoint(second.body)
    wrong = KEY.sign(replace(checkpoint, time_ns=checkpoint.time_ns + 1, accounts_root=bytes(32)))
    archive = archive_of(machine)

    path.write_bytes(b"".join(lines) + b'{"body":')
    assert check_anchors(archive, path, KEY).faults == []
    path.write_bytes(lines[0] + b"{}\n" + lines[1])
    assert check_anchors(archive, path, KEY).faults == ["anchor 2: the line is damaged"]
    other = CheckpointKey(bytes(32))
    assert check_anchors(archive, path, other).faults[0] == "anchor 1: is not signed with the checkpoint key"
    path.write_bytes(b"")
    file = AnchorFile(path)
    for signed in (first, second, wrong):
        file.append(signed)
    assert check_anchors(archive, path, KEY).faults == [
        "the last anchor commits to other balances than the books give for its moment"
    ]


async def test_proofs_after_a_start_that_wrote_nothing_leave_the_books_in_order(
    machine: Machine, tmp_path: Path
) -> None:
    """Two starts may both sign the same last batch: the later epoch goes back on nothing."""
    ledger = await machine.start()
    account = await fund(ledger)
    await proofs_of(machine, ledger, tmp_path).close()
    ledger = await machine.restart()
    proofs = proofs_of(machine, ledger, tmp_path)
    assert await proofs.balance(account.id, account.sequence) is not None
    report = await proofs.audit()

    assert (report.faults, report.count, report.lost) == ([], 2, 0)


async def test_balances_of_a_busy_account_share_a_checkpoint(machine: Machine, tmp_path: Path) -> None:
    """A balance signed after somebody asked will do for them, so whoever waits is served by one checkpoint."""
    ledger = await machine.start()
    account = await fund(ledger)
    asked_at = []
    for number in range(4):
        await serve(ledger, account, f"chatcmpl-{number}")
        asked_at.append(account.sequence)
    proofs = proofs_of(machine, ledger, tmp_path)
    found = [await proofs.balance(account.id, sequence) for sequence in reversed(asked_at)]

    assert found[0] is not None
    assert judge(found[0], KEY.public).facts[0].endswith(f"after {account.sequence} entries")
    assert found == found[:1] * 4
    assert len(list(read_anchors(tmp_path / "anchors.jsonl"))) == 1


async def test_store_that_cannot_be_read_is_the_stores_trouble(tmp_path: Path) -> None:
    """Where the disk fails under a question for a receipt, the caller is told to come again, not of a defect."""
    machine = Machine(SqliteStore(tmp_path / "tallygate.db"))
    ledger = await machine.start()
    proofs = proofs_of(machine, ledger, tmp_path)
    (tmp_path / "tallygate.db").rename(tmp_path / "away")
    with pytest.raises(StoreUnavailableError, match="cannot be read"):
        await proofs.receipt("chatcmpl-1")
    (tmp_path / "away").rename(tmp_path / "tallygate.db")
    await machine.stop()
