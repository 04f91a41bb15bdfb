"""How an answer is counted whose upstream does not tell, or lies: what is charged, and what the books say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tallygate.core.ledger.entry import Flag
from tests.relay.world import charged, cost, open_world
from tests.test_tokenizerfile import write_narrow_tokenizer, write_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

STREAMED = pytest.mark.parametrize("stream", [False, True])


@STREAMED
@pytest.mark.parametrize(("kind", "basis"), [("gonka", "node"), ("openai", "3.000 bytes per token")])
async def test_the_books_say_how_an_answer_was_counted(kind: str, basis: str, stream: bool) -> None:
    """A node's own tokens, or else the bytes per token that were in force, stand in the ending."""
    async with open_world(kind) as world:
        world.order("wrong_usage", usage={"prompt_tokens": -1, "completion_tokens": 1})
        answer = await world.chat(stream=stream)

        assert answer.usage["estimated"] is True
        assert world.ending().reason == basis
        assert world.ending().flags == Flag.ESTIMATED | Flag.USAGE_IMPLAUSIBLE


@STREAMED
async def test_a_configured_tokenizer_counts(tmp_path: Path, stream: bool) -> None:
    """With the model's tokenizer, what the upstream keeps to itself is counted by it, streamed or not."""
    path = tmp_path / "tokenizer.json"
    write_tokenizer(path)
    async with open_world("openai", tokenizer_file=path) as world:
        world.order("wrong_usage", usage=None)
        answer = await world.chat(stream=stream)
        text = answer.text if stream else answer.json()["choices"][0]["message"]["content"]

        prompt = len(b"What is a ledger?") + 5  # its bytes are its tokens; and what a template puts around a message
        assert world.ending().reason == "tokenizer"
        assert charged(world.ending()) == cost(prompt, len(text.encode())).total


@STREAMED
async def test_a_tokenizer_that_fails_costs_no_ending(tmp_path: Path, stream: bool) -> None:
    """What the tokenizer does not take is counted by its bytes; the call is charged and answered all the same."""
    path = tmp_path / "tokenizer.json"
    write_narrow_tokenizer(path)
    async with open_world("openai", tokenizer_file=path) as world:
        world.order("wrong_usage", usage=None)
        answer = await world.chat(stream=stream)

        assert (answer.status, answer.complete) == (200, True)
        assert world.ending().reason == "3.000 bytes per token"
        assert world.ending().flags == Flag.ESTIMATED | Flag.USAGE_MISSING
        assert charged(world.ending()) > 0


async def test_the_ratio_is_learned_from_those_who_tell() -> None:
    """Answers with believable reports teach how many bytes a token has, and later estimates use it."""
    async with open_world("openai") as world:
        for _ in range(3):
            await world.chat(max_tokens=500, messages=[{"role": "user", "content": "400 words, please."}])
        world.order("wrong_usage", usage=None)
        await world.chat()

        ratio = world.ending().reason or ""
        assert ratio.endswith(" bytes per token")
        assert ratio != "3.000 bytes per token"
