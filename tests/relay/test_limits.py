"""Limits of keys and accounts, as callers meet them: who is admitted, what is told, what is given back."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from tallygate.config import LimitsSettings
from tallygate.core.access import KeyTerms
from tallygate.core.keys import key_digest, mask, mint_api_key
from tallygate.core.ledger import entry as e
from tallygate.core.limits import Limits
from tests.relay.world import World, charged, cost, open_world, until

if TYPE_CHECKING:
    from tallygate.devnet.server import Application, Exchange, Reply
    from tests.relay.caller import Answer

HOUR_S = 3600.0


class Clock:
    """A clock that a test winds."""

    def __init__(self) -> None:
        self.now_s = HOUR_S

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def rates(answer: Answer, what: str) -> tuple[str, str, str]:
    """Return limit, what remains, and the reset, as headers tell them."""
    limit, remaining, reset = (answer.headers[f"x-ratelimit-{name}-{what}"] for name in ("limit", "remaining", "reset"))
    return limit, remaining, reset


def told(answer: Answer) -> tuple[int, str, str, str | None, str | None]:
    """Return status, code, which limit, when to come back, and whether by oneself."""
    error = answer.json()["error"]
    headers = answer.headers
    return answer.status, error["code"], error["param"], headers.get("retry-after"), headers.get("x-should-retry")


def nothing_counts(world: World) -> bool:
    """Return whether no call is counted as under way."""
    return "0 under way" in repr(world.gateway.relay.limiter)


async def test_requests_per_minute() -> None:
    """So many calls are admitted in any 60 seconds; the next is told to the second when, and admitted then."""
    clock = Clock()
    async with open_world(monotonic_s=clock) as world:
        await world.limit(requests_per_minute=3)
        answers = []
        for _ in range(4):
            answers.append(await world.chat(stream=True))
            clock.now_s += 10
        refused = answers.pop()
        clock.now_s = HOUR_S + 60
        later = await world.chat()

        assert [rates(answer, "requests") for answer in answers] == [("3", left, "1m0s") for left in "210"]
        assert told(refused) == (429, "rate_limit_exceeded", "requests_per_minute", "30", None)
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert rates(refused, "requests") == ("3", "0", "50s")
        assert later.status == 200
        assert world.upstream_calls == 4
        assert "x-ratelimit-limit-tokens" not in refused.headers


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_replayed_tells_the_limits_of_now(stream: bool) -> None:
    """A replay takes nothing of a limit, and says what is left when it is given, not what was left the first time."""
    clock = Clock()
    async with open_world(monotonic_s=clock) as world:
        await world.limit(requests_per_minute=3)
        first = await world.chat(stream=stream, key="k")
        clock.now_s += 20
        await world.chat()
        again = await world.chat(stream=stream, key="k")
        clock.now_s += 50
        later = await world.chat(stream=stream, key="k")
        await world.limit()
        unlimited = await world.chat(stream=stream, key="k")

        assert (again.headers["x-tallygate-replayed"], again.body) == ("true", first.body)
        assert [rates(answer, "requests") for answer in (first, again, later)] == [
            ("3", "2", "1m0s"),
            ("3", "1", "1m0s"),
            ("3", "2", "10s"),
        ]
        assert not [name for name in unlimited.headers if name.startswith("x-ratelimit")]
        assert world.upstream_calls == 2


async def test_a_call_without_limits_tells_none() -> None:
    """Where no limit per minute is in force, no header speaks of one."""
    async with open_world() as world:
        answer = await world.chat()

        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


async def test_a_call_that_money_refuses_counts_for_nothing() -> None:
    """Neither a 402 nor a spend limit takes requests or tokens of the minute, or leaves a call under way."""
    limits = LimitsSettings(Limits(requests_per_minute=5, tokens_per_minute=100_000, concurrent_requests=1))
    async with open_world(usd=0, limits=limits) as world:
        refused = [await world.chat() for _ in range(7)]
        await world.limit(spend_total_picousd=1)
        over = [await world.chat() for _ in range(7)]

        assert {(answer.status, answer.code) for answer in refused} == {(402, "insufficient_balance")}
        assert {(answer.status, answer.code) for answer in over} == {(429, "spend_limit_exceeded")}
        assert {rates(answer, what) for answer in refused + over for what in ("requests", "tokens")} == {
            ("5", "5", "0s"),
            ("100000", "100000", "0s"),
        }
        assert nothing_counts(world)
        assert world.entries(e.HOLD) == []


async def test_tokens_count_as_bounded_and_then_as_used() -> None:
    """A call takes the tokens that it is bounded by until it ends; then those that were charged, for the minute."""
    clock = Clock()
    async with open_world(monotonic_s=clock) as world:
        await world.chat()
        hold, ending = world.entries(e.HOLD)[0], world.ending()
        bound = (hold.prompt_tokens or 0) + (hold.completion_tokens or 0)
        used = (ending.prompt_tokens or 0) + (ending.completion_tokens or 0)
        assert used < bound
        await world.limit(tokens_per_minute=bound + used)
        world.order("barrier", count=100)
        first = await world.send()
        await world.arrival(2)
        during = await world.chat()
        world.clear_faults()
        answer = await first.answer()
        after = await world.chat()
        full = await world.chat()

        assert rates(answer, "tokens") == (str(bound + used), str(used), "1m0s")
        assert told(during) == (429, "rate_limit_exceeded", "tokens_per_minute", "60", None)
        assert rates(after, "tokens")[1] == "0"
        assert told(full) == (429, "rate_limit_exceeded", "tokens_per_minute", "60", None)
        clock.now_s += 60
        assert (await world.chat()).status == 200


async def test_a_call_that_never_fits_is_not_repeated() -> None:
    """A call that can take more tokens than its key may use in a minute is told so, and that waiting is of no use."""
    async with open_world() as world:
        await world.limit(tokens_per_minute=10)

        answer = await world.chat()

        assert told(answer) == (429, "rate_limit_exceeded", "tokens_per_minute", "120", "false")
        assert "max_tokens" in answer.json()["error"]["message"]


async def test_calls_at_a_time() -> None:
    """So many calls may be under way; one more is told at once, and admitted as soon as one has ended."""
    async with open_world() as world:
        await world.limit(concurrent_requests=2)
        world.order("barrier", count=100, times=None)
        callers = [await world.send(stream=True) for _ in range(2)]
        await world.arrival(2)
        refused = await world.chat()
        world.clear_faults()
        answers = [*[await caller.answer() for caller in callers], await world.chat()]

        assert told(refused) == (429, "concurrency_limit_exceeded", "concurrent_requests", "1", None)
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert nothing_counts(world)


async def test_an_account_is_limited_with_all_its_keys() -> None:
    """Two keys of an account share its limit; the message says which of the two it is."""
    async with open_world(limits=LimitsSettings(Limits(requests_per_minute=9))) as world:
        await world.ledger.limit_account(world.account.id, Limits(requests_per_minute=2), "test")
        other = mint_api_key(os.urandom(32))
        await world.ledger.add_key(world.account.id, "other", key_digest(world.pepper, other), mask(other), "test")
        first = await world.chat()
        world.secret = other
        second, third = await world.chat(), await world.chat()

        assert rates(first, "requests")[:2] == ("2", "1")
        assert rates(second, "requests")[:2] == ("2", "0")
        assert told(third)[:3] == (429, "rate_limit_exceeded", "requests_per_minute")
        assert third.json()["error"]["message"].startswith("This account ")


async def test_a_keys_own_limit_stands_in_the_place_of_the_default() -> None:
    """A default holds for keys that have no such limit, and gives way to one of their own, also to a higher one."""
    defaults = LimitsSettings(Limits(requests_per_minute=1, concurrent_requests=7))
    async with open_world(limits=defaults) as world:
        statuses = [(await world.chat()).status for _ in range(2)]
        await world.limit(requests_per_minute=3)
        statuses += [(await world.chat()).status for _ in range(3)]

        assert statuses == [200, 429, 200, 200, 429]


class Lingering:
    """A host that keeps the end of a body to itself when all of the answer has been sent."""

    def __init__(self, host: Application) -> None:
        self.host = host
        self.let_go = asyncio.Event()

    async def answer(self, exchange: Exchange) -> None:
        """Let the host answer, but for the end."""
        end = exchange.end

        async def linger() -> None:
            await self.let_go.wait()
            await end()

        exchange.end = linger  # type: ignore[method-assign]
        await self.host.answer(exchange)

    def refuse(self, status: int, message: str) -> Reply:
        """Word an error as the host does."""
        return self.host.refuse(status, message)


async def test_who_has_the_end_of_an_answer_can_call_again() -> None:
    """One call after the other never meets a limit of one at a time, however slowly upstreams close their bodies."""
    async with open_world("openai") as world:
        await world.limit(concurrent_requests=1)
        bearer = Lingering(world.hosts[-1])
        world.devnet._servers[-1].application = bearer
        caller = await world.send(stream=True)
        first = await caller.answer()
        second = await (await world.send(caller, stream=True)).answer()
        bearer.let_go.set()

        assert first.events[-1] == b"[DONE]"
        assert (first.status, second.status) == (200, 200), second


@pytest.mark.parametrize("fault", ["503", "refuse", "cut", "error_event", "500", "400", "garbage"])
async def test_no_ending_keeps_a_place(fault: str) -> None:
    """However calls end (failed, cut, left, refused), each gives its place back: one place serves them all in turn."""
    async with open_world("gonka", "openai") as world:
        await world.limit(concurrent_requests=1)
        for stream in (False, True, True):
            world.order(fault, times=None)
            caller = await world.send(stream=stream)
            if stream and fault == "cut":
                caller.leave()
            else:
                assert (await caller.answer()).status != 429
            await until(lambda: not world.gateway.relay.under_way)
            assert nothing_counts(world)
            world.clear_faults()

        assert (await world.chat()).status == 200


async def test_chaos_leaves_nothing_counted() -> None:
    """Amid failures, leavings, refusals and a store that breaks, places are never exceeded, and all are given back."""
    limits = LimitsSettings(Limits(concurrent_requests=7), Limits(concurrent_requests=9, tokens_per_minute=10**6))
    async with open_world("gonka", "openai", limits=limits, sound=False) as world:
        for fault in ("503", "refuse", "cut", "error_event", "500", "429"):
            world.order(fault, times=3)
        callers = [await world.send(stream=index % 2 == 0) for index in range(80)]
        for caller in callers[::5]:
            caller.leave()
        kept = [caller for index, caller in enumerate(callers) if index % 5]
        answers = await asyncio.gather(*(caller.answer() for caller in kept))
        await world.settle_down()
        world.journal.broken = True
        down = await world.chat()

        assert {answer.status for answer in answers} <= {200, 429, 502, 503}
        assert max(len(host.calls) for host in world.hosts) > 0
        assert down.status == 503
        assert nothing_counts(world)


# --- money -------------------------------------------------------------------------------------------------------


async def one_hold() -> int:
    """Return what one of these calls holds."""
    async with open_world() as world:
        await world.chat()
        (hold,) = world.entries(e.HOLD)
        return cost(hold.prompt_tokens or 0, hold.completion_tokens or 0).total


@pytest.mark.parametrize("of_account", [False, True])
async def test_a_spend_limit_is_never_exceeded(of_account: bool) -> None:
    """Of many calls at once as many are held as the limit allows; the rest wait; and what is spent never exceeds it."""
    held = await one_hold()
    async with open_world() as world:
        limits = Limits(spend_total_picousd=3 * held)
        if of_account:
            await world.ledger.limit_account(world.account.id, limits, "test")
        else:
            await world.limit(spend_total_picousd=3 * held)
        world.order("barrier", count=1000, times=None)
        callers = await asyncio.gather(*(world.send() for _ in range(8)))
        waiting = {asyncio.ensure_future(caller.answer()) for caller in callers}
        while len(waiting) > 3:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert {told(task.result()) for task in done} == {(429, "spend_limit_exceeded", "spend_total", "1", None)}
        world.clear_faults()
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 3
        last = await world.chat()
        while last.status == 200:
            last = await world.chat()
        spent = sum(charged(ending) for ending in world.entries(e.SETTLE))

        assert spent + held > 3 * held >= spent
        status, code, name, retry_after, should_retry = told(last)
        assert (status, code, name, should_retry) == (429, "spend_limit_exceeded", "spend_total", "false")
        assert retry_after == "120"
        error = last.json()["error"]
        assert error["type"] == "insufficient_quota"
        assert set(error["metadata"]) == {"limit_usd", "spent_usd", "held_usd", "required_usd"}
        assert error["metadata"]["held_usd"] == "0"


async def test_what_was_spent_is_known_after_a_restart() -> None:
    """A gateway that starts again knows what a key has spent, to the pico-dollar."""
    async with open_world() as world:
        await world.chat()
        spent = charged(world.ending())
        held = await one_hold()
        await world.limit(spend_total_picousd=spent + held - 1)
        before = await world.chat()
        await world.stop()
        await world.start()
        after = await world.chat()
        await world.limit(spend_total_picousd=spent + held)

        assert told(before) == told(after) == (429, "spend_limit_exceeded", "spend_total", "120", "false")
        assert before.json()["error"]["metadata"] == after.json()["error"]["metadata"]
        assert (await world.chat()).status == 200


async def test_limits_are_asked_before_money() -> None:
    """A call that is over a limit and cannot be paid for either is told of the limit."""
    async with open_world(usd=0) as world:
        key = world.ledger.keys()[0]
        for limits, code in (
            (Limits(concurrent_requests=0), "concurrency_limit_exceeded"),
            (Limits(requests_per_minute=0), "rate_limit_exceeded"),
            (Limits(spend_month_picousd=1), "spend_limit_exceeded"),
        ):
            await world.ledger.change_key(key.id, key.name, KeyTerms(limits=limits), "test")
            assert (await world.chat()).code == code
