"""A node as executor: what a transfer agent passes on is checked again, and in this role by itself."""

import hashlib
import json
from typing import Any

import pytest

from tallygate.devnet.execution import hash_prompt, modify_body
from tallygate.devnet.identity import Identity
from tests.devnet.conftest import World
from tests.devnet.signing import chat_body
from tests.devnet.wire import Answer, control

EXECUTOR, AGENT = 0, 1
SEED = 12345


def passed_on(world: World, body: bytes, **changes: str) -> dict[str, str]:
    """Gives the headers that a transfer agent adds to a developer's, for the hash scheme."""
    agent = world.devnet.nodes[AGENT].address
    timestamp = str(world.clock.time_ns)
    message = hashlib.sha256(body).hexdigest().encode() + timestamp.encode() + agent.encode()
    signature = world.developer.sign(message)
    prompt_hash = hash_prompt(modify_body(json.loads(body), SEED, return_token_ids=True))
    signed = f"{prompt_hash}{timestamp}{agent}{world.devnet.nodes[EXECUTOR].address}".encode()
    return {
        "authorization": signature,
        "x-requester-address": world.developer.address,
        "x-timestamp": timestamp,
        "x-inference-id": signature,
        "x-seed": str(SEED),
        "x-transfer-address": agent,
        "x-ta-signature": Identity.derive(world.devnet.settings.seed, f"node {AGENT}").sign(signed),
        "x-prompt-hash": prompt_hash,
    } | {name.replace("_", "-"): value for name, value in changes.items()}


async def execute(world: World, **changes: str) -> Answer:
    """Sends a request as a transfer agent does."""
    body = chat_body()
    return await world.send(passed_on(world, body, **changes), body, EXECUTOR)


async def test_what_an_agent_passes_on_is_run(world: World) -> None:
    """With both signatures right, an executor answers and the inference is on the chain."""
    answer = await execute(world)
    assert answer.status == 200, answer.body
    assert list(world.devnet.chain.inferences) == [answer.json()["id"]]


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"authorization": "x"}, 401, "Unable to validate request against PubKey:invalid signature"),
        ({"x_ta_signature": "x"}, 401, "Unable to validate request against TransferSignature:invalid signature"),
        ({"x_prompt_hash": ""}, 401, "Unable to validate request against TransferSignature:invalid signature"),
    ],
)
async def test_wrong_signatures(world: World, changes: dict[str, Any], status: int, words: str) -> None:
    """The developer's signature comes first, then the agent's, which covers the prompt's hash."""
    answer = await execute(world, **changes)
    assert (answer.status, answer.json()) == (status, {"error": words})


async def test_another_prompt(world: World) -> None:
    """A prompt whose hash is not the signed one is refused: here another seed makes another prompt."""
    answer = await execute(world, x_seed="1")
    assert (answer.status, answer.json()) == (400, {"error": "Prompt hash mismatch"})


async def test_replay_is_remembered_by_role(world: World) -> None:
    """The same signature again is refused in the executor's words; as transfer agent the node has not seen it."""
    body = chat_body()
    headers = passed_on(world, body)
    assert (await world.send(headers, body)).status == 200
    again = await world.send(headers, body)
    assert again.json() == {"error": "AuthKey has already been used for an executor request"}
    own = world.sign(body)
    assert (await world.send(own, body)).status == 200


async def test_time_in_this_role(world: World) -> None:
    """Too old is refused in older words; what seems to be of the future is not."""
    await control(world.url, "POST", "clock", {"offset_s": 61})
    assert (await execute(world)).json() == {"error": "Request timestamp is too old"}
    await control(world.url, "POST", "clock", {"offset_s": -3600})
    assert (await execute(world)).status == 200


async def test_a_quiet_window_in_this_role(world: World) -> None:
    """In a quiet window an executor has no engine to give."""
    await control(world.url, "POST", "network", {"phase": "PoCGenerate"})
    answer = await execute(world)
    assert (answer.status, answer.json()) == (503, {"error": "no inference nodes available"})


def test_what_a_node_makes_of_a_body() -> None:
    """Log probabilities, limits, a seed and usage are forced; what the caller chose within them stays."""
    made = modify_body({"model": "m", "max_tokens": 7, "stream": True, "seed": 3}, SEED, return_token_ids=True)
    assert made == {
        "model": "m",
        "max_tokens": 7,
        "max_completion_tokens": 7,
        "stream": True,
        "seed": 3,
        "logprobs": True,
        "top_logprobs": 5,
        "skip_special_tokens": False,
        "return_token_ids": True,
        "stream_options": {"include_usage": True},
    }
    assert modify_body({}, SEED, return_token_ids=False)["max_tokens"] == 5000


def test_a_prompts_hash_does_not_depend_on_the_order_of_its_members() -> None:
    """The hash is of canonical JSON: sorted keys, compact, characters as they are."""
    expected = hashlib.sha256('{"a":"ж<","b":1}'.encode()).hexdigest()
    assert hash_prompt({"b": 1, "a": "ж<"}) == hash_prompt({"a": "ж<", "b": 1}) == expected
