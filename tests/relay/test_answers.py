"""Calls that go well: what the caller gets, what it costs, and what the books and the network say of it."""

import json
from typing import Any

import pytest

from tallygate.core.ledger import entry as e
from tallygate.devnet import DevnetSettings, NodeSettings, Scheme
from tests.relay.world import FEE_PPM, MODEL, PRICE, charged, chat_body, cost, open_world

KINDS = pytest.mark.parametrize("kind", ["gonka", "openai"])
INTERNAL = (b"logprobs", b"token_ids", b"stop_reason", b"devshard", b"prompt_logprobs")


@KINDS
@pytest.mark.parametrize("stream", [False, True])
async def test_a_clean_call_is_charged_what_the_network_counted(kind: str, stream: bool) -> None:
    """Tokens of the answer, the charge, the ngonka book and the chain's own record agree to the last one."""
    async with open_world(kind) as world:
        answer = await world.chat(stream=stream)

        (inference,) = world.devnet.chain.inferences.values()
        usage, ending = answer.usage, world.ending()
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (inference.prompt_tokens, 5)
        assert (ending.prompt_tokens, ending.completion_tokens, ending.flags) == (inference.prompt_tokens, 5, 0)
        assert charged(ending) == cost(inference.prompt_tokens, 5).total
        assert world.billed_ngonka == inference.cost_ngonka == world.posted_ngonka(e.COST_PAID)
        assert world.posted_ngonka(e.COST_UNPAID) == 0


@KINDS
async def test_streamed_and_unstreamed_cost_the_same(kind: str) -> None:
    """The same question, answered in one piece or in many, says and costs the same."""
    async with open_world(kind) as world:
        whole, streamed = await world.chat(max_tokens=40), await world.chat(max_tokens=40, stream=True)

        assert whole.json()["choices"][0]["message"]["content"] == streamed.text
        assert whole.usage == streamed.usage


@KINDS
@pytest.mark.parametrize("stream", [False, True])
async def test_costs_are_plain_decimals_that_add_up(kind: str, stream: bool) -> None:
    """Base and fee add up to the total to the last digit, as numbers without an exponent and as exact strings."""
    async with open_world(kind) as world:
        answer = await world.chat(stream=stream)

        usage, due = answer.usage, cost(answer.usage["prompt_tokens"], 5)
        names = ("base_cost_usd", "platform_fee_usd", "total_cost_usd")
        picousd = [int(usage[f"{name}_exact"].removeprefix("0.").ljust(12, "0")) for name in names]
        assert picousd == [due.base, due.fee, due.total]
        for name in names:
            assert f'"{name}":{usage[f"{name}_exact"]}'.encode() in answer.body
        assert due.fee == (due.base * FEE_PPM + 500_000) // 1_000_000


@KINDS
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_ours(kind: str, stream: bool) -> None:
    """It carries our id and our model, in header and body alike, and nothing that nodes tell one another."""
    async with open_world(kind) as world:
        answer = await world.chat(stream=stream, model=MODEL.lower())

        parts = answer.chunks if stream else [answer.json()]
        assert {part["id"] for part in parts} == {answer.headers["x-inference-id"]} == {world.ending().inference}
        assert {part["model"] for part in parts} == {MODEL}
        assert {part["object"] for part in parts} == {"chat.completion" + ".chunk" * stream}
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
        assert not [name for name in INTERNAL if name in answer.body]


@KINDS
async def test_usage_rides_on_the_finish_chunk(kind: str) -> None:
    """Without `include_usage` a stream shows the usage once, on its last chunk, and every chunk has a choice."""
    async with open_world(kind) as world:
        for options in (..., {"include_usage": False}, {}):
            answer = await world.chat(stream=True, stream_options=options)

            assert all(chunk["choices"] for chunk in answer.chunks)
            assert [("usage" in chunk) for chunk in answer.chunks] == [False] * (len(answer.chunks) - 1) + [True]
            assert answer.chunks[-1]["choices"][0]["finish_reason"] == "length"
            assert answer.body.count(b"[DONE]") == 1
            assert answer.events[-1] == b"[DONE]"
            assert answer.complete


@KINDS
async def test_usage_has_a_chunk_of_its_own_when_asked_for(kind: str) -> None:
    """With `include_usage: true` one extra last chunk without choices carries the usage, as OpenAI's does."""
    async with open_world(kind) as world:
        answer = await world.chat(stream=True, stream_options={"include_usage": True})

        *others, last = answer.chunks
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == 5
        assert all(chunk["choices"] and "usage" not in chunk for chunk in others)
        assert answer.events[-1] == b"[DONE]"


@KINDS
@pytest.mark.parametrize("stream", [False, True])
async def test_several_choices_are_one_call(kind: str, stream: bool) -> None:
    """With `n` of 3 three choices come and finish, and the usage of all is shown once and charged once."""
    async with open_world(kind) as world:
        answer = await world.chat(stream=stream, n=3)

        choices = [choice for part in (answer.chunks if stream else [answer.json()]) for choice in part["choices"]]
        finished = [choice["index"] for choice in choices if choice["finish_reason"]]
        assert sorted(finished) == [0, 1, 2]
        assert answer.usage["completion_tokens"] == 15
        assert charged(world.ending()) == cost(answer.usage["prompt_tokens"], 15).total
        assert len(world.entries(e.HOLD)) == world.upstream_calls == 1


@KINDS
async def test_what_leaves_is_bounded_and_owned(kind: str) -> None:
    """The body that leaves names the bound twice, asks for usage, has the default temperature, and says so."""
    async with open_world(kind) as world:
        answer = await world.chat(stream=True, max_tokens=..., extra_body={"seed": 7}, stop=None)

        (call,) = [call for host in world.hosts for call in host.calls]
        sent = json.loads(call.body)
        assert sent["max_tokens"] == sent["max_completion_tokens"] == 4096
        assert sent["stream_options"] == {"include_usage": True}
        assert (sent["temperature"], sent["seed"]) == (0.7, 7)
        assert not {"extra_body", "stop", "n"} & sent.keys()
        assert answer.headers["x-tallygate-changes"] == "max_tokens=4096, temperature=0.7"


@KINDS
async def test_no_header_of_a_caller_is_forwarded(kind: str) -> None:
    """An upstream sees our credentials and none of the caller's headers."""
    async with open_world(kind) as world:
        caller = await world.connect()
        headers = {**world.headers(), "x-canary": "bird", "cookie": "bird", "user-agent": "bird", "x-timestamp": "1"}
        await caller.request("POST", "/v1/chat/completions", headers, chat_body())
        await caller.answer()

        (call,) = [call for host in world.hosts for call in host.calls]
        assert "bird" not in repr(call.headers)
        assert world.secret not in repr(call.headers)
        assert call.headers.get("x-timestamp") != "1"


@KINDS
async def test_a_forced_tool_call_comes_through(kind: str) -> None:
    """A tool call arrives with its name and its arguments, streamed as unstreamed, and costs the same."""
    tool: dict[str, Any] = {
        "type": "function",
        "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
    }
    fields: dict[str, Any] = {"tools": [tool], "tool_choice": "required", "max_tokens": 50}
    async with open_world(kind) as world:
        whole, streamed = await world.chat(**fields), await world.chat(**fields, stream=True)

        (call,) = whole.json()["choices"][0]["message"]["tool_calls"]
        deltas = [chunk["choices"][0]["delta"].get("tool_calls") for chunk in streamed.chunks]
        pieces = [delta[0]["function"] for delta in deltas if delta]
        assert call["function"]["name"] == pieces[0]["name"] == "add"
        assert call["function"]["arguments"] == "".join(piece["arguments"] for piece in pieces)
        assert whole.usage == streamed.usage


@KINDS
async def test_one_connection_serves_call_after_call(kind: str) -> None:
    """A caller's connection and an upstream's connection are used again, streamed or not."""
    async with open_world(kind) as world:
        caller = await world.connect()
        for stream in (True, False, True):
            answer = await (await world.send(caller, stream=stream)).answer()
            assert answer.status == 200

        assert len(world.entries(e.SETTLE)) == 3


async def test_nodes_of_the_older_scheme_are_served_as_well() -> None:
    """Where nodes sign `raw`, calls are signed so, and nodes that speak only devshard are passed over."""
    raw, older = NodeSettings(Scheme.RAW), NodeSettings(Scheme.RAW, return_token_ids=False)
    nodes = (NodeSettings(Scheme.DEPRECATED), raw, older)
    async with open_world(devnet=DevnetSettings(pace_ms=0, nodes=nodes), scheme=Scheme.RAW) as world:
        answers = [await world.chat(stream=stream) for stream in (False, True, False, True)]

        assert [answer.status for answer in answers] == [200] * 4
        assert len({answer.usage["total_cost_usd"] for answer in answers}) == 1
        assert len(world.hosts[0].calls) == 1


async def test_a_tiny_call_is_never_free() -> None:
    """Even one token each way at the lowest price costs something, and a million of them add up exactly."""
    async with open_world() as world:
        answer = await world.chat(max_tokens=1)

        assert charged(world.ending()) >= PRICE.input + PRICE.output > 0
        assert "e-" not in answer.body.decode().partition('"usage"')[2]


async def test_models_are_listed_without_money() -> None:
    """`/v1/models` and one model answer with a good key and an empty account, by any case of the id."""
    async with open_world(usd=0) as world:
        models, model = await world.get("/v1/models"), await world.get(f"/v1/models/{MODEL.upper()}")

        assert models.json()["object"] == "list"
        assert [model["id"] for model in models.json()["data"]] == [MODEL]
        assert model.json() == models.json()["data"][0]
        assert model.json()["pricing"]["prompt"] == "0.0000000003883"
