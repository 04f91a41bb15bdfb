"""The pages for people: good HTML that brings nothing from elsewhere, drawn from tables, everything escaped."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import html5lib
import pytest

from tallygate.api.openapi import CALLERS, describe_routes
from tallygate.api.pages import Pages
from tallygate.api.pages.frame import PAGES
from tallygate.api.pages.markup import prose, sample, table, tag
from tallygate.api.pages.recordings import RECORDED, read_recording
from tallygate.api.problems import PROBLEMS
from tallygate.core.catalog import Catalog
from tallygate.core.openai import PARAMETERS
from tests.api.shop import CARDS, open_shop
from tests.relay.world import MODEL, open_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tallygate.core.bounding import ModelCard
    from tests.api.shop import Shop
    from tests.relay.world import World

ELSEWHERE = re.compile(r"""(?:src|srcset|action|data|poster)\s*=|url\(|@import|<(?:script|img|iframe|object|form)""")
RECORD = "TALLYGATE_RECORD"
RECORDED_AT = Path(__file__).parents[2] / "src" / "tallygate" / "api" / "pages" / "recorded"


class Reader:
    """Somebody with a browser, and the shop whose pages they read."""

    def __init__(self, shop: Shop, pages: Pages) -> None:
        self.shop = shop
        self.pages = pages

    async def read(self, path: str) -> tuple[dict[str, str], str]:
        """Return the headers and the text of a page."""
        (route,) = [route for route in self.pages.routes() if route.path == path]
        response = await route.handler(None, None)  # type: ignore[arg-type]  # no page looks at its request
        assert response is not None
        assert response.status == 200
        return {name.decode(): value.decode() for name, value in response.headers}, response.body.decode()


@asynccontextmanager
async def reading(*, public_models: bool = True, cards: tuple[ModelCard, ...] = CARDS) -> AsyncIterator[Reader]:
    """Lend a reader of the pages of a shop."""
    async with open_shop() as shop, open_world() as world:
        routes = world.gateway.public_edge._router.routes
        pages = Pages(
            ledger=shop.ledger,
            catalog=Catalog(cards, lambda _: True),
            upstreams=shop,  # type: ignore[arg-type]  # of which only `works` is asked
            public_models=public_models,
            describe=lambda: describe_routes(routes, CALLERS, world.gateway.public_edge._problems),
        )
        yield Reader(shop, pages)


@pytest.mark.parametrize("path", PAGES)
async def test_pages_are_html_that_needs_nothing_else(path: str) -> None:
    """Each page is HTML without a fault, with one heading, a language and a title, and loads nothing."""
    async with reading() as reader:
        headers, page = await reader.read(path)
        document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)

        assert document.get("lang") == "en"
        assert [heading.text for heading in document.iter("h1")] == [PAGES[path]]
        assert PAGES[path] in (document.find("head/title").text or "")
        assert ELSEWHERE.search(page) is None
        ids = [element.get("id") for element in document.iter() if element.get("id")]
        assert len(ids) == len(set(ids))
        targets = [link.get("href") for link in document.iter("a")]
        inside = {f"#{name}" for name in ids} | set(PAGES) | {"/openapi.json"}
        assert [target for target in targets if target not in inside] == []
        assert headers["content-type"] == "text/html; charset=utf-8"


async def test_a_browser_takes_only_the_style_that_stands_in_the_page() -> None:
    """The policy allows nothing but the very style that the page has, by its hash."""
    async with reading() as reader:
        headers, page = await reader.read("/docs")
        (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
        digest = b64encode(sha256(style.encode()).digest()).decode()

        assert headers["content-security-policy"] == (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        assert " style=" not in page


async def test_the_reference_has_all_routes_parameters_and_errors() -> None:
    """Every public route, every parameter of a call, every error code and every recording stands in the reference."""
    async with reading() as reader:
        _, page = await reader.read("/docs/reference")

        assert len(reader.pages._describe()["paths"]) > 15
        for path in reader.pages._describe()["paths"]:
            assert f" {path}</code>" in page, path
        wanted = [*PARAMETERS, *(code.value for code in PROBLEMS)]
        assert [name for name in wanted if f"<code>{name}</code>" not in page] == []
        assert [name for name in RECORDED if f'id="{name}"' not in page] == []
        assert "total_cost_usd_exact&quot;:&quot;" in page


async def test_prices_are_those_of_the_sheet() -> None:
    """The page of prices has each model's price to the last digit, fee included, and calls a free one free."""
    async with reading() as reader:
        _, page = await reader.read("/docs/pricing")
        rows = re.findall(r"<tr><td>(.*?)</td></tr>", page)

        assert [re.sub("<[^>]+>", " ", row).split() for row in rows] == [
            ["House/Model", "0.0003883", "0.0015521", "0.0000011000033"],
            ["house/small", "free", "free", "free"],
        ]


async def test_models_tell_what_they_can_and_whether_they_are_there() -> None:
    """The page of models has names, limits and features; one whose places are all out is degraded."""
    async with reading() as reader:
        reader.shop.out.add("House/Model")
        _, page = await reader.read("/docs/models")
        rows = [re.sub("<[^>]+>", "|", row).split("|") for row in re.findall(r"<tr><td>(.*?)</td></tr>", page)]

        assert [[cell for cell in row if cell] for row in rows] == [
            ["House/Model", "model", "8192", "4096", "tools", "degraded"],
            ["house/small", "not known", "64", "tools, json_mode, structured_outputs", "available"],
        ]


async def test_a_list_for_holders_of_a_key_is_not_shown_to_everybody() -> None:
    """Where the list of models needs a key, the page names none."""
    async with reading(public_models=False) as reader:
        _, page = await reader.read("/docs/models")

        assert "GET /v1/models" in page
        assert "house/small" not in page


async def test_what_an_operator_calls_a_model_is_never_markup() -> None:
    """A name with HTML in it is shown as it is, on the page and to the browser's parser."""
    hostile = "</code><script>alert(1)</script>\"'&"
    card = replace(CARDS[0], aliases=(hostile,))
    async with reading(cards=(card,)) as reader:
        _, page = await reader.read("/docs/models")

        assert hostile not in page
        document = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)
        assert hostile in [code.text for code in document.iter("code")]
        assert list(document.iter("script")) == []


def test_whatever_is_no_markup_is_escaped() -> None:
    """Texts and the values of attributes are escaped by every function that makes markup."""
    bad = '<b a="1">&'
    escaped = "&lt;b a=&quot;1&quot;&gt;&amp;"

    assert tag("p", bad, title=bad) == f'<p title="{escaped}">{escaped}</p>'
    assert sample(bad) == f'<pre tabindex="0"><code>{escaped}</code></pre>'
    assert prose(f"{bad} `{bad}`") == f"{escaped} <code>{escaped}</code>"
    assert table(bad, [bad], [[bad]]).count(escaped) == 4


async def record(world: World) -> dict[str, bytes]:
    """Make the calls that are recorded; ids and times, which never come again, are the same in each."""
    question = {"messages": [{"role": "user", "content": "What is a ledger?"}], "max_tokens": 6}
    bodies = {
        "answer": await world.chat(**question),
        "stream": await world.chat(**question, stream=True),
        "stream_include_usage": await world.chat(**question, stream=True, stream_options={"include_usage": True}),
    }
    world.order("cut", times=1, after_frames=3)
    bodies["stream_interrupted"] = await world.chat(**question, stream=True)
    caller = await world.connect()
    prompts = {"model": MODEL, "prompt": "What is a ledger?", "max_tokens": 6, "stream": True}
    await caller.request("POST", "/v1/completions", world.headers(), encode(prompts))
    bodies["completion_stream"] = await caller.answer()
    return {name: steady(answer.body) for name, answer in bodies.items()}


def encode(fields: dict[str, Any]) -> bytes:
    """Return a body."""
    return json.dumps(fields).encode()


def steady(body: bytes) -> bytes:
    """Return an answer with one id and one time for all."""
    body = re.sub(rb"chatcmpl-[0-9a-f]+", b"chatcmpl-01980d2c8e5a7b31c4f60a9d27e853b4", body)
    return re.sub(rb'"created":\d+', b'"created":1770563000', body)


async def test_recordings_are_what_a_gateway_answers() -> None:
    """The recorded answers are, byte for byte, what the same calls are answered now."""
    async with open_world() as world:
        bodies = await record(world)
    if os.environ.get(RECORD):
        for name, body in bodies.items():
            (RECORDED_AT / f"{name}.txt").write_bytes(body)

    assert bodies.keys() == RECORDED.keys()
    assert {name: read_recording(name).encode() for name in RECORDED} == bodies
