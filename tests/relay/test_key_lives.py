"""What becomes of the calls of a key that is paused, rotated, expired, imported, or whose account is suspended."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.api.callers import Callers
from tallygate.api.http import Request
from tallygate.core.access import NO_TERMS, KeyTerms
from tallygate.core.errors import Refusal
from tallygate.core.keys import key_digest, key_digest_from_hash, mask, mint_api_key
from tallygate.core.ledger import entry as e
from tests.relay.test_admission import begin_upload, finish
from tests.relay.test_completions import send_completion
from tests.relay.world import MODEL, World, chat_body, open_world, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tallygate.core.access import ApiKey
    from tests.relay.caller import Answer

    Act = Callable[[World], Awaitable[object]]

UNKNOWN = (401, "invalid_api_key", "There is no such API key; send yours as Authorization: Bearer tg-….")
SUSPENDED = (403, "account_deactivated", "The account of this API key is suspended; ask whoever runs it.")
HOUR_NS = 3600 * 10**9


def told(answer: Answer) -> tuple[int, str, str]:
    """Return how a call was refused."""
    return answer.status, answer.json()["error"]["code"], answer.json()["error"]["message"]


def key_id(world: World) -> str:
    """Return the id of the world's key."""
    return world.ledger.keys()[0].id


async def rotate(world: World, grace_ns: int = 0) -> str:
    """Give the world's key another secret, and return that."""
    secret = mint_api_key(os.urandom(32))
    digest = key_digest(world.pepper, secret)
    await world.ledger.rotate_key(key_id(world), digest, mask(secret), grace_ns, "test")
    return secret


def pause(world: World) -> Awaitable[object]:
    """Pause the world's key."""
    return world.ledger.pause_key(key_id(world), "test")


def expire(world: World) -> Awaitable[object]:
    """Have the world's key expire now."""
    return world.ledger.change_key(key_id(world), "key", KeyTerms(expires_ns=1), "test")


def revoke(world: World) -> Awaitable[object]:
    """Revoke the world's key."""
    return world.ledger.revoke_key(key_id(world), "test")


def suspend(world: World) -> Awaitable[object]:
    """Suspend the world's account."""
    return world.ledger.suspend_account(world.account.id, "test", "test")


ENDS = pytest.mark.parametrize(
    ("act", "refusal"),
    [
        (pause, (401, "invalid_api_key", "This API key is paused.")),
        (expire, (401, "invalid_api_key", "This API key has expired.")),
        (revoke, UNKNOWN),
        (rotate, UNKNOWN),
        (suspend, SUSPENDED),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)


@ENDS
async def test_the_next_call_is_refused(act: Act, refusal: tuple[int, str, str]) -> None:
    """A key that has served is refused from the next call on, wherever it asks; nothing is held or sent."""
    async with open_world() as world:
        assert (await world.chat()).status == 200
        await act(world)

        assert told(await world.chat()) == refusal
        assert told(await world.get("/v1/models")) == refusal
        assert len(world.entries(e.HOLD)) == 1
        assert world.upstream_calls == 1


@ENDS
async def test_a_call_whose_body_still_comes_is_refused(act: Act, refusal: tuple[int, str, str]) -> None:
    """A key that ends while the body is on its way spends nothing any more."""
    async with open_world() as world:
        upload = await begin_upload(world)
        await act(world)

        assert f" {refusal[0]} ".encode() in await finish(*upload)
        assert world.entries(e.HOLD) == []
        assert world.upstream_calls == 0


async def test_what_was_taken_comes_back() -> None:
    """A resumed key, a key whose expiry is put off, and a key of a resumed account are served again."""
    async with open_world() as world:
        ledger, key = world.ledger, key_id(world)
        for act, undo in (
            (pause, lambda: ledger.resume_key(key, "test")),
            (expire, lambda: ledger.change_key(key, "key", NO_TERMS, "test")),
            (suspend, lambda: ledger.resume_account(world.account.id, "test", "test")),
        ):
            await act(world)
            assert (await world.chat()).status in {401, 403}
            await undo()
            assert (await world.chat()).status == 200


async def test_a_key_that_is_made_while_the_account_is_suspended_starts_blocked() -> None:
    """A new key of a suspended account is refused as the others, and serves once the account is resumed."""
    async with open_world() as world:
        await suspend(world)
        world.secret = mint_api_key(os.urandom(32))
        digest = key_digest(world.pepper, world.secret)
        await world.ledger.add_key(world.account.id, "new", digest, mask(world.secret), "test")
        assert told(await world.chat()) == SUSPENDED

        await world.ledger.resume_account(world.account.id, "test", "test")
        assert (await world.chat()).status == 200


async def test_a_rotated_key_serves_by_its_new_secret() -> None:
    """The new secret is served at once under the same key; the old one only while its grace lasts."""
    async with open_world() as world:
        first, key = world.secret, key_id(world)
        assert (await world.chat()).status == 200
        world.secret = second = await rotate(world, HOUR_NS)
        assert (await world.chat()).status == 200
        world.secret = first
        assert (await world.chat()).status == 200
        world.secret = second
        third = await rotate(world, 1)
        assert told(await world.chat())[2] == "This API key has expired."
        world.secret = first
        assert told(await world.chat()) == UNKNOWN
        world.secret = third
        assert (await world.chat()).status == 200

        assert {entry.key_id for entry in world.entries(e.HOLD)} == {key}


@pytest.mark.parametrize("secret", ["gp-0123456789abcdef", "sk_live_'OR'1'='1", "x"])
async def test_an_imported_key_serves_by_the_secret_that_it_had(secret: str) -> None:
    """Who knows a secret whose hash was imported is served, whatever it looks like; before and after, it is unknown."""
    async with open_world() as world:
        own, world.secret = world.secret, secret
        assert told(await world.chat()) == UNKNOWN
        digest = key_digest_from_hash(world.pepper, hashlib.sha256(secret.encode()).digest())
        key = await world.ledger.add_key(world.account.id, "old", digest, "…", "test", imported=True)
        assert (await world.chat()).status == 200
        world.secret = own
        assert (await world.chat()).status == 200
        await world.ledger.revoke_key(key.id, "test")
        world.secret = secret

        assert told(await world.chat()) == UNKNOWN


async def test_a_model_that_the_key_may_not_use_is_refused() -> None:
    """A model beside the list of its key is a 403 by name, after an unknown one is a 404; one on the list is served."""
    async with open_world() as world:
        key = key_id(world)
        await world.ledger.change_key(key, "key", KeyTerms(models=frozenset({"another/model"})), "test")
        refused, unknown = await world.chat(), await world.chat(model="no/model")
        assert (refused.status, refused.code, refused.json()["error"]["param"]) == (403, "model_not_allowed", "model")
        assert refused.json()["error"]["type"] == "permission_error"
        assert (unknown.status, unknown.code) == (404, "model_not_found")
        assert world.entries(e.HOLD) == []

        await world.ledger.change_key(key, "key", KeyTerms(models=frozenset({"another/model", MODEL})), "test")
        assert (await world.chat(model=MODEL.lower())).status == 200


async def test_no_route_lets_a_key_have_a_model_that_it_may_not_use() -> None:
    """Legacy completions, estimates, the list and the look at one model keep to a key's models as chat does."""
    async with open_world() as world:
        await world.ledger.change_key(key_id(world), "key", KeyTerms(models=frozenset({"another/model"})), "test")
        chat, legacy = await world.chat(), await (await send_completion(world)).answer()
        caller = await world.connect()
        await caller.request("POST", "/v1/estimate", world.headers(), chat_body())
        estimate = (await caller.answer()).json()
        listed, looked = await world.get("/v1/models"), await world.get(f"/v1/models/{MODEL}")

        assert chat.status == legacy.status == looked.status == estimate["refusal"]["status"] == 403
        assert chat.json() == legacy.json() == looked.json() == {"error": estimate["refusal"]["error"]}
        assert listed.json()["data"] == []
        assert world.entries(e.HOLD) == []


# --- calls under way ---

CUTS = pytest.mark.parametrize(
    ("act", "message"),
    [
        (pause, "This API key is paused."),
        (expire, "This API key has expired."),
        (revoke, "This API key has been revoked."),
        (suspend, "The account of this API key is suspended; ask whoever runs it."),
    ],
    ids=["pause", "expire", "revoke", "suspend"],
)


@CUTS
async def test_a_stream_under_way_ends_well_unless_it_is_to_be_cut(act: Act, message: str) -> None:
    """As shipped, a stream whose key ends runs to its end and is charged as always."""
    async with open_world() as world:
        world.order("hold_stream", after_frames=2)
        caller = await world.send(stream=True)
        await caller.head()
        await caller.frames(2)
        await act(world)
        world.clear_faults()

        events = []
        while (event := await caller.event()) is not None:
            events.append(event)
        assert b"[DONE]" in events[-1]
        assert world.ending().completion_tokens == 5


@CUTS
async def test_a_stream_under_way_is_cut(act: Act, message: str) -> None:
    """With `cut`, what has come is charged, and the caller is told why, and what it cost, as the last event."""
    async with open_world(calls_under_way="cut") as world:
        world.order("stall_stream", after_frames=4)
        caller = await world.send(stream=True)
        await caller.head()
        await caller.frames(4)
        await act(world)
        event = await caller.event()

        assert event is not None
        assert f'"{message} This call was broken off; what had come until then was charged."' in event.decode()
        assert b'"total_cost_usd"' in event
        assert await caller.event() is None
        assert world.ending().kind == e.SETTLE
        world.clear_faults()


@CUTS
async def test_an_unstreamed_call_under_way_is_cut(act: Act, message: str) -> None:
    """With `cut`, who has seen nothing of an answer pays nothing, and is refused as if the call came now."""
    async with open_world(calls_under_way="cut") as world:
        world.order("barrier", count=1000)
        caller = await world.send()
        await world.arrival(1)
        await act(world)
        answer = await caller.answer()

        status, code = (403, "account_deactivated") if act is suspend else (401, "invalid_api_key")
        assert told(answer) == (status, code, f"{message} This call was broken off; nothing was charged.")
        assert answer.headers["x-inference-id"] == world.ending().inference
        assert "retry-after" not in answer.headers
        assert world.ending().kind == e.VOID
        world.clear_faults()


async def test_only_the_calls_of_a_key_that_ended_are_cut() -> None:
    """With `cut`, calls of another key of the same account go on, and so do those of a key that is rotated."""
    async with open_world(calls_under_way="cut") as world:
        world.order("barrier", count=1000)
        first = await world.send()
        await world.arrival(1)
        old, world.secret = world.secret, mint_api_key(os.urandom(32))
        digest = key_digest(world.pepper, world.secret)
        await world.ledger.add_key(world.account.id, "other", digest, mask(world.secret), "test")
        second = await world.send()
        await world.arrival(2)
        await rotate(world)
        await world.ledger.revoke_key(world.ledger.keys()[1].id, "test")
        assert (await second.answer()).status == 401
        world.clear_faults()

        assert (await first.answer()).status == 200
        assert old != world.secret


async def test_a_key_that_expires_by_itself_ends_its_calls() -> None:
    """With `cut`, an expiry is noticed while the call is under way, though nobody has done anything."""
    async with open_world(calls_under_way="cut") as world:
        world.order("barrier", count=1000)
        caller = await world.send()
        await world.arrival(1)
        guard = world.gateway.guard
        assert guard is not None
        row = world.ledger._rows[key_id(world)]  # without an act, as time would do it
        world.ledger._rows[key_id(world)] = row._replace(key=row.key._replace(expires_ns=1))
        looking = asyncio.ensure_future(guard.look_regularly(0))

        assert told(await caller.answer())[0] == 401
        looking.cancel()
        world.clear_faults()


async def test_a_call_whose_caller_has_left_is_drained_although_its_key_ended() -> None:
    """With `cut`, an answer that is billed to its end is read on for its bill when nobody is served by it."""
    async with open_world(calls_under_way="cut") as world:
        world.order("hold_stream", after_frames=2)
        caller = await world.send(stream=True)
        await caller.head()
        await caller.frames(2)
        caller.leave()
        (life,) = world.gateway.relay._under_way
        await until(lambda: life._draining)
        await revoke(world)
        world.clear_faults()
        await world.settle_down()

        assert world.ending().flags & e.Flag.DRAINED
        assert world.ending().completion_tokens == 5


# --- bad keys ---


class Door:
    """Lets callers in by their token, and notes which digests are looked up."""

    def __init__(self, world: World) -> None:
        self.looked_up: list[bytes] = []
        self._callers = Callers(world.ledger, world.pepper)
        find_key = world.ledger.find_key

        def find(digest: bytes) -> ApiKey | None:
            self.looked_up[:] = [digest]
            return find_key(digest)

        world.ledger.find_key = find  # type: ignore[method-assign]

    def refuses(self, token: str) -> bool:
        """Return whether a token is refused."""
        body: Any = None
        headers = {b"authorization": f"Bearer {token}".encode()}
        try:
            self._callers.authenticate(Request("req_1", "GET", "/", b"", headers, frozenset(), body))
        except Refusal:
            return True
        return False


async def test_bad_keys_leave_nothing() -> None:
    """A hundred thousand bad keys, well formed or not, touch no store and leave no memory behind."""
    async with open_world() as world:
        door, batches = Door(world), len(world.disk.batches)
        assert door.refuses("tg-typo")
        assert door.refuses("anything")
        assert door.looked_up == []
        assert door.refuses(mint_api_key(bytes(32)))
        before = sys.getallocatedblocks()
        for number in range(50_000):
            assert door.refuses(mint_api_key(number.to_bytes(32, "big")))
            assert door.refuses(f"tg-{number}")

        assert sys.getallocatedblocks() - before < 1000
        assert len(world.disk.batches) == batches


async def test_a_typing_error_in_one_of_our_keys_is_refused_early_all_the_same() -> None:
    """While there are imported keys, any token is looked up but one that begins like ours and is not well formed."""
    async with open_world() as world:
        door = Door(world)
        await world.ledger.add_key(world.account.id, "old", bytes(32), "…", "test", imported=True)
        assert door.refuses(f"{world.secret[:-1]}?")
        assert door.looked_up == []

        assert door.refuses("anything")
        assert len(door.looked_up) == 1
        assert not door.refuses(world.secret)
