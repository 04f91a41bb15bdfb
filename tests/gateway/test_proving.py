"""What a caller can prove of a running gateway, checked offline by our command and by another program."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

from tallygate.core.money import format_usd
from tests.core.proofs.verifier import read_balance, read_receipt
from tests.gateway.processes import installed, served
from tests.relay.caller import Caller

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.processes import Gateway
    from tests.relay.caller import Answer


async def get(gateway: Gateway, path: str, secret: str | None) -> Answer:
    """Ask a route of the callers' API."""
    caller = await Caller.open(gateway.port)
    await caller.request("GET", path, {} if secret is None else {"authorization": f"Bearer {secret}"}, b"")
    answer = await caller.answer()
    await caller.close()
    return answer


async def test_a_caller_can_prove_what_a_call_cost(tmp_path: Path) -> None:
    """Right after a call its receipt is there, and proves offline what the answer said, to the last digit."""
    async with installed(tmp_path) as installation, served(installation) as gateway:
        answer = await gateway.chat()
        usage: dict[str, Any] = answer.json()["usage"]
        inference = answer.json()["id"]
        receipt = await get(gateway, f"/v1/usage/{inference}", installation.secret)
        latest = (await get(gateway, "/v1/checkpoints/latest", None)).json()
        balance = await get(gateway, "/v1/balance/proof", installation.secret)
        document, key = tmp_path / "receipt.json", tmp_path / "latest.json"
        document.write_bytes(receipt.body)
        key.write_text(json.dumps(latest))
        code, content, _ = await installation.outcome("receipt", "verify", str(document), "--public-key", str(key))
        shown = await gateway.admin("GET", f"receipts/{inference}")
        account = (await gateway.admin("GET", f"accounts/{installation.account}"))["available_usd"]

        assert (receipt.status, code, content["proved"]) == (200, 0, True)
        assert any(f"${usage['total_cost_usd_exact']} was charged" in fact for fact in content["facts"])
        public = bytes.fromhex(latest["public_key"])
        read = read_receipt(receipt.body, public)
        assert (read["prompt"], read["completion"]) == (usage["prompt_tokens"], usage["completion_tokens"])
        assert read_balance(balance.body, public)[0] == installation.account
        assert format_usd(read_balance(balance.body, public)[1]) == account
        assert shown == receipt.json()


async def test_a_receipt_is_for_its_owner(tmp_path: Path) -> None:
    """Without a key there is none, and with another account's key there is no such inference."""
    async with installed(tmp_path) as installation, served(installation) as gateway:
        inference = (await gateway.chat()).json()["id"]
        other = await gateway.admin("POST", "accounts", {"name": "other"})
        key = await gateway.admin("POST", "keys", {"account": other["id"]})

        assert (await get(gateway, f"/v1/usage/{inference}", None)).status == 401
        assert (await get(gateway, "/v1/balance/proof", None)).status == 401
        assert (await get(gateway, f"/v1/usage/{inference}", key["secret"])).status == 404
        assert (await get(gateway, f"/v1/usage/{inference}", installation.secret)).status == 200


async def test_a_suspended_customer_can_prove_what_was_paid(tmp_path: Path) -> None:
    """While an account is suspended its keys get nothing but receipts and the proof of the balance."""
    async with installed(tmp_path) as installation, served(installation) as gateway:
        inference = (await gateway.chat()).json()["id"]
        await gateway.admin("POST", f"accounts/{installation.account}/suspend", {"reason": "a dispute"})
        receipt = await get(gateway, f"/v1/usage/{inference}", installation.secret)
        balance = await get(gateway, "/v1/balance/proof", installation.secret)
        latest = (await get(gateway, "/v1/checkpoints/latest", None)).json()
        (key,) = (await gateway.admin("GET", f"keys?account={installation.account}"))["data"]

        assert (await gateway.chat()).status == 403
        assert (await get(gateway, "/v1/balance", installation.secret)).status == 403
        assert (receipt.status, balance.status) == (200, 200)
        public = bytes.fromhex(latest["public_key"])
        assert read_receipt(receipt.body, public)["prompt"] > 0
        assert read_balance(balance.body, public)[0] == installation.account
        await gateway.admin("POST", f"keys/{key['id']}/pause")
        assert (await get(gateway, f"/v1/usage/{inference}", installation.secret)).status == 401


async def test_a_clean_stop_anchors_the_last_call(tmp_path: Path) -> None:
    """After SIGTERM the last anchor knows the last batch, and the next start finds nothing amiss."""
    async with installed(tmp_path) as installation:
        async with served(installation) as gateway:
            await gateway.chat()
            assert await gateway.end(signal.SIGTERM) == 0
        async with served(installation) as gateway:
            latest = (await get(gateway, "/v1/checkpoints/latest", None)).json()
            made = await gateway.admin("POST", "checkpoints")
        report = installation.audit()

        assert latest["checkpoint"]["heads"][0]["sequence"] == report.batches
        assert made["checkpoint"]["heads"][0]["sequence"] == report.batches
        assert made["body"] != latest["body"]
