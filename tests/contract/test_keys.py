"""What every keyring does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tallygate.core.access import UnknownKeyError
from tallygate.core.errors import InvariantBrokenError, StoreUnavailableError
from tallygate.core.keys import key_digest, mask, mint_api_key
from tallygate.core.ledger.records import UnknownAccountError
from tests.contract.world import Flaky, Machine, turn_until

if TYPE_CHECKING:
    from tallygate.core.access import ApiKey
    from tallygate.storage.embedded import EmbeddedLedger
    from tallygate.storage.journal import Journal

SECRETS = [mint_api_key(bytes([number]) * 32) for number in range(3)]
DIGESTS = [key_digest(b"pepper", secret) for secret in SECRETS]


async def add(ledger: EmbeddedLedger, account_id: str, number: int = 0) -> ApiKey:
    """Keep one of the keys."""
    return await ledger.add_key(account_id, f"key {number}", DIGESTS[number], mask(SECRETS[number]), "operator")


async def test_key_is_found_by_its_digest(machine: Machine) -> None:
    """A kept key is found by its digest, also after a restart; no other digest finds it."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    key = await add(ledger, account.id)
    async for here in machine.now_and_restarted(ledger):
        assert here.find_key(DIGESTS[0]) == key
        assert here.find_key(DIGESTS[1]) is None
        assert here.find_key(b"") is None
    assert (key.account, key.name, key.masked, key.revoked_ns) == (account.id, "key 0", mask(SECRETS[0]), None)


async def test_keys_are_listed_oldest_first(machine: Machine) -> None:
    """Keys are listed by account or all together, revoked ones too, over a restart."""
    ledger = await machine.start()
    ann, bob = [await ledger.open_account(name, "operator") for name in ("Ann", "Bob")]
    keys = [await add(ledger, ann.id, 0), await add(ledger, bob.id, 1), await add(ledger, ann.id, 2)]
    keys[0] = await ledger.revoke_key(keys[0].id, "operator")
    async for here in machine.now_and_restarted(ledger):
        assert here.keys() == keys
        assert here.keys(ann.id) == [keys[0], keys[2]]
        assert here.keys("acct_none") == []


async def test_revoked_key_is_dead_at_once_and_for_good(machine: Machine) -> None:
    """A revoked key is not found from the moment that it is asked for, before the disk has it, and never again."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    key = await add(ledger, account.id)
    task = asyncio.create_task(ledger.revoke_key(key.id, "operator"))
    await asyncio.sleep(0)
    assert ledger.find_key(DIGESTS[0]) is None

    revoked = await task
    assert revoked.revoked_ns is not None
    assert await ledger.revoke_key(key.id, "operator") == revoked
    async for here in machine.now_and_restarted(ledger):
        assert here.find_key(DIGESTS[0]) is None


async def test_key_that_is_revoked_while_it_is_made_never_lives(machine: Machine) -> None:
    """A revocation that overtakes the making of its key wins."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    making = asyncio.create_task(add(ledger, account.id))
    await turn_until(ledger.keys)
    await ledger.revoke_key(ledger.keys()[0].id, "operator")
    await making
    async for here in machine.now_and_restarted(ledger):
        assert here.find_key(DIGESTS[0]) is None


async def test_key_lives_only_when_it_is_durable(machine: Machine) -> None:
    """Nobody gets in with a key that a crash could still take back."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    making = asyncio.create_task(add(ledger, account.id))
    await turn_until(ledger.keys)
    assert ledger.find_key(DIGESTS[0]) is None

    key = await making
    assert ledger.find_key(DIGESTS[0]) == key


async def test_unknown_accounts_and_keys_are_told(machine: Machine) -> None:
    """A key needs an account; only a key that is there can be revoked."""
    ledger = await machine.start()

    with pytest.raises(UnknownAccountError):
        await add(ledger, "acct_none")
    with pytest.raises(UnknownKeyError):
        await ledger.revoke_key("key_none", "operator")
    assert ledger.keys() == []


async def test_key_is_kept_once(machine: Machine) -> None:
    """The same secret a second time is refused before it can hurt the store."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    await add(ledger, account.id)
    with pytest.raises(InvariantBrokenError):
        await add(ledger, account.id)

    assert ledger.ready
    assert await add(ledger, account.id, 1)


async def test_life_of_a_key_is_in_the_books(machine: Machine) -> None:
    """Making and revoking a key are notes of its account, and the audit stays clean."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    key = await add(ledger, account.id)
    await ledger.revoke_key(key.id, "operator")
    report = await ledger.audit()

    assert (report.problems, report.kinds["note"]) == ([], 3)
    assert ledger.account(account.id).sequence == 3


async def test_key_of_a_failing_store_does_not_live(machine: Machine) -> None:
    """A key that could not be kept is not found; a revocation that could not be is told, and the key is dead here."""
    flaky: list[Flaky] = []

    def wrap(journal: Journal) -> Journal:
        flaky.append(Flaky(journal))
        return flaky[0]

    ledger = await machine.start(wrap)
    account = await ledger.open_account("Ann", "operator")
    key = await add(ledger, account.id)
    flaky[0].fails_at = "write"
    with pytest.raises(StoreUnavailableError):
        await add(ledger, account.id, 1)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await ledger.revoke_key(key.id, "operator")

    assert ledger.find_key(DIGESTS[1]) is None
    assert ledger.find_key(DIGESTS[0]) is None
    ledger = await machine.restart()
    assert (ledger.find_key(DIGESTS[0]), ledger.find_key(DIGESTS[1])) == (key, None)
