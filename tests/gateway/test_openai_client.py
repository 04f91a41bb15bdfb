"""The official `openai` client, with nothing changed but its base URL and its key."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.gateway.processes import Gateway, Installation, installed, served
from tests.relay.world import MODEL, until

QUESTION: Any = [{"role": "user", "content": "What is a ledger?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}


class Served(NamedTuple):
    """An installation, its gateway, and a client of it."""

    installation: Installation
    gateway: Gateway
    client: AsyncOpenAI

    @property
    def upstream_calls(self) -> int:
        """How many inferences have begun at the network."""
        return len(self.installation.devnet.chain.inferences)


@asynccontextmanager
async def client_of(folder: Path, *, max_retries: int = 0, usd: str = "5") -> AsyncIterator[Served]:
    """Lend the official client of a running gateway."""
    async with installed(folder) as installation, served(installation, usd=usd) as gateway:
        key = installation.secret
        async with AsyncOpenAI(base_url=gateway.base_url, api_key=key, max_retries=max_retries) as client:
            yield Served(installation, gateway, client)


async def test_it_chats(tmp_path: Path) -> None:
    """Unstreamed, streamed with and without `include_usage`: the same words, the same cost, usage seen once."""
    async with client_of(tmp_path) as (_, _, client):
        whole = await client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=30)
        seen = []
        for options in ({}, {"stream_options": {"include_usage": True}}, {"stream_options": {"include_usage": False}}):
            stream: Any = await client.chat.completions.create(
                model=MODEL.lower(),
                messages=QUESTION,
                max_tokens=30,
                stream=True,
                **options,  # type: ignore[call-overload]
            )
            chunks = [chunk async for chunk in stream]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            (usage,) = [chunk.usage for chunk in chunks if chunk.usage]
            seen.append((text, usage))

        assert whole.usage is not None
        assert seen == [(whole.choices[0].message.content, whole.usage)] * 3
        cost: Any = whole.usage.model_extra
        base, fee, total = (
            Decimal(cost[f"{name}_exact"]) for name in ("base_cost_usd", "platform_fee_usd", "total_cost_usd")
        )
        assert base + fee == total > 0


def test_it_chats_without_asyncio(tmp_path: Path) -> None:
    """The synchronous client streams and waits as well."""

    def chat(base_url: str, key: str) -> tuple[str | None, str]:
        with OpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
            whole = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=30)
            stream = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=30, stream=True)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            return whole.choices[0].message.content, text

    async def run() -> tuple[str | None, str]:
        async with installed(tmp_path) as installation, served(installation) as gateway:
            return await asyncio.to_thread(chat, gateway.base_url, installation.secret)

    whole, streamed = asyncio.run(run())
    assert whole == streamed != ""


async def test_it_forces_a_tool(tmp_path: Path) -> None:
    """A forced tool call arrives as the client's own types, streamed and not."""
    async with client_of(tmp_path) as (_, _, client):
        fields: Any = {"model": MODEL, "messages": QUESTION, "tools": [TOOL], "tool_choice": "required"}
        whole = await client.chat.completions.create(**fields)
        async with client.chat.completions.stream(**fields) as stream:
            final = await stream.get_final_completion()

        (call,) = whole.choices[0].message.tool_calls or [None]
        assert call is not None
        assert final.choices[0].message.tool_calls
        (streamed,) = final.choices[0].message.tool_calls
        assert call.type == "function"
        assert (call.function.name, call.function.arguments) == (streamed.function.name, streamed.function.arguments)


async def test_it_lists_models(tmp_path: Path) -> None:
    """Models can be listed and retrieved, in any case of the id; an unknown one is not found."""
    async with client_of(tmp_path, usd="0.000001") as (_, _, client):
        models = [model.id async for model in client.models.list()]

        assert models == [MODEL]
        assert (await client.models.retrieve(MODEL.upper())).id == MODEL
        with pytest.raises(openai.NotFoundError, match="no such model"):
            await client.models.retrieve("nope")


async def test_it_raises_its_own_errors(tmp_path: Path) -> None:
    """Refusals arrive as the client's error classes, with code, param and request id."""
    async with client_of(tmp_path, usd="0.000001") as (_, gateway, client):
        create = client.chat.completions.create
        with pytest.raises(openai.BadRequestError) as bad:
            await create(model=MODEL, messages=QUESTION, max_tokens=0)
        with pytest.raises(openai.NotFoundError) as unknown:
            await create(model="nope", messages=QUESTION)
        with pytest.raises(openai.APIStatusError) as broke:
            await create(model=MODEL, messages=QUESTION)
        async with AsyncOpenAI(base_url=gateway.base_url, api_key="tg-wrong", max_retries=0) as stranger:
            with pytest.raises(openai.AuthenticationError) as wrong:
                await stranger.chat.completions.create(model=MODEL, messages=QUESTION)

        assert (bad.value.code, bad.value.param) == ("invalid_value", "max_tokens")
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
        assert (broke.value.status_code, broke.value.code) == (402, "insufficient_balance")
        assert broke.value.type == "insufficient_quota"
        body: Any = broke.value.body
        assert body["metadata"]["balance_usd"] == "0.000001"
        assert wrong.value.code == "invalid_api_key"
        for error in (bad, unknown, broke, wrong):
            assert (error.value.request_id or "").startswith("req_")


@pytest.mark.parametrize("megabytes", [1, 9, 11])
@pytest.mark.parametrize("good", [True, False])
async def test_large_bodies_are_answered(tmp_path: Path, megabytes: int, good: bool) -> None:
    """However large a body is, its sender reads the refusal and not a broken connection."""
    async with client_of(tmp_path) as (installation, gateway, _):
        key = installation.secret if good else "tg-wrong"
        async with AsyncOpenAI(base_url=gateway.base_url, api_key=key, max_retries=0) as client:
            large: Any = [{"role": "user", "content": "x" * megabytes * 2**20}]
            with pytest.raises(openai.APIStatusError) as refused:
                await client.chat.completions.create(model="nope", messages=large)

        assert refused.value.status_code == (401 if not good else 413 if megabytes > 10 else 404)


async def test_it_raises_what_goes_wrong_in_a_stream(tmp_path: Path) -> None:
    """A stream that breaks off raises the client's error after the chunks that came."""
    async with client_of(tmp_path) as (installation, _, client):
        installation.order("cut", after_frames=4)
        stream = await client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
        chunks: list[Any] = []
        with pytest.raises(openai.APIError, match="broke the answer off"):
            await _collect(stream, chunks)

        assert len(chunks) == 4


async def test_it_does_not_repeat_what_cannot_succeed(tmp_path: Path) -> None:
    """Out of money is told once: `x-should-retry: false` is honoured by a client that would retry."""
    async with client_of(tmp_path, max_retries=3, usd="0.000001") as world:
        with pytest.raises(openai.APIStatusError) as broke:
            await world.client.chat.completions.create(model=MODEL, messages=QUESTION)

        assert broke.value.status_code == 402
        assert broke.value.response.request.headers["x-stainless-retry-count"] == "0"


async def test_it_does_not_repeat_a_misconfigured_upstream(tmp_path: Path) -> None:
    """A 502 that only the operator can mend is not repeated."""
    async with client_of(tmp_path, max_retries=3) as world:
        world.installation.order("401", times=None)
        with pytest.raises(openai.InternalServerError) as failed:
            await world.client.chat.completions.create(model=MODEL, messages=QUESTION)

        assert failed.value.code == "upstream_misconfigured"
        assert failed.value.response.request.headers["x-stainless-retry-count"] == "0"


async def test_it_waits_and_repeats_when_money_is_held(tmp_path: Path) -> None:
    """A balance that calls under way hold is a RateLimitError, which the client mends by itself when they end."""
    async with client_of(tmp_path, max_retries=8, usd="0.01") as world:
        create: Any = world.client.chat.completions.with_raw_response.create
        fields: Any = {"model": MODEL, "messages": QUESTION, "max_tokens": 4096}
        world.installation.order("barrier", count=1000)
        first = asyncio.ensure_future(create(**fields))
        await until(lambda: world.installation.calls_under_way)
        with pytest.raises(openai.RateLimitError) as held:
            await world.client.with_options(max_retries=0).chat.completions.create(**fields)

        statuses: list[int] = []
        noting = openai.DefaultAsyncHttpxClient(event_hooks={"response": [note_in(statuses)]})
        async with noting, world.client.with_options(http_client=noting) as patient:
            second = asyncio.ensure_future(patient.chat.completions.with_raw_response.create(**fields))
            await until(lambda: statuses)
            world.installation.clear_faults()
            answers = [(await first).parse(), (await second).parse()]

        assert held.value.code == "balance_held"
        assert statuses == [429, 200]
        assert answers[0].choices == answers[1].choices


def note_in(statuses: list[int]) -> Any:
    """Return a hook of the client's that notes each status."""

    async def note(response: Any) -> None:
        statuses.append(response.status_code)

    return note


async def _collect(stream: Any, chunks: list[Any]) -> None:
    async for chunk in stream:
        chunks.append(chunk)  # noqa: PERF401  (what came before an error counts)
