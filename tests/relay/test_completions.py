"""Legacy completions: what may be asked, what is answered, and that k prompts are one call with one charge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.core.ledger import entry as e
from tests.relay.world import MODEL, World, charged, cost, open_world

if TYPE_CHECKING:
    from tests.relay.caller import Answer, Caller

STREAMED = pytest.mark.parametrize("stream", [False, True])
PROMPTS = ["What is a ledger?", 'Why "two" books?\n', "Qu\u00e9 es un libro?"]


async def send_completion(world: World, *, key: str | None = None, **fields: Any) -> Caller:
    """Send a completion request; what is given replaces or extends a short question."""
    asked = {"model": MODEL, "prompt": PROMPTS, "max_tokens": 5, **fields}
    body = json.dumps({name: value for name, value in asked.items() if value is not ...}).encode()
    caller = await world.connect()
    headers = world.headers() if key is None else {**world.headers(), "idempotency-key": key}
    await caller.request("POST", "/v1/completions", headers, body)
    return caller


async def complete(world: World, **fields: Any) -> Answer:
    """Send a completion request and wait for the whole answer."""
    return await (await send_completion(world, **fields)).answer()


def texts_of(answer: Answer) -> dict[int, str]:
    """Return what the model said by choice, of a whole answer or a stream."""
    texts: dict[int, str] = {}
    for chunk in answer.chunks if answer.body.startswith(b"data") else [answer.json()]:
        assert chunk["object"] == "text_completion"
        assert chunk["model"] == MODEL
        for choice in chunk["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    return texts


async def chat_text(world: World, prompt: str, n: int) -> list[str]:
    """Return what chat says to the same question, by choice."""
    answer = await world.chat(messages=[{"role": "user", "content": prompt}], n=n)
    return [choice["message"]["content"] for choice in answer.json()["choices"]]


@STREAMED
@pytest.mark.parametrize("kind", ["gonka", "openai"])
@pytest.mark.parametrize("n", [1, 2])
async def test_choice_c_of_prompt_p_has_index_p_n_plus_c(kind: str, n: int, stream: bool) -> None:
    """Each prompt is answered as chat answers it, in OpenAI's numbering and shape."""
    async with open_world(kind) as world:
        answer = await complete(world, n=n, stream=stream)

        assert answer.status == 200
        expected = [text for prompt in PROMPTS for text in await chat_text(world, prompt, n)]
        assert texts_of(answer) == dict(enumerate(expected))
        choices = [choice for chunk in (answer.chunks if stream else [answer.json()]) for choice in chunk["choices"]]
        assert all(set(choice) == {"text", "index", "logprobs", "finish_reason"} for choice in choices)
        assert all(choice["logprobs"] is None for choice in choices)
        finished = [choice["index"] for choice in choices if choice["finish_reason"] is not None]
        assert sorted(finished) == list(range(len(PROMPTS) * n))


@STREAMED
@pytest.mark.parametrize("kind", ["gonka", "openai"])
async def test_parts_are_one_call_with_one_charge(kind: str, stream: bool) -> None:
    """Three prompts are three sendings under one hold and one ending; usage and charge are their sums, all paid."""
    async with open_world(kind) as world:
        answer = await complete(world, stream=stream)

        assert world.upstream_calls == 3
        (hold,), (ending,) = world.entries(e.HOLD), world.entries(*e.ENDINGS)
        inferences = list(world.devnet.chain.inferences.values())
        tokens = sum(i.prompt_tokens for i in inferences), sum(i.completion_tokens for i in inferences)
        assert (ending.kind, ending.prompt_tokens, ending.completion_tokens) == (e.SETTLE, *tokens)
        assert charged(ending) == cost(*tokens).total
        assert (answer.usage["prompt_tokens"], answer.usage["completion_tokens"]) == tokens
        assert answer.usage["total_cost_usd_exact"] == f"{cost(*tokens).total / 10**12:.12f}".rstrip("0")
        assert "estimated" not in answer.usage
        assert answer.headers["x-inference-id"] == hold.inference
        assert world.posted_ngonka(e.COST_PAID) == world.billed_ngonka
        assert world.posted_ngonka(e.COST_UNPAID) == 0
        attempts = world.entries(e.ATTEMPT)
        assert [(a.part, a.try_) for a in attempts if a.completion_tokens is None] == [(1, 0), (2, 0)]
        ended = [(a.prompt_tokens, a.completion_tokens, a.upstream_reference) for a in attempts if a.completion_tokens]
        assert len(ended) == len({reference for _, _, reference in ended}) == 2


@pytest.mark.parametrize("include_usage", [None, False, True])
async def test_usage_is_told_once_and_last(include_usage: bool | None) -> None:
    """Usage rides on the finish chunk that comes last, or, where it was asked for, in a chunk of its own after it."""
    options = {} if include_usage is None else {"stream_options": {"include_usage": include_usage}}
    async with open_world() as world:
        answer = await complete(world, stream=True, n=2, **options)

        *before, last = answer.chunks
        assert answer.events[-1] == b"[DONE]"
        assert not any("usage" in chunk for chunk in before)
        assert last["usage"]["completion_tokens"] == 30
        if include_usage:
            assert last["choices"] == []
        else:
            assert last["choices"][0]["finish_reason"] is not None


async def test_one_prompt_may_be_a_string() -> None:
    """A prompt that is a string is one part, and asks the network just what chat asks."""
    async with open_world() as world:
        first = await complete(world, prompt="What is a ledger?", stop=["x"], seed=3, user="u", logit_bias={"5": 1})
        await world.chat(stop=["x"], seed=3, user="u", logit_bias={"5": 1})

        assert first.json()["choices"][0]["index"] == 0
        bodies = [json.loads(call.body) for host in world.hosts for call in host.calls]
        assert bodies[0] == bodies[1]
        assert len(world.entries(e.ATTEMPT)) == 0


async def test_max_tokens_has_the_default_of_chat() -> None:
    """A caller who names no limit gets the model's, as in chat (not OpenAI's 16), and is told."""
    async with open_world() as world:
        answer = await complete(world, prompt="Say 30 words.", max_tokens=...)

        assert answer.headers["x-tallygate-changes"] == "max_tokens=4096, temperature=0.7"
        assert answer.usage["completion_tokens"] > 16


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"suffix": "x"}, "unsupported_parameter", "suffix"),
    ({"echo": True}, "unsupported_parameter", "echo"),
    ({"echo": False}, "unsupported_parameter", "echo"),
    ({"logprobs": 0}, "unsupported_parameter", "logprobs"),
    ({"best_of": 2}, "unsupported_parameter", "best_of"),
    ({"prompt": [1, 2, 3]}, "invalid_value", "prompt"),
    ({"prompt": [[1, 2], [3]]}, "invalid_value", "prompt"),
    ({"prompt": ...}, "invalid_value", "prompt"),
    ({"prompt": None}, "invalid_value", "prompt"),
    ({"prompt": []}, "invalid_value", "prompt"),
    ({"prompt": 5}, "invalid_value", "prompt"),
    ({"prompt": True}, "invalid_value", "prompt"),
    ({"prompt": ["x", True]}, "invalid_value", "prompt[1]"),
    ({"prompt": ["x", None]}, "invalid_value", "prompt[1]"),
    ({"prompt": ["x", {"type": "text"}]}, "invalid_value", "prompt[1]"),
    ({"prompt": ["x"] * 33}, "invalid_value", "prompt"),
    ({"prompt": ["x"] * 17, "n": 2}, "invalid_value", "prompt"),
    ({"n": 6}, "invalid_value", "n"),
    ({"max_tokens": 0}, "invalid_value", "max_tokens"),
    ({"stream": 1}, "invalid_value", "stream"),
    ({"stream_options": {"include_usage": True}}, "invalid_value", "stream_options"),
    ({"model": ...}, "invalid_value", "model"),
    ({"messages": []}, "unknown_parameter", "messages"),
    ({"tools": []}, "unknown_parameter", "tools"),
    ({"max_completion_tokens": 3}, "unknown_parameter", "max_completion_tokens"),
    ({"min_tokens": 3}, "unknown_parameter", "min_tokens"),
    ({"Prompt": "x"}, "unknown_parameter", "Prompt"),
    ({"use_beam_search": True}, "unknown_parameter", "use_beam_search"),
]


async def test_what_cannot_be_asked_is_refused_by_its_name() -> None:
    """Each refusal names the field, and nothing is held or sent for it."""
    async with open_world() as world:
        for fields, code, param in REFUSED:
            answer = await complete(world, **fields)
            error = answer.json()["error"]
            assert (answer.status, error["code"], error["param"]) == (400, code, param), (fields, error)
        assert not world.entries(e.HOLD)
        assert not world.upstream_calls


async def test_what_is_null_is_not_asked() -> None:
    """Null counts as absent, also of what is not offered."""
    async with open_world() as world:
        nothing = dict.fromkeys(("suffix", "echo", "logprobs", "best_of", "n", "stop", "stream"))
        assert (await complete(world, **nothing)).status == 200


async def test_a_key_makes_a_completion_one_call() -> None:
    """The same completion with the same key is answered again, byte for byte; another one is refused; chat is apart."""
    async with open_world() as world:
        first = await complete(world, key="k", n=2)
        again = await complete(world, key="k", n=2, best_of=None)
        other = await complete(world, key="k", n=2, prompt=[*PROMPTS[:2], "Another?"])
        apart = await (await world.send(key="k")).answer()

        assert again.body == first.body
        assert again.headers["x-tallygate-replayed"] == "true"
        assert (other.status, other.code) == (422, "idempotency_key_reused")
        assert apart.status == 200
        assert len(world.entries(e.HOLD)) == 2


async def test_money_is_set_aside_for_all_parts() -> None:
    """What is held pays for every prompt, choice and token; who cannot pay for all of them gets none."""
    async with open_world() as world:
        await complete(world, n=2)
        await complete(world, prompt=PROMPTS[0], n=2)
        whole, single = world.entries(e.HOLD)
        assert whole.completion_tokens == 3 * (single.completion_tokens or 0) == 30
        needed = -next(amount for _, name, amount in whole.postings if name.endswith("/available"))

    async with open_world(picousd=needed) as world:
        assert (await complete(world, n=2)).status == 200
    async with open_world(picousd=needed - 1) as world:
        answer = await complete(world, n=2)
        assert (answer.status, answer.code) == (402, "insufficient_balance")
        assert not world.upstream_calls


async def test_a_short_balance_shrinks_all_parts_alike() -> None:
    """Where shrinking is on, every choice of every prompt gets the same smaller bound, and is held for it."""
    async with open_world(short_balance="shrink", picousd=5_000_000) as world:
        answer = await complete(world, max_tokens=..., n=2)

        assert answer.status == 200
        (hold,) = world.entries(e.HOLD)
        bounds = {json.loads(call.body)["max_tokens"] for host in world.hosts for call in host.calls}
        assert len(bounds) == 1
        assert hold.completion_tokens == 6 * bounds.pop() < 6 * 4096


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 0, "completion_tokens": 10**7, "total_tokens": 1}])
async def test_one_part_without_a_usable_report_is_counted(usage: dict[str, int] | None) -> None:
    """A part whose usage is missing or impossible is counted by us; the whole is then marked as estimated."""
    async with open_world() as world:
        world.order("wrong_usage", host=0, usage=usage)
        answer = await complete(world)

        assert answer.usage["estimated"] is True
        assert answer.usage["completion_tokens"] == 15
        assert world.ending().flags & e.Flag.ESTIMATED
        assert [bool(a.flags) for a in world.entries(e.ATTEMPT) if a.completion_tokens is not None] == [True, False]


async def test_an_overrun_is_shared_by_all_bills() -> None:
    """Where the parts report more than was held, the hold is charged, and of each bill the same share is unpaid."""
    async with open_world("openai") as world:
        world.order("wrong_usage", times=3, usage={"prompt_tokens": 90_000, "completion_tokens": 5, "total_tokens": 1})
        answer = await complete(world)

        assert answer.usage["overrun"] is True
        ending = world.ending()
        assert ending.overrun_ngonka == world.posted_ngonka(e.COST_UNPAID) > 0
        assert world.posted_ngonka(e.COST_PAID) > 0
