"""What all pages have: their head, their way to one another, and how they look; nothing comes from anywhere else.

The policy that goes with each page lets a browser load nothing at all and run nothing; of styles it takes the one that
stands in the page, by its hash.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from tallygate.api.http import Response
from tallygate.api.pages.markup import Markup, join, tag

if TYPE_CHECKING:
    from collections.abc import Mapping

QUICKSTART: Final = "/docs"
REFERENCE: Final = "/docs/reference"
PRICING: Final = "/docs/pricing"
MODELS: Final = "/docs/models"

PAGES: Final[Mapping[str, str]] = {
    QUICKSTART: "Quickstart",
    REFERENCE: "API reference",
    PRICING: "Pricing",
    MODELS: "Models",
}
"""The pages by their paths, in the order of the menu."""

STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --link: #0a58ca; }
@media (prefers-color-scheme: dark) { :root { --link: #8ab4f8; } }
* { box-sizing: border-box; }
body { font: 1rem/1.55 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; margin: 0; padding: .5rem 0; }
nav { border-bottom: 1px solid var(--line); }
nav a[aria-current] { color: inherit; font-weight: 600; text-decoration: none; }
.skip:not(:focus) { position: absolute; left: -99rem; }
h1 { font-size: 1.7rem; line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { margin-top: 2rem; overflow-wrap: anywhere; }
code, pre { font: .9em/1.45 ui-monospace, monospace; }
code { background: var(--soft); padding: .1em .25em; border-radius: .2em; overflow-wrap: anywhere; }
pre { background: var(--soft); padding: .75rem 1rem; border-radius: .3rem; overflow-x: auto; }
pre code { background: none; padding: 0; overflow-wrap: normal; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); }
td:first-child code { overflow-wrap: normal; }
"""

_DIGEST: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'".encode(),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)


def frame(path: str, *content: str) -> Response:
    """Return a page as an answer."""
    title = PAGES[path]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title} · Tallygate"),
        tag("style", Markup(STYLE)),
    )
    links = [tag("li", _link(target, words, path)) for target, words in PAGES.items()]
    links.append(tag("li", tag("a", "OpenAPI", href="/openapi.json")))
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        tag("nav", tag("ul", *links), aria_label="Pages"),
        tag("main", tag("h1", title), *content, id="content"),
    )
    page = "<!DOCTYPE html>\n" + join([tag("html", head, body, lang="en")])
    return Response(200, page.encode(), list(HEADERS))


def _link(target: str, words: str, path: str) -> Markup:
    current = {"aria_current": "page"} if target == path else {}
    return tag("a", words, href=target, **current)
