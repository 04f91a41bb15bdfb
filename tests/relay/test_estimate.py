"""Estimates, beside the calls that they are of: the same bounds, changes and refusals, and nothing happens."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.core.access import KeyTerms
from tallygate.core.ledger import entry as e
from tallygate.core.limits import Limits
from tallygate.core.money import format_usd
from tallygate.core.retry import LOST
from tests.relay.world import MODEL, chat_body, cost, open_world, until
from tests.test_tokenizerfile import write_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.relay.caller import Answer
    from tests.relay.world import World

LONG = "All that is gold does not glitter. " * 40


async def ask(world: World, body: bytes, path: str = "/v1/estimate", **headers: str) -> Answer:
    """Post a body."""
    caller = await world.connect()
    await caller.request("POST", path, {**world.headers(), **headers}, body)
    return await caller.answer()


async def estimate(world: World, **fields: Any) -> Any:
    """Return the estimate of a chat request."""
    answer = await ask(world, chat_body(**fields))
    assert answer.status == 200, answer
    return answer.json()


@pytest.mark.parametrize(
    "fields", [{}, {"max_tokens": ..., "n": 3}, {"stream": True, "temperature": 0}, {"max_tokens": 10**6}]
)
async def test_a_call_is_held_and_changed_as_estimated(fields: dict[str, Any]) -> None:
    """What an estimate would hold, and would change, is what the same call then holds and changes."""
    async with open_world() as world:
        found = await estimate(world, **fields)
        answer = await world.chat(**fields)
        (hold,) = world.entries(e.HOLD)

    assert (found["object"], found["accepted"], found["refusal"], found["model"]) == ("estimate", True, None, MODEL)
    assert found["changes"] == answer.headers.get("x-tallygate-changes", "")
    assert found["upstreams"] == [hold.upstream]
    assert found["hold"] == {
        "usd": format_usd(e.amount_of(hold, e.USD, world.account.held_account)),
        "prompt_tokens_max": hold.prompt_tokens,
        "completion_tokens_max": hold.completion_tokens,
    }


async def test_nothing_happens() -> None:
    """An estimate reaches no upstream, writes no entry, moves no money, and takes no node's turn."""
    async with open_world() as world:
        first = await world.chat()
        await until(lambda: not world.gateway.relay.under_way)
        entries, available, calls = len(world.entries(*e.KINDS)), world.account.available, world.upstream_calls
        found = await estimate(world)

        assert (len(world.entries(*e.KINDS)), world.account.available) == (entries, available)
        assert world.upstream_calls == calls == 1
        assert found["balance"] == {
            "balance_usd": format_usd(available),
            "available_usd": format_usd(available),
            "held_usd": "0",
        }
        await world.chat()
        nodes = [entry.node for entry in world.entries(e.HOLD)]
        assert nodes == [node.address for node in world.devnet.nodes][: len(nodes)]
        assert first.status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        chat_body(model="no/such"),
        chat_body(messages=[]),
        chat_body(messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
        chat_body(nonsense=1),
        chat_body(max_tokens=0),
        chat_body(min_tokens=5),
    ],
)
async def test_what_would_be_refused_is_told_as_the_call_would_be_told(body: bytes) -> None:
    """A body that the call would be refused for is an estimate that is not accepted, with the same status and error."""
    async with open_world() as world:
        found, refused = (await ask(world, body)).json(), await ask(world, body, "/v1/chat/completions")

    assert 400 <= refused.status < 500
    assert found["refusal"] == {"status": refused.status, "error": refused.json()["error"]}
    assert (found["accepted"], found["hold"], found["likely"]) == (False, None, None)


async def test_a_model_that_the_key_may_not_use_is_told() -> None:
    """A model that is not among those of the key is the call's own 403."""
    async with open_world() as world:
        (key,) = world.ledger.keys()
        await world.ledger.change_key(key.id, "key", KeyTerms(models=frozenset({"another/model"})), "test")
        found, refused = await estimate(world), await world.chat()

    assert refused.status == 403
    assert (found["model"], found["refusal"]) == (MODEL, {"status": 403, "error": refused.json()["error"]})


@pytest.mark.parametrize(
    "limits",
    [
        {"requests_per_minute": 0},
        {"tokens_per_minute": 5},
        {"concurrent_requests": 0},
        {"spend_day_picousd": 1},
        {"spend_month_picousd": 1},
        {"spend_total_picousd": 1},
    ],
)
@pytest.mark.parametrize("of_account", [False, True])
async def test_a_limit_is_told_as_the_call_would_be_told(limits: dict[str, int], of_account: bool) -> None:
    """A limit of the key or of its account that would refuse the call is told, beside what the call would hold."""
    async with open_world() as world:
        if of_account:
            await world.ledger.limit_account(world.account.id, Limits(**limits), "test")
        else:
            await world.limit(**limits)
        found, refused = await estimate(world), await world.chat()

    assert refused.status == 429
    assert found["refusal"] == {"status": 429, "error": refused.json()["error"]}
    assert (found["accepted"], found["hold"]["completion_tokens_max"]) == (False, 5)


async def test_an_estimate_takes_nothing_of_a_limit() -> None:
    """However often estimates are asked for, the one call that is allowed is still there, and then it is not."""
    async with open_world() as world:
        await world.limit(requests_per_minute=1, tokens_per_minute=1000, concurrent_requests=1)
        before = [(await estimate(world))["accepted"] for _ in range(3)]
        answer = await world.chat()
        after = await estimate(world)

    assert (before, answer.status) == ([True] * 3, 200)
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert after["refusal"]["error"]["param"] == "requests_per_minute"


async def test_want_of_money_is_told_with_what_it_would_take() -> None:
    """Without the money an estimate is the call's own 402, beside what would have to be held."""
    async with open_world(picousd=1000) as world:
        found, refused = await estimate(world), await world.chat()

    assert refused.status == 402
    assert found["refusal"] == {"status": 402, "error": refused.json()["error"]}
    assert found["hold"]["usd"] == refused.json()["error"]["metadata"]["required_usd"]
    assert Decimal(found["likely"]["total_cost_usd"]) > 0


async def test_money_that_others_hold_is_told() -> None:
    """Where the money is there, but calls under way hold it, an estimate is the call's own 429."""
    async with open_world(picousd=200_000) as world:
        world.order("barrier", count=1000)
        caller = await world.send()
        await world.arrival(1)
        found, refused = await estimate(world), await world.chat()
        world.open_barriers()
        await caller.answer()

    assert refused.status == 429
    assert found["refusal"]["error"]["code"] == refused.code == "balance_held"


async def test_a_bound_that_would_be_shrunk_is_told_shrunk() -> None:
    """Where bounds are cut to the money, an estimate has the bound that the call then gets."""
    async with open_world(picousd=400_000, short_balance="shrink") as world:
        found = await estimate(world, max_tokens=...)
        answer = await world.chat(max_tokens=...)

    assert found["accepted"]
    assert found["changes"] == answer.headers["x-tallygate-changes"]
    assert found["changes"].startswith(f"max_tokens={found['hold']['completion_tokens_max']}, ")
    assert found["hold"]["completion_tokens_max"] < 4096


async def test_the_likely_price_is_that_of_the_likely_tokens() -> None:
    """The likely price is that of the counted prompt and of the stated answer, or of its bound where that is lower."""
    async with open_world() as world:
        found = await estimate(world, messages=[{"role": "user", "content": LONG}], max_tokens=1000, n=2)
        short = await estimate(world, max_tokens=5)

    likely = found["likely"]
    assert (likely["completion_tokens"], short["likely"]["completion_tokens"]) == (512, 5)
    assert len(LONG) / 3 < likely["prompt_tokens"] < len(LONG) / 2
    assert likely["prompt_counted_by"] == "3.000 bytes per token"
    price = cost(likely["prompt_tokens"], 512)
    assert likely["base_cost_usd"] == format_usd(price.base)
    assert likely["platform_fee_usd"] == format_usd(price.fee)
    assert likely["total_cost_usd"] == format_usd(price.total)
    assert Decimal(likely["total_cost_usd"]) < Decimal(found["hold"]["usd"])


async def test_a_tokenizer_counts_what_is_not_long(tmp_path: Path) -> None:
    """With the model's tokenizer a prompt is counted by it, unless it is so long that all others would have to wait."""
    path = tmp_path / "tokenizer.json"
    write_tokenizer(path)
    async with open_world(tokenizer_file=path) as world:
        found = (await estimate(world))["likely"]
        long = (await estimate(world, messages=[{"role": "user", "content": "x" * 2**14}]))["likely"]

    assert (found["prompt_tokens"], found["prompt_counted_by"]) == (len("What is a ledger?") + 5, "tokenizer")
    assert long["prompt_counted_by"] == "3.000 bytes per token"


async def test_a_model_that_cannot_be_reached_is_told() -> None:
    """While no place for a model can be used, an estimate is the call's own 503."""
    async with open_world() as world:
        for place, _ in world.gateway.upstreams.targets(MODEL):
            place.report(LOST._replace(out_for_s=float("inf")))
        found, refused = await estimate(world), await world.chat()

    assert found["refusal"] == {"status": 503, "error": refused.json()["error"]}
    assert (found["model"], found["upstreams"]) == (MODEL, None)


async def test_what_stands_before_the_body_is_refused() -> None:
    """A bad key, another media type and a body too large get the call's own status, not an estimate."""
    async with open_world() as world:
        seen = [
            (await ask(world, chat_body(), authorization="Bearer tg-no")).status,
            (await ask(world, chat_body(), **{"content-type": "text/plain"})).status,
            (await ask(world, b" " * (10 * 2**20 + 1))).status,
        ]

    assert seen == [401, 415, 413]


async def test_a_key_that_may_not_use_the_model_is_told() -> None:
    """A model that the key may not ask for is refused in the estimate as the call would be."""
    async with open_world() as world:
        keys = world.ledger.keys()
        for key in keys:
            await world.ledger.change_key(key.id, key.name, KeyTerms(models=frozenset({"another"})), "operator")
        found = await estimate(world)
        answer = await world.chat()

    assert not found["accepted"]
    assert (found["refusal"]["status"], found["refusal"]["error"]["code"]) == (403, "model_not_allowed")
    assert answer.status == 403
