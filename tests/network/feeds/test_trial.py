"""Trying a way to the network: what is found, and what to do about it, without anything being spent."""

from __future__ import annotations

from typing import Any

import pytest

from tallygate.config import BearerAccess, GonkaAccess
from tallygate.core.wallets import Wallet
from tallygate.network.feeds.trial import describe_wallet, try_bearer, try_node
from tests.network.feeds.test_prices import MODEL, WALLET, upstream
from tests.network.feeds.web import Web
from tests.network.scripted_server import answer, client

LIST = {"object": "list", "data": [{"id": MODEL}, {"id": "b"}]}


@pytest.mark.parametrize(
    ("page", "ok", "words"),
    [
        (LIST, True, f"lists 2 models: {MODEL}, b"),
        ({"data": []}, False, f"does not list {MODEL}; it lists no models"),
        ({"hello": "world"}, False, "is base_url right?"),
        (
            answer(b"", status=b"401 Unauthorized"),
            False,
            "does not accept our credentials: (words withheld). Check its key",
        ),
        (answer(b'{"new_url":"http://x/"}', status=b"308 Permanent Redirect"), False, "It has moved"),
        (answer(b"", status=b"402 Payment Required"), False, "Top up"),
        (None, False, "gives no answer"),
    ],
)
async def test_a_bearer_upstream(page: Any, ok: bool, words: str) -> None:
    """A Bearer upstream is well when it lists, under our key, every model that it is to serve; else it is said why."""
    async with Web().open() as web, client() as http:
        web.pages["/v1/models"] = page
        settings = upstream(web, kind="openai", models={"ours": MODEL.lower()} if ok else {"ours": MODEL})
        assert isinstance(settings.access, BearerAccess)
        trial = await try_bearer(settings, settings.access, http)
    assert (trial.ok, words in trial.detail) == (ok, True)
    assert web.asked == [("/v1/models", "Bearer zebra")]


@pytest.mark.parametrize(
    ("page", "ok", "words"),
    [
        ({"data": {"address": WALLET.address, "block": 7}}, True, "answers as"),
        ({"data": {"address": "gonka1other"}}, False, "another address"),
        (answer(b"<html>"), False, "another address"),
        (answer(b"{}", status=b"404 Not Found"), True, "before 0.2.6"),
        (answer(b'{"error":"deprecated"}', status=b"410 Gone"), False, "devshard"),
        (None, False, "gives no answer"),
    ],
)
async def test_a_node(page: Any, ok: bool, words: str) -> None:
    """A node is well when it is who the configuration says, for that is part of every signature."""
    async with Web().open() as web, client() as http:
        web.pages["/v1/identity"] = page
        settings = upstream(web)
        assert isinstance(settings.access, GonkaAccess)
        trial = await try_node(settings, settings.access.nodes[0], http)
    assert (trial.ok, words in trial.detail) == (ok, True)


def test_a_wallet() -> None:
    """A wallet is well when it is not low and its key is published; where nobody tells, it is not called ill."""
    assert describe_wallet(Wallet("u", "w", 10, None, True), 10).ok
    assert not describe_wallet(Wallet("u", "w", 9, None, True), 10).ok
    assert not describe_wallet(Wallet("u", "w", 10, None, False), 10).ok
    assert describe_wallet(Wallet("u", "w"), 10).detail == "nobody tells its balance"
