"""A whole gateway on a network whose prices, rate and balances are told by somebody who lies."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tallygate.core.ledger import entry as e
from tallygate.core.pricing import Sheet
from tests.gateway.processes import Installation, installed, served, until_logged
from tests.network.feeds.web import Web
from tests.network.scripted_server import answer
from tests.relay.world import MODEL, WALLET_NGONKA

if TYPE_CHECKING:
    from pathlib import Path

LIES = ("0", "NaN", "1e308", "-0.62", "null", "9999")
FEEDS = """
[prices]
source = "network"
interval_s = 0.05
markup_ppm = 50000

[gnk]
url = "{url}/rate"
pointer = "/usd"
usd_min = "0.1"
usd_max = "5"
interval_s = 0.05

[wallets]
escrow_low_ngonka = 1000

[[upstreams]]
name = "fed"
kind = "openai"
program = "devshardctl"
base_url = "{url}/v1"
priority = 9
"""


def configure(installation: Installation, web: Web) -> None:
    """Let the one model be priced by an upstream that only tells, beside those that serve."""
    text = installation.config.read_text()
    text = re.sub(r'(in|out)put_usd_per_1m = ".*"\n', "", text)
    text = text.replace('models = "*"\n', 'models = "*"\ntells_prices = false\n')
    feeds, models = FEEDS.format(url=web.url), text.index("[models.")
    installation.config.write_text(text[:models] + feeds + text[models:])


def tell(web: Web, *, usd: str = "0.62", token_price: Any = 1, balance: int = 10**9) -> None:
    """Let the upstream and the source say these things."""
    session = {"escrow_id": "42", "balance": balance, "config": {"token_price": token_price, "fee_per_nonce": 1000}}
    web.pages = {
        "/rate": answer(f'{{"usd":{usd}}}'.encode()),
        "/v1/models": {"data": [{"id": MODEL, "pricing": {"prompt": "0", "completion": "0"}}]},
        "/v1/status": session,
    }


def sheets(installation: Installation) -> list[Sheet]:
    """Return all versions of the price sheet that the books have."""
    return [Sheet.decode(entry.reason or "") for entry in installation.entries(e.SHEET)]


async def test_a_call_at_the_networks_price(tmp_path: Path) -> None:
    """A model without a price is served at ngonka x rate x markup, as the books prove; lies change nothing."""
    async with Web().open() as web, installed(tmp_path) as installation:
        tell(web)
        configure(installation, web)
        async with served(installation) as gateway:
            await until_logged(gateway, b'"moved"')
            usage = (await gateway.chat()).json()["usage"]
            price = (await gateway.admin("GET", "prices"))["models"][MODEL]
            assert (price["input_usd_per_1m"], price["usd_per_call"]) == ("0.000651", "0.000000651")
            assert price["quote"]["amounts"] == {"input": "1", "output": "1", "call": "1000"}
            base = usage["total_tokens"] * 651 + 651_000
            assert usage["base_cost_usd_exact"] == f"{base / 10**12:.12f}".rstrip("0")

            for lie in LIES:
                web.pages["/rate"] = answer(f'{{"usd":{lie}}}'.encode())
            await until_logged(gateway, b"rate_refused")
            for told in (0, -1, 1e308, "NaN", None, 10**7):
                tell(web, usd="0.62", token_price=told)
                seen = len(web.asked)
                while len(web.asked) < seen + 6:
                    assert (await gateway.chat()).json()["usage"]["base_cost_usd_exact"] == usage["base_cost_usd_exact"]
            (alarm,) = [one for one in (await gateway.admin("GET", "alarms"))["data"] if one["kind"] == "price_refused"]
            assert (alarm["subject"], alarm["detail"]) == (f"{MODEL} at fed", "its price is outside of the bounds")
            assert "prices set" in alarm["remedy"]
            assert await gateway.end(signal.SIGTERM) == 0
        assert [sheet.prices.get(MODEL) is not None for sheet in sheets(installation)] == [False, True]
        assert installation.audit().clean


async def test_after_a_restart_the_last_good_price_counts(tmp_path: Path) -> None:
    """A gateway that starts while the network tells nothing, or lies, serves at the price that the books have."""
    async with Web().open() as web, installed(tmp_path) as installation:
        tell(web)
        configure(installation, web)
        async with served(installation) as gateway:
            await until_logged(gateway, b'"moved"')
            assert await gateway.end(signal.SIGKILL) == -signal.SIGKILL
        web.pages = {"/rate": answer(b'{"usd":1.24}'), "/v1/models": None}
        async with served(installation) as gateway:
            await until_logged(gateway, b"prices_stale")
            await until_logged(gateway, b"rate_refused")
            assert (await gateway.chat()).status == 200
            details = [one["detail"] for one in (await gateway.admin("GET", "alarms"))["data"]]
            assert "moves further at a time than it may" in details
        assert installation.audit().clean


async def test_an_operators_price_is_the_operators_until_given_back(tmp_path: Path) -> None:
    """`prices set` takes a model from the network; `--network` gives it back, at once without a change."""
    async with Web().open() as web, installed(tmp_path) as installation:
        tell(web)
        configure(installation, web)
        async with served(installation) as gateway:
            await until_logged(gateway, b'"moved"')
            own = {"model": MODEL, "input": "0.0007", "output": "0.0007", "call": "0.0000007"}
            await gateway.admin("POST", "prices", own)
            seen = len(web.asked)
            while len(web.asked) < seen + 9:
                assert (await gateway.admin("GET", "prices"))["models"][MODEL]["input_usd_per_1m"] == "0.0007"
            back = await gateway.admin("POST", "prices", {"model": MODEL, "network": True})
            assert back["models"][MODEL]["quote"]["upstream"] in {"operator", "fed"}
            while (await gateway.admin("GET", "prices"))["models"][MODEL]["input_usd_per_1m"] != "0.000651":
                assert gateway.process.returncode is None
        assert installation.audit().clean


async def test_a_low_escrow_and_a_key_that_is_refused(tmp_path: Path) -> None:
    """A low escrow, and an upstream that refuses our key, are alarms with a remedy, and lines of the log."""
    async with Web().open() as web, installed(tmp_path) as installation:
        tell(web, balance=999)
        configure(installation, web)
        async with served(installation) as gateway:
            await until_logged(gateway, b"wallet_low")
            await until_logged(gateway, b'"moved"')
            (escrow,) = [one for one in (await gateway.admin("GET", "wallets"))["data"] if one["upstream"] == "fed"]
            assert (escrow["wallet"], escrow["escrowed_ngonka"], escrow["spendable_ngonka"]) == (
                "escrow 42",
                "999",
                None,
            )
            installation.order("401")
            await gateway.chat()
            alarms = {one["kind"]: one for one in (await gateway.admin("GET", "alarms"))["data"]}
            assert "Check its key" in alarms["upstream_misconfigured"]["remedy"]
            lines = [json.loads(line) for line in gateway.log.splitlines()]
            raised = {line["kind"] for line in lines if line["event"] == "alarm.raised" and line["level"] == "error"}
            assert {"wallet_low", "upstream_misconfigured"} <= raised


async def test_the_simulated_networks_own_word(tmp_path: Path) -> None:
    """A devnet's nodes tell the chain's price and the wallet's balance, and `check --online` finds all of it well."""
    async with installed(tmp_path) as installation:
        text = re.sub(r'(in|out)put_usd_per_1m = ".*"\n', "", installation.config.read_text())
        text = text.replace('models = "*"\nbase_url', 'models = "*"\ntells_prices = false\nbase_url')
        feeds = '[prices]\nsource = "network"\n\n[gnk]\nusd = "0.62"\n\n'
        installation.config.write_text(text.replace("[models.", f"{feeds}[models.", 1))
        async with served(installation) as gateway:
            await until_logged(gateway, b'"moved"')
            quote = (await gateway.admin("GET", "prices"))["models"][MODEL]["quote"]
            assert (quote["upstream"], quote["unit"], quote["gnk_picousd"]) == ("signed", "ngonka", 620_000_000_000)
            usage = (await gateway.chat()).json()["usage"]
            price = 620 * installation.devnet.chain.price_ngonka
            assert usage["base_cost_usd"] * 10**12 == pytest.approx(usage["total_tokens"] * price)
            (wallet,) = (await gateway.admin("GET", "wallets"))["data"]
            assert (wallet["upstream"], wallet["key_published"]) == ("signed", True)
            assert 0 < int(wallet["spendable_ngonka"]) <= WALLET_NGONKA
            assert (await gateway.admin("GET", "alarms"))["data"] == []
        code, found, _ = await installation.outcome("check", "--online")
        assert (code, [trial["ok"] for trial in found["online"]]) == (0, [True] * len(found["online"]))
        assert len(found["online"]) == len(installation.devnet.nodes) + 2
