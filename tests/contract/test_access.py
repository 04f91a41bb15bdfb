"""What every store does with the lives and terms of keys, and with how accounts stand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tallygate.core.access import NO_TERMS, KeyTerms
from tallygate.core.errors import Code, InvariantBrokenError, Refusal, StoreUnavailableError
from tallygate.core.ledger.entry import decode_entry
from tallygate.core.limits import UNLIMITED, Limits
from tests.contract.test_keys import DIGESTS, add
from tests.contract.world import Machine, Wrapper, turn_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tallygate.core.access import ApiKey
    from tallygate.storage.embedded import EmbeddedLedger

TERMS = KeyTerms(2 * 10**18, frozenset({"a/b", "c"}), Limits(60, 10**5, 3, 5 * 10**12, None, 2**62))
LIMITS_TOLD = (
    "requests_per_minute=60, tokens_per_minute=100000, concurrent_requests=3, "
    f"spend_day_picousd={5 * 10**12}, spend_total_picousd={2**62}"
)
NO_LIMITS_TOLD = "tokens_per_minute=none, concurrent_requests=none, spend_day_picousd=none, spend_total_picousd=none"
S = 10**9


def notes(ledger: EmbeddedLedger, account_id: str) -> list[tuple[str | None, str | None, str | None]]:
    """Return the durable notes about an account: which key, what, who."""
    with ledger._journal.history(account_id) as (_, history):
        entries = [decode_entry(history.entry(number)) for number in range(1, history.last + 1)]
    return [(entry.key_id, entry.reason, entry.actor) for entry in entries]


async def begin(machine: Machine) -> tuple[EmbeddedLedger, ApiKey]:
    """Return a ledger with an account that has a key."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    return ledger, await add(ledger, account.id)


async def test_a_key_is_made_with_terms(machine: Machine) -> None:
    """Expiry, models and limits of a key are what it was made with, by whatever way it is found, over a restart."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    key = await ledger.add_key(account.id, "k", DIGESTS[0], "tg-A…z", "eve", TERMS)
    async for here in machine.now_and_restarted(ledger):
        assert here.find_key(DIGESTS[0]) == here.key(key.id) == key
        assert (key.expires_ns, key.models, key.limits) == TERMS
        assert notes(here, account.id)[1] == (
            key.id,
            f"key created: expires_ns={2 * 10**18}, models=a/b c, {LIMITS_TOLD}",
            "eve",
        )


async def test_a_key_is_changed(machine: Machine) -> None:
    """A change is in force at once and over a restart; the books say what changed, but never a name."""
    ledger, key = await begin(machine)
    await ledger.change_key(key.id, "phone", TERMS, "operator")
    changed = await ledger.change_key(key.id, "phone", TERMS._replace(models=None, limits=Limits(61)), "eve")
    async for here in machine.now_and_restarted(ledger):
        assert here.find_key(DIGESTS[0]) == here.key(key.id) == changed
        assert (changed.name, changed.expires_ns, changed.models) == ("phone", 2 * 10**18, None)
        assert changed.limits == Limits(61)
        assert notes(here, key.account)[2][1].startswith("key changed: name, expires_ns=")  # type: ignore[union-attr]
        assert notes(here, key.account)[3] == (
            key.id,
            f"key changed: models=all, requests_per_minute=61, {NO_LIMITS_TOLD}",
            "eve",
        )


async def test_a_key_rests_and_goes_on(machine: Machine) -> None:
    """A paused key is found as paused, before the disk has it and over a restart, until it is resumed."""
    ledger, key = await begin(machine)
    task = asyncio.create_task(ledger.pause_key(key.id, "operator"))
    await asyncio.sleep(0)
    assert ledger.find_key(DIGESTS[0]) == key._replace(paused=True)

    assert await task == key._replace(paused=True)
    ledger = await machine.restart()
    assert ledger.find_key(DIGESTS[0]) == key._replace(paused=True)
    assert await ledger.resume_key(key.id, "operator") == key
    async for here in machine.now_and_restarted(ledger):
        assert here.find_key(DIGESTS[0]) == key


async def test_an_act_that_changes_nothing_is_no_act(machine: Machine) -> None:
    """What is asked twice is done once: no second note is in the books."""
    ledger, key = await begin(machine)
    for _ in range(2):
        await ledger.change_key(key.id, "phone", TERMS, "operator")
        await ledger.pause_key(key.id, "operator")
    for _ in range(2):
        await ledger.resume_key(key.id, "operator")
        await ledger.suspend_account(key.account, "unpaid", "operator")
    for _ in range(2):
        await ledger.resume_account(key.account, "paid", "operator")
        await ledger.limit_account(key.account, Limits(60), "operator")

    assert [reason and reason.partition(":")[0] for _, reason, _ in notes(ledger, key.account)] == [
        "account opened",
        "key created",
        "key changed",
        "key paused",
        "key resumed",
        "account suspended",
        "account resumed",
        "account limited",
    ]
    assert (await ledger.audit()).problems == []


async def test_a_rotated_key_has_another_secret(machine: Machine) -> None:
    """The old secret is dead from the moment that it is asked for; the new one is good once durable; the key stays."""
    ledger, key = await begin(machine)
    await ledger.change_key(key.id, key.name, TERMS, "operator")
    task = asyncio.create_task(ledger.rotate_key(key.id, DIGESTS[1], "tg-new…", 0, "operator"))
    await asyncio.sleep(0)
    assert ledger.find_key(DIGESTS[0]) is None
    assert ledger.find_key(DIGESTS[1]) is None

    rotated = await task
    assert rotated.id == key.id
    assert rotated.masked == "tg-new…"
    assert (rotated.expires_ns, rotated.models, rotated.limits) == TERMS
    async for here in machine.now_and_restarted(ledger):
        assert here.find_key(DIGESTS[1]) == rotated
        assert here.find_key(DIGESTS[0]) is None
        assert here.keys() == [rotated]


async def test_a_secret_lives_on_for_its_grace(machine: Machine) -> None:
    """By its old secret a key is found as one that ends with the grace, or with the key if that comes first."""
    ledger, key = await begin(machine)
    before_ns = machine.now_ns()
    rotated = await ledger.rotate_key(key.id, DIGESTS[1], "tg-new…", 600 * S, "operator")
    async for here in machine.now_and_restarted(ledger):
        by_old = here.find_key(DIGESTS[0])
        assert here.find_key(DIGESTS[1]) == rotated
        assert by_old is not None
        assert by_old.expires_ns is not None
        assert 600 * S < by_old.expires_ns - before_ns < 601 * S
        assert by_old._replace(expires_ns=None) == rotated
        ledger = here
    await ledger.pause_key(key.id, "operator")
    by_old = ledger.find_key(DIGESTS[0])
    assert by_old is not None
    assert by_old.paused

    await ledger.change_key(key.id, key.name, KeyTerms(before_ns), "operator")
    by_old = ledger.find_key(DIGESTS[0])
    assert by_old is not None
    assert by_old.expires_ns == before_ns


async def test_only_the_last_secret_has_a_grace(machine: Machine) -> None:
    """A further rotation ends the grace of the one before, and a revocation ends it with the key."""
    ledger, key = await begin(machine)
    await ledger.rotate_key(key.id, DIGESTS[1], "tg-1…", 600 * S, "operator")
    await ledger.rotate_key(key.id, DIGESTS[2], "tg-2…", 600 * S, "operator")
    assert [ledger.find_key(digest) is not None for digest in DIGESTS] == [False, True, True]

    await ledger.revoke_key(key.id, "operator")
    async for here in machine.now_and_restarted(ledger):
        assert [here.find_key(digest) for digest in DIGESTS] == [None, None, None]


async def test_rotations_that_overtake_one_another_leave_one_secret(machine: Machine) -> None:
    """Of two rotations at once the later one counts: the secret of the earlier is never good."""
    ledger, key = await begin(machine)
    await asyncio.gather(*(ledger.rotate_key(key.id, digest, "…", 0, "operator") for digest in DIGESTS[1:]))
    async for here in machine.now_and_restarted(ledger):
        assert [here.find_key(digest) is not None for digest in DIGESTS] == [False, False, True]


async def test_a_key_that_is_changed_while_it_is_made_is_the_changed_one(machine: Machine) -> None:
    """A key that is paused before the disk has it is good as a paused one, and with a grace if it is rotated."""
    ledger = await machine.start()
    account = await ledger.open_account("Ann", "operator")
    making = asyncio.create_task(add(ledger, account.id))
    await turn_until(ledger.keys)
    (key,) = ledger.keys()
    await asyncio.gather(
        ledger.pause_key(key.id, "operator"), ledger.rotate_key(key.id, DIGESTS[1], "…", 600 * S, "operator")
    )
    await making
    found = [ledger.find_key(digest) for digest in DIGESTS[:2]]

    assert [key is not None and key.paused for key in found] == [True, True]


async def test_an_imported_key_may_be_of_any_form(machine: Machine) -> None:
    """While there is a key with an imported secret, the store says so; a rotation or a revocation ends that."""
    ledger, key = await begin(machine)
    assert not ledger.has_imported
    first, second = [
        await ledger.add_key(key.account, "old", digest, "…", "eve", imported=True) for digest in DIGESTS[1:]
    ]
    async for here in machine.now_and_restarted(ledger):
        assert here.has_imported
        assert here.find_key(DIGESTS[1]) == first
        assert notes(here, key.account)[2] == (first.id, "key imported", "eve")
        ledger = here
    await ledger.rotate_key(first.id, b"n" * 32, "tg-new…", 0, "operator")
    await ledger.rotate_key(second.id, b"o" * 32, "tg-new…", 600 * S, "operator")
    assert ledger.has_imported
    await ledger.revoke_key(second.id, "operator")
    async for here in machine.now_and_restarted(ledger):
        assert not here.has_imported


async def test_a_secret_is_imported_once(machine: Machine) -> None:
    """A secret that is there, as a key's own, as one that works for a while or as a revoked one, is refused."""
    ledger, key = await begin(machine)
    await ledger.rotate_key(key.id, DIGESTS[1], "…", 600 * S, "operator")
    gone = await add(ledger, key.account, 2)
    await ledger.revoke_key(gone.id, "operator")
    ledger = await machine.restart()
    for digest in DIGESTS:
        with pytest.raises(Refusal) as refused:
            await ledger.add_key(key.account, "again", digest, "…", "operator", imported=True)
        assert (refused.value.code, refused.value.param) == (Code.CONFLICT, "sha256")
        with pytest.raises(InvariantBrokenError):
            await ledger.rotate_key(key.id, digest, "…", 0, "operator")
    assert ledger.ready


async def test_a_secret_that_was_replaced_is_forgotten(machine: Machine) -> None:
    """What a rotation without a grace has ended is unknown here, and can come back as another key's, by its hash."""
    ledger, key = await begin(machine)
    await ledger.rotate_key(key.id, DIGESTS[1], "…", 0, "operator")
    back = await ledger.add_key(key.account, "back", DIGESTS[0], "…", "operator", imported=True)
    async for here in machine.now_and_restarted(ledger):
        assert here.find_key(DIGESTS[0]) == back


@pytest.mark.parametrize(
    "act",
    [
        lambda ledger, key_id: ledger.change_key(key_id, "name", NO_TERMS, "operator"),
        lambda ledger, key_id: ledger.pause_key(key_id, "operator"),
        lambda ledger, key_id: ledger.resume_key(key_id, "operator"),
        lambda ledger, key_id: ledger.rotate_key(key_id, DIGESTS[2], "…", 0, "operator"),
    ],
    ids=["change", "pause", "resume", "rotate"],
)
async def test_a_revoked_key_does_not_come_back(
    machine: Machine, act: Callable[[EmbeddedLedger, str], Awaitable[object]]
) -> None:
    """Nothing can be done with a revoked key; it stays revoked, and nothing is noted."""
    ledger, key = await begin(machine)
    revoked = await ledger.revoke_key(key.id, "operator")
    with pytest.raises(Refusal) as refused:
        await act(ledger, key.id)

    assert refused.value.code is Code.CONFLICT
    assert ledger.key(key.id) == revoked
    assert len(notes(ledger, key.account)) == 3


async def test_an_account_is_suspended_and_resumed(machine: Machine) -> None:
    """A suspension is in force before the disk has it, lasts over a restart, and is noted with who and why."""
    ledger, key = await begin(machine)
    task = asyncio.create_task(ledger.suspend_account(key.account, "chargeback", "eve"))
    await asyncio.sleep(0)
    assert ledger.account(key.account).suspended

    await task
    async for here in machine.now_and_restarted(ledger):
        assert here.account(key.account).suspended
        assert here.find_key(DIGESTS[0]) == key
        ledger = here
    assert notes(ledger, key.account)[2] == (None, "account suspended: chargeback", "eve")
    await ledger.resume_account(key.account, "settled", "eve")
    async for here in machine.now_and_restarted(ledger):
        assert not here.account(key.account).suspended
        assert notes(here, key.account)[3] == (None, "account resumed: settled", "eve")


async def test_an_account_is_limited(machine: Machine) -> None:
    """Limits of an account last over a restart and a suspension, and go again."""
    ledger, key = await begin(machine)
    await ledger.limit_account(key.account, TERMS.limits, "operator")
    await ledger.suspend_account(key.account, "unpaid", "operator")
    async for here in machine.now_and_restarted(ledger):
        assert (here.account(key.account).limits, here.account(key.account).told_empty) == (TERMS.limits, False)
        ledger = here
    await ledger.limit_account(key.account, UNLIMITED, "operator")
    assert (await machine.restart()).account(key.account).limits == UNLIMITED


async def test_watchers_are_told_at_once(machine: Machine) -> None:
    """Whoever watches is called with every act that may take something away, before the disk has it."""
    ledger, key = await begin(machine)
    seen: list[bool] = []
    ledger.watch_access(lambda: seen.append(ledger.key(key.id).paused or ledger.account(key.account).suspended))
    for act in (ledger.pause_key(key.id, "operator"), ledger.suspend_account(key.account, "unpaid", "operator")):
        task = asyncio.create_task(act)
        await asyncio.sleep(0)
        assert seen.pop()
        await task


async def test_what_is_taken_away_is_gone_though_the_store_fails(machine: Machine) -> None:
    """With a full disk a pause, a rotation, a suspension is told to have failed, again and again, and is in force."""
    wrapper = Wrapper()
    ledger = await machine.start(wrapper)
    accounts = [await ledger.open_account(name, "operator") for name in ("Ann", "Bob")]
    keys = [await add(ledger, account.id, number) for number, account in enumerate(accounts)]
    wrapper.flaky.fails_at = "write"
    for _ in range(2):
        for act in (
            ledger.rotate_key(keys[0].id, DIGESTS[2], "…", 0, "operator"),
            ledger.pause_key(keys[1].id, "operator"),
            ledger.suspend_account(accounts[1].id, "unpaid", "operator"),
        ):
            with pytest.raises((StoreUnavailableError, InvariantBrokenError)):
                await act

    assert [ledger.find_key(digest) for digest in DIGESTS] == [None, keys[1]._replace(paused=True), None]
    assert ledger.account(accounts[1].id).suspended
    ledger = await machine.restart()
    assert [ledger.find_key(digest) for digest in DIGESTS] == [*keys, None]
    assert not ledger.account(accounts[1].id).suspended
