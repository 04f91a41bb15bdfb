"""Parameters through a whole gateway: what the network gets of them, what it never hears of, what callers are told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.core.bounding import ModelCard
from tallygate.core.openai import Policy
from tests.relay.world import MODEL, chat_body, open_world

if TYPE_CHECKING:
    from tests.relay.caller import Answer
    from tests.relay.world import World

KINDS = pytest.mark.parametrize("kind", ["gonka", "openai"])
STREAMED = pytest.mark.parametrize("stream", [False, True])
PARTS = [{"type": "text", "text": "What is"}, {"type": "text", "text": "a ledger?"}]
TOOL = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}
QUESTION = {"role": "user", "content": "What is a ledger?"}


def sent(world: World) -> Any:
    """Return the last body that a host has got."""
    return json.loads(next(host.calls[-1].body for host in world.hosts if host.calls))


def changes(answer: Answer) -> str:
    """Return what the caller is told of changes."""
    return answer.headers.get("x-tallygate-changes", "")


EVERYTHING: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "n": 2,
    "max_tokens": 5,
    "stop": ["\n\n", "END"],
    "presence_penalty": -0.5,
    "frequency_penalty": 0.5,
    "tools": [TOOL],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "thinking": {"type": "enabled", "budget_tokens": 4096},
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": {}}},
    "seed": 7,
    "logprobs": True,
    "top_logprobs": 2,
    "logit_bias": {"50256": -100},
    "user": "somebody",
    "metadata": {"run": "1"},
}


@KINDS
@STREAMED
async def test_every_parameter_reaches_the_network(kind: str, stream: bool) -> None:
    """Everything that is offered goes out as it was asked for, and nothing of it is reported as a change."""
    card = ModelCard(MODEL, features=("tools", "structured_outputs", "thinking"))
    async with open_world(kind, card=card) as world:
        answer = await world.chat(stream=stream, **EVERYTHING)

        assert (answer.status, changes(answer)) == (200, "")
        body = sent(world)
        assert {name: body[name] for name in EVERYTHING} == EVERYTHING
        assert 0 < answer.usage["completion_tokens"] <= 10


@KINDS
@STREAMED
@pytest.mark.parametrize("top", [None, 0, 2, 5])
async def test_logprobs(kind: str, stream: bool, top: int | None) -> None:
    """Nodes send five alternatives of each token, and a caller sees as many as he asked for, and no token ids."""
    asked: dict[str, Any] = {} if top is None else {"logprobs": True, "top_logprobs": top}
    async with open_world(kind) as world:
        answer = await world.chat(stream=stream, **asked)

        chunks = answer.chunks if stream else [answer.json()]
        shown = [choice.get("logprobs") for chunk in chunks for choice in chunk["choices"]]
        entries = [entry for logprobs in shown if logprobs for entry in logprobs["content"]]
        assert b"token_ids" not in answer.body
        if kind == "openai" or top is None:  # the Bearer gateway shows none
            assert entries == []
            return
        words = answer.text if stream else answer.json()["choices"][0]["message"]["content"]
        assert "".join(entry["token"] for entry in entries) == words
        assert {len(entry["top_logprobs"]) for entry in entries} == {top}


@pytest.mark.parametrize(("kind", "content"), [("gonka", "What is\na ledger?"), ("openai", PARTS)])
async def test_content_in_parts(kind: str, content: object) -> None:
    """Nodes get text parts as one text, which is told; a Bearer upstream gets them as they came; both cost the same."""
    async with open_world(kind) as world:
        answer = await world.chat(messages=[{"role": "user", "content": PARTS}], temperature=1)
        plain = await world.chat(messages=[{"role": "user", "content": "What is\na ledger?"}], temperature=1)

        assert changes(answer) == ("content=text" if kind == "gonka" else "")
        first = next(host.calls[0].body for host in world.hosts if host.calls)
        assert json.loads(first)["messages"] == [{"role": "user", "content": content}]
        assert answer.usage == plain.usage


async def test_parts_are_flattened_where_the_next_try_needs_it() -> None:
    """A call that fails over from a Bearer upstream to a node is written for each of them."""
    async with open_world("openai", "gonka") as world:
        world.order("503", host=-1, times=None)
        answer = await world.chat(messages=[{"role": "user", "content": PARTS}], temperature=1)

        assert (answer.status, changes(answer)) == (200, "content=text")
        bearer, node = world.hosts[-1].calls[0], next(host.calls[0] for host in world.hosts[:-1] if host.calls)
        assert json.loads(bearer.body)["messages"][0]["content"] == PARTS
        assert json.loads(node.body)["messages"][0]["content"] == "What is\na ledger?"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tags": ["a"]}, "tags"),
    ({"enforced_tokens": [1]}, "enforced_tokens"),
    ({"guided_json": {}}, "guided_json"),
    ({"structured_outputs": {"json": {}}, "response_format": {"type": "json_object"}}, "structured_outputs"),
    ({"plugins": [{"id": "web"}]}, "plugins"),
    ({"prompt_cache_key": "x"}, "prompt_cache_key"),
    ({"best_of": 3}, "best_of"),
    ({"extra_body": {"min_tokens": 500}}, "min_tokens"),
    ({"chat_template_kwargs": {}}, "chat_template_kwargs"),
    ({"thinking": {"type": "enabled"}}, "thinking"),
    ({"messages": [QUESTION] * 2049}, "messages"),
    ({"messages": [{"role": "user", "content": [*PARTS, {"type": "image_url", "image_url": {"url": "x"}}]}]},
     "messages[0].content[2].type"),
    ({"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {}}]}]},
     "messages[0].content[0].type"),
    ({"messages": [QUESTION, {"role": "assistant", "tool_calls": [
        {"id": "functions.f:2", "function": {"name": "f", "arguments": "{}"}}] * 2}]}, "messages[1].tool_calls[1].id"),
    ({"messages": [QUESTION, {"role": "tool", "tool_call_id": "c", "content": "x"}]}, "messages[1].tool_call_id"),
    ({"tools": [{"type": "gonkagate:web_search"}]}, "tools[0].type"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {str(i): {} for i in range(256)}}}]},
     "tools[0].function.parameters"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"top_p": 0}, "top_p"),
    ({"stop": ["a", "b", ""]}, "stop[2]"),
    ({"metadata": {"k": 1}}, "metadata.k"),
    ({"logit_bias": {"word": 1}}, "logit_bias"),
    ({"top_logprobs": 5}, "top_logprobs"),
]  # fmt: skip


@KINDS
async def test_what_the_network_would_refuse_never_reaches_it(kind: str) -> None:
    """A 400 that names the place comes at once: nothing is sent, held or charged, streamed or not."""
    async with open_world(kind) as world:
        for fields, param in REFUSED:
            for stream in (False, True):
                answer = await world.chat(stream=stream, **fields)
                assert (answer.status, answer.json()["error"]["param"]) == (400, param), fields
                assert param.rpartition(".")[2] in answer.json()["error"]["message"]
        assert world.upstream_calls == 0
        assert world.entries("hold") == []


async def test_a_card_says_what_its_model_can() -> None:
    """What a card does not list is refused by name before anything is sent, and not among its parameters."""
    async with open_world(card=ModelCard(MODEL, features=("json_mode",))) as world:
        for fields in ({"tools": [TOOL]}, {"response_format": EVERYTHING["response_format"]}):
            answer = await world.chat(**fields)
            assert (answer.status, answer.code) == (400, "unsupported_parameter")
            assert answer.json()["error"]["param"] == next(iter(fields))
        assert world.upstream_calls == 0
        assert (await world.chat(response_format={"type": "json_object"})).status == 200

        (model,) = (await world.get("/v1/models")).json()["data"]
        assert model["supported_features"] == ["json_mode"]
        assert "response_format" in model["supported_parameters"]
        assert {"tools", "thinking"}.isdisjoint(model["supported_parameters"])


async def test_repair() -> None:
    """With repair a call does without what the network leaves out, and its caller is told of every change."""
    async with open_world("openai", parameters=Policy(repairs=True)) as world:
        answer = await world.chat(
            max_tokens=5, temperature=1, tools=[TOOL], tool_choice="required", store=True, prompt_cache_key="x"
        )

        assert answer.status == 200
        assert changes(answer) == "-prompt_cache_key, -store, -tools[].function.strict, tool_choice=auto"
        body = sent(world)
        assert {"store", "prompt_cache_key"}.isdisjoint(body)
        assert body["tool_choice"] == "auto"
        assert "strict" not in body["tools"][0]["function"]


@pytest.mark.parametrize(("unknown", "status"), [("refuse", 400), ("pass", 200), ("strip", 200)])
async def test_unknown_parameters(unknown: Any, status: int) -> None:
    """What is not known is refused, sent on, or left out and told, as the operator has set; what costs is refused."""
    async with open_world("openai", parameters=Policy(unknown)) as world:
        answer = await world.chat(max_tokens=5, temperature=1, top_k=20)
        costly = await world.chat(max_tokens=5, temperature=1, min_tokens=5)

        assert answer.status == status
        assert (costly.status, costly.json()["error"]["param"]) == (400, "min_tokens")
        if status == 200:
            assert sent(world).get("top_k") == (20 if unknown == "pass" else None)
            assert changes(answer) == ("" if unknown == "pass" else "-top_k")


QWEN32 = ModelCard("Qwen/Qwen3-32B-FP8", features=("tools", "thinking"))
QWEN235 = ModelCard(MODEL, features=("tools", "thinking"))
SAMPLES: list[tuple[ModelCard, dict[str, Any]]] = [
    # GonkaGate's own sample, as printed on its API page
    (QWEN32, {"model": "qwen/qwen3-32b-fp8", "messages": [{"role": "user", "content": "..."}]}),
    # Gonka Broker's, as printed on its compatibility page
    (QWEN235, {
        "model": "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8",
        "messages": [{"role": "user", "content": "Solve this step by step: 23 * 47"}],
        "thinking": {"type": "enabled", "budget_tokens": 4096},
    }),
    (QWEN235, {"thinking": {"type": "disabled"}}),
    (QWEN235, {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]}),
]  # fmt: skip


@KINDS
@STREAMED
@pytest.mark.parametrize(("card", "fields"), SAMPLES)
async def test_the_samples_of_the_two_gateways(
    kind: str, stream: bool, card: ModelCard, fields: dict[str, Any]
) -> None:
    """The bodies that GonkaGate and Gonka Broker print run as printed, and each answer says what it cost."""
    async with open_world(kind, card=card) as world:
        answer = await world.chat(stream=stream, **{"max_tokens": ..., **fields})

        assert answer.status == 200
        usage = answer.usage
        costs = [usage[name] for name in ("base_cost_usd", "platform_fee_usd", "total_cost_usd")]
        assert all(cost > 0 for cost in costs)
        assert {chunk["model"] for chunk in (answer.chunks if stream else [answer.json()])} == {card.id}
        assert sent(world)["temperature"] == 0.7
        assert sent(world).get("thinking") == fields.get("thinking")


@pytest.mark.parametrize("kind", ["gonka", "openai"])
async def test_an_estimate_tells_the_same_changes(kind: str) -> None:
    """What is left out, coerced and flattened is foretold by an estimate word for word, by the same settings."""
    fields = {
        "messages": [{"role": "user", "content": PARTS}],
        "store": True,
        "tools": [TOOL],
        "tool_choice": "required",
        "top_k": 5,
    }
    async with open_world(kind, parameters=Policy("strip", repairs=True)) as world:
        caller = await world.connect()
        await caller.request("POST", "/v1/estimate", world.headers(), chat_body(**fields))
        foretold = (await caller.answer()).json()
        answer = await world.chat(**fields)

        assert foretold["accepted"] is True
        assert foretold["changes"] == changes(answer)
        flat = "content=text, " if kind == "gonka" else ""
        assert changes(answer) == (f"-store, -top_k, -tools[].function.strict, tool_choice=auto, {flat}temperature=0.7")
