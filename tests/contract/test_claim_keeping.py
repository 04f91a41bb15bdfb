"""How long a store keeps the claims of idempotency keys, and what it takes of them by its own rules."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tallygate.core.errors import FencedError, StoreUnavailableError
from tallygate.core.idempotency import KEPT_NS, Claim, Claimed
from tallygate.storage.claims import PURGED_AT_ONCE
from tallygate.storage.journal import ClaimEnded, NotAStoreError
from tests.contract.world import (
    CLAIM,
    OTHER_BODY,
    Machine,
    Wrapper,
    end,
    find_balance,
    fund,
    meaning,
    request,
    turn_until,
    usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.storage.journal import Row

CHARGE = 12_108


async def test_key_is_free_after_a_day(machine: Machine) -> None:
    """After 24 hours a key stands for nothing, and can be taken by another request, though nobody has forgotten it."""
    ledger = await machine.start()
    account = await fund(ledger)
    await ledger.settle(await ledger.hold(request("chatcmpl-1", account, CLAIM)), end(), usage())
    machine.skip(KEPT_NS)
    async for here in machine.now_and_restarted(ledger):
        assert await meaning(here) is None
        assert await meaning(here, OTHER_BODY) is None
    ledger = here
    hold = await ledger.hold(request("chatcmpl-2", account.id, OTHER_BODY))
    await ledger.settle(hold, end(), usage())
    async for here in machine.now_and_restarted(ledger):
        assert await meaning(here, OTHER_BODY) == ("chatcmpl-2", CHARGE)


async def test_old_keys_are_forgotten(machine: Machine) -> None:
    """What is purged is what has ended a day ago: nothing younger, and no call under way; without a batch."""
    ledger = await machine.start()
    account = await fund(ledger)
    under_way = await ledger.hold(request("chatcmpl-1", account, Claim(b"under way", b"r")))
    await ledger.settle(await ledger.hold(request("chatcmpl-2", account, CLAIM)), end(), usage())
    machine.skip(KEPT_NS)
    await ledger.settle(await ledger.hold(request("chatcmpl-3", account, Claim(b"young", b"r"))), end(), usage())
    batches = (await ledger.audit()).batches

    assert [await ledger.purge_claims(), await ledger.purge_claims()] == [1, 0]
    assert (await ledger.audit()).batches == batches
    await ledger.settle(under_way, end(), usage())
    await machine.stop()
    journal = machine.store.journal()
    journal.open()
    found = [journal.find_claim(digest) for digest in (b"under way", CLAIM.digest, b"young")]
    journal.close()
    assert [known and known.subject for known in found] == ["chatcmpl-1", None, "chatcmpl-3"]


async def test_key_that_is_taken_again_is_not_forgotten(machine: Machine) -> None:
    """A purge beside a new call under an old key, not yet on the disk, leaves the new one alone."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper)
    account = await fund(ledger)
    await ledger.settle(await ledger.hold(request("chatcmpl-1", account, CLAIM)), end(), usage())
    machine.skip(KEPT_NS)
    wrapper.flaky.gate.clear()
    holding = asyncio.ensure_future(ledger.hold(request("chatcmpl-2", account, CLAIM)))
    await turn_until(lambda: find_balance(ledger, account.id)[1])
    assert await ledger.purge_claims() == 0
    wrapper.flaky.gate.set()
    await holding
    assert await meaning(await machine.restart()) == ("chatcmpl-2", None)


async def test_any_number_of_old_keys_is_forgotten(machine: Machine) -> None:
    """More old keys than one commit forgets are forgotten in several."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    count = PURGED_AT_ONCE + 2
    claims = [Claim(number.to_bytes(32, "big"), b"r") for number in range(count)]
    await asyncio.gather(*(ledger.deposit(account.id, 1, None, "operator", claim) for claim in claims))
    machine.skip(KEPT_NS)
    assert await ledger.purge_claims() == count


async def test_books_do_not_move_before_a_key_has_been_looked_up(machine: Machine) -> None:
    """A store that cannot look a key up refuses the act before anything has changed, and later ones are sound."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper)
    account = await fund(ledger)
    before = find_balance(ledger, account.id)
    wrapper.flaky.finds_left = 0
    for act in (ledger.hold(request("chatcmpl-1", account, CLAIM)), ledger.deposit(account.id, 5, None, "a", CLAIM)):
        with pytest.raises(StoreUnavailableError):
            await act
    assert find_balance(ledger, account.id) == before

    wrapper.flaky.finds_left = 2  # one look for each act, and none once the books have moved
    await ledger.hold(request("chatcmpl-2", account, CLAIM))
    await ledger.deposit(account.id, 5, None, "operator", Claim(b"other", b"r"))
    report = await ledger.audit()
    assert (report.problems, report.open_holds) == ([], 1)


# --- the store itself, without the ledger's own rules before it -----------------------------------------------------

UNDER_WAY = Claimed(*CLAIM, "chatcmpl-1", 1, None)


@pytest.mark.parametrize(
    "forge",
    [
        lambda: [UNDER_WAY._replace(subject="chatcmpl-2")],
        lambda: [UNDER_WAY._replace(digest=b"new"), UNDER_WAY._replace(digest=b"new")],
        lambda: [ClaimEnded(b"none", 5)],
        lambda: [ClaimEnded(CLAIM.digest, 5), ClaimEnded(CLAIM.digest, 6)],
    ],
)
async def test_store_itself_refuses_a_second_claim(machine: Machine, forge: Callable[[], list[Row]]) -> None:
    """The store refuses to claim a key that is claimed, or to end a claim that is not under way; nothing is kept."""
    await machine.start()
    await machine.stop()
    journal = machine.store.journal()
    journal.open()
    journal.write([], [UNDER_WAY], 1)
    journal.flush()
    with pytest.raises(StoreUnavailableError):
        journal.write([], forge(), 2)
    assert journal.find_claim(CLAIM.digest) == UNDER_WAY
    assert journal.find_claim(b"new") is None
    journal.close()


async def test_store_takes_no_claim_of_an_epoch_that_is_over(machine: Machine) -> None:
    """A journal that was fenced takes no claim, though no entry comes with it."""
    await machine.start()
    await machine.stop()
    journal = machine.store.journal()
    journal.open()
    machine.store.fence()
    with pytest.raises(FencedError):
        journal.write([], [UNDER_WAY], 1)
    journal.close()


async def test_claim_without_its_hold_is_no_store_of_ours(machine: Machine) -> None:
    """A start refuses a store in which a claim is under way whose hold is not: it could never be ended."""
    await machine.start()
    await machine.stop()
    journal = machine.store.journal()
    journal.open()
    journal.write([], [UNDER_WAY], 1)
    journal.flush()
    journal.close()
    with pytest.raises(NotAStoreError, match="a claim is under way"):
        await machine.start()
