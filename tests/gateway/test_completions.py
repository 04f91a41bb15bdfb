"""Legacy completions of a whole gateway: the official client, receipts, statements, reconciling, kills and dumps."""

from __future__ import annotations

import json
import shutil
import signal
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tallygate.core.ledger import entry as e
from tests.gateway.processes import Gateway, installed, served
from tests.gateway.test_openai_client import client_of
from tests.gateway.test_proving import get
from tests.relay.caller import Caller
from tests.relay.world import MODEL, charged

if TYPE_CHECKING:
    from pathlib import Path

PROMPTS = ["What is a ledger?", "Why two books?", "Who signs?"]


async def send(gateway: Gateway, **fields: Any) -> Caller:
    """Ask for a completion on a raw connection."""
    caller = await Caller.open(gateway.port)
    gateway._callers.append(caller)
    headers = {"authorization": f"Bearer {gateway.installation.secret}", "content-type": "application/json"}
    body = json.dumps({"model": MODEL, "prompt": PROMPTS, "max_tokens": 5, **fields}).encode()
    await caller.request("POST", "/v1/completions", headers, body)
    return caller


async def test_the_official_client_completes(tmp_path: Path) -> None:
    """Unstreamed and streamed, one prompt and several, with `n`: the same texts, the same cost, usage seen once."""
    async with client_of(tmp_path) as (_, _, client):
        for prompt, n in (("What is a ledger?", 1), (PROMPTS, 1), (PROMPTS, 2)):
            fields: Any = {"model": MODEL.lower(), "prompt": prompt, "n": n, "max_tokens": 12, "temperature": 0}
            whole = await client.completions.create(**fields)
            texts = {choice.index: choice.text for choice in whole.choices}
            assert list(texts) == list(range((1 if isinstance(prompt, str) else len(prompt)) * n))
            assert all(texts.values())
            assert {choice.finish_reason for choice in whole.choices} == {"length"}
            assert whole.object == "text_completion"
            options: Any
            for options in ({}, {"stream_options": {"include_usage": True}}):
                stream: Any = await client.completions.create(**fields, **options, stream=True)
                chunks = [chunk async for chunk in stream]
                streamed = dict.fromkeys(texts, "")
                for chunk in chunks:
                    for choice in chunk.choices:
                        streamed[choice.index] += choice.text
                assert streamed == texts
                assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage]


async def test_the_official_client_is_told_what_is_not_offered(tmp_path: Path) -> None:
    """What cannot be served through chat is a BadRequestError that names the parameter."""
    async with client_of(tmp_path) as (_, _, client):
        create: Any = client.completions.create
        for fields, param in (
            ({"suffix": "x"}, "suffix"),
            ({"echo": True}, "echo"),
            ({"logprobs": 1}, "logprobs"),
            ({"best_of": 2}, "best_of"),
            ({"prompt": [1, 2]}, "prompt"),
        ):
            with pytest.raises(openai.BadRequestError) as refused:
                await create(**{"model": MODEL, "prompt": "x", **fields})
            assert refused.value.param == param


async def test_several_prompts_have_one_receipt(tmp_path: Path) -> None:
    """The receipt of a call of three prompts verifies offline and says so; the statement has one charge."""
    async with installed(tmp_path) as installation, served(installation) as gateway:
        usage = (await (await send(gateway)).answer()).json()["usage"]
        (hold,) = installation.entries(e.HOLD)
        receipt = await get(gateway, f"/v1/usage/{hold.inference}", installation.secret)
        assert receipt.status == 200, receipt
        key = json.loads((await get(gateway, "/v1/checkpoints/latest", None)).body)["public_key"]
        (tmp_path / "receipt.json").write_bytes(receipt.body)
        code, verdict, _ = await installation.outcome(
            "receipt", "verify", str(tmp_path / "receipt.json"), "--public-key", key
        )
        assert code == 0, verdict
        assert "it was sent 3 times, as 3 prompts" in json.dumps(verdict)

        month = datetime.now(UTC).strftime("%Y-%m")
        code, statement, _ = await installation.outcome("statement", installation.account, month)
        assert code == 0
        assert usage["total_cost_usd_exact"] in json.dumps(statement)


async def test_several_prompts_reconcile(tmp_path: Path) -> None:
    """Each prompt is an attempt of its own, whose bill is what the network has on record for it."""
    async with installed(tmp_path) as installation, served(installation) as gateway:
        assert (await (await send(gateway)).answer()).status == 200
        code, found, _ = await installation.outcome("reconcile")

        assert code == 0, found
        assert found["total"]["attempts"] == found["total"]["compared"] == 3
        assert found["total"]["drifting"] == 0


@pytest.mark.parametrize("frames", [0, 3])
async def test_a_kill_amid_several_prompts_ends_all_at_once(tmp_path: Path, frames: int) -> None:
    """After kill -9 the next start ends each call of three prompts once, gives back all, and the books are clean."""
    async with installed(tmp_path) as installation:
        async with served(installation) as gateway:
            told = (await (await send(gateway)).answer()).json()["usage"]
            installation.order("stall_stream" if frames else "stall_headers", after_frames=2, times=None)
            callers = [await send(gateway, stream=True) for _ in range(3)]
            if frames:
                for caller in callers:
                    await caller.head()
                    await caller.frames(frames)
            assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
        installation.clear_faults()
        assert installation.audit().clean

        async with served(installation) as gateway:
            open_at_kill = len(installation.entries(e.HOLD)) - 1
            expired = installation.entries(e.EXPIRE)
            assert len(expired) == open_at_kill
            assert sum(map(charged, expired)) == 0
            account = await gateway.admin("GET", f"accounts/{installation.account}")
            assert account["held_usd"] == "0"
            assert Decimal(account["available_usd"]) == 5 - Decimal(told["total_cost_usd_exact"])
            assert (await gateway.admin("POST", "verify"))["clean"]


async def test_several_prompts_go_on_elsewhere(tmp_path: Path) -> None:
    """A dump that holds calls of several prompts, one of them open, loads into books that verify and go on."""
    old_folder, new_folder = tmp_path / "old", tmp_path / "new"
    old_folder.mkdir()
    new_folder.mkdir()
    async with installed(old_folder) as old, installed(new_folder) as new:
        async with served(old) as gateway:
            assert (await (await send(gateway)).answer()).status == 200
            old.order("stall_stream", after_frames=2, times=None)
            caller = await send(gateway, stream=True)
            await caller.head()
            await caller.frames(2)
            code, _, _ = await old.outcome("dump", str(tmp_path / "copy"))
            assert code == 0
        old.clear_faults()
        new.store.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(old.store.with_suffix(".pepper"), new.store.with_suffix(".pepper"))
        code, _, _ = await new.outcome("load", str(tmp_path / "copy"))
        assert code == 0
        new.account, new.secret = old.account, old.secret
        async with served(new) as gateway:
            assert len(new.entries(e.EXPIRE)) == 1
            assert (await gateway.admin("POST", "verify"))["clean"]
            assert (await (await send(gateway)).answer()).status == 200
