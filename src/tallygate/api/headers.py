"""The headers of our answers that mean something to a program, each with where it stands and what it says.

The reference is drawn from this table, and what a browser may read is taken from it. What may not live here: writing
any of them, which is done where their value is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Header(NamedTuple):
    """What is to be known of a header.

    Attributes:
        where: On which answers it stands.
        what: What it says.
    """

    where: str
    what: str


_LIMITED: Final = "a call that such a limit is in force for, also when it is refused"

HEADERS: Final[Mapping[str, Header]] = {
    "x-request-id": Header("every answer", "`req_…`, also in each log line"),
    "x-inference-id": Header("a call, from the hold on", "the `chatcmpl-…` id"),
    "x-tallygate-changes": Header(
        "a call whose body was changed", "`-store, content=text, max_tokens=4096, temperature=0.7` (`-`: left out)"
    ),
    "x-tallygate-replayed": Header("an answer that was given before under the same `Idempotency-Key`", "`true`"),
    "x-ratelimit-limit-requests": Header(_LIMITED, "how many requests any 60 seconds may have"),
    "x-ratelimit-remaining-requests": Header(_LIMITED, "how many are left now"),
    "x-ratelimit-reset-requests": Header(_LIMITED, "when all of them are there again: `1s`, `6m0s`"),
    "x-ratelimit-limit-tokens": Header(_LIMITED, "how many tokens any 60 seconds may have"),
    "x-ratelimit-remaining-tokens": Header(_LIMITED, "how many are left now"),
    "x-ratelimit-reset-tokens": Header(_LIMITED, "when all of them are there again"),
    "x-should-retry": Header("a refusal where the official clients' own rule would be wrong", "`false`"),
    "retry-after": Header("429, 503, 409 `idempotency_in_progress`", "whole seconds, 1 to 120"),
    "allow": Header("405, `OPTIONS`", "the methods of the path"),
    "x-next-cursor": Header("a CSV of which there is more", "the `cursor` of the next page"),
}
