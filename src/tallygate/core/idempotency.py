"""What an `Idempotency-Key` means: the same call once, however often it is sent within a day.

A caller's key, within its scope (account, API key, route), is *claimed* by the first call that takes money with it;
the claim is under way until that call ends, and then stands for what it cost. A call that was voided gives its claim
up. Asked again, a claim under way is refused for now, and one that has ended is answered as it was, if that answer is
still in memory; what is never done is to send and charge it again. Another request under the same key is a mistake of
the caller's, and is refused.

What may live here: what a key may look like, what counts as the same request, the digests, and the words of the
refusals. What may not: where claims are kept, answers, the clock.

Invariants:
    - Neither the key nor the request is kept: only HMACs of them, under a secret of their own. A bare hash of a prompt
      would be a stored prompt, for whoever can guess it.
    - The digest of the request is bound to that of the key, so equal requests under two keys have nothing in common.
    - Two requests are the same when they mean the same: the order of members, white space, escapes, what is null or
      left at its default, an alias of the model, and `max_completion_tokens` for `max_tokens` make no difference.
      Numbers are compared as written: 1 and 1.0 differ.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from tallygate.core.calendar import DAY_NS
from tallygate.core.errors import Code, Refusal
from tallygate.core.money import format_usd

if TYPE_CHECKING:
    from tallygate.core.openai import ChatRequest

HEADER: Final = "Idempotency-Key"

KEY_CHARACTERS_MAX: Final = 255
"""Stripe's limit, which clients know: seven UUIDs."""

KEPT_NS: Final = DAY_NS
"""How long a claim stands, from when it was taken."""

RETRY_AFTER_S: Final = 1
"""When to ask again about a call under way: OpenAI's clients repeat a 409 by themselves."""

_KEY: Final = re.compile(rb"[!-~]{1,%d}" % KEY_CHARACTERS_MAX)
_LABEL: Final = b"tallygate idempotency 1"
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder().decode


class Claim(NamedTuple):
    """What a request with a key comes with.

    Attributes:
        digest: Of the caller's key in its scope.
        request: Of the request itself.
    """

    digest: bytes
    request: bytes


class Claimed(NamedTuple):
    """A claim that was taken.

    Attributes:
        digest: Of the caller's key in its scope.
        request: Of the request that took it.
        subject: The inference, or in hexadecimal digits the entry of an operator's act.
        created_ns: When it was taken.
        picousd: What its subject came to; None while it is under way.
    """

    digest: bytes
    request: bytes
    subject: str
    created_ns: int
    picousd: int | None


class Digests:
    """Makes claims; knows the secret under which keys and requests are digested.

    Args:
        pepper: The installation's secret, from which another one is derived for this purpose only.
    """

    def __init__(self, pepper: bytes) -> None:
        self._secret = hmac.digest(pepper, _LABEL, "sha256")

    def claim(self, key: bytes, scope: tuple[str, ...], meaning: object) -> Claim:
        """Return the claim of a request.

        Args:
            key: What the caller sent.
            scope: Within what the key is the caller's own: the account, who acts on it, the route.
            meaning: What is asked, as JSON can say it.
        """
        digest = hmac.digest(self._secret, _encode([scope, key.decode("latin-1")]), "sha256")
        return Claim(digest, hmac.digest(self._secret, digest + _encode(meaning), "sha256"))


def is_key(value: bytes) -> bool:
    """Return whether a header's value can be a key: some visible ASCII characters."""
    return _KEY.fullmatch(value) is not None


def meaning_of(request: ChatRequest, model: str) -> object:
    """Return what a chat request asks for; `model` is the canonical id of what it names."""
    members = _decode(_encode(request.members))
    return [
        "chat",
        model,
        request.max_tokens,
        request.choices,
        request.stream,
        request.include_usage,
        members,
    ]


def resolve(known: Claimed | None, claim: Claim, now_ns: int) -> Claimed | None:
    """Return what a claim's key stands for now, or None if it is free.

    Raises:
        Refusal: It stands for another request.
    """
    if known is None or (known.picousd is not None and known.created_ns + KEPT_NS <= now_ns):
        return None
    if known.request != claim.request:
        message = f"This {HEADER} was used for another request within the last 24 hours; use a new one for a new call."
        raise Refusal(Code.IDEMPOTENCY_KEY_REUSED, message, param=HEADER)
    return known


def in_progress(claimed: Claimed) -> Refusal:
    """Return why a call is not served whose first sending is still under way."""
    message = f"The first call with this {HEADER} is still under way; ask again, and its answer will be this one's."
    return Refusal(
        Code.IDEMPOTENCY_IN_PROGRESS, message, param=HEADER, retry_after_s=RETRY_AFTER_S, inference=claimed.subject
    )


def already_charged(claimed: Claimed) -> Refusal:
    """Return why a call is not served that has been: its answer is not kept any more."""
    total = format_usd(claimed.picousd or 0)
    message = (
        f"The call with this {HEADER} has ended and was charged {total} US dollars; its answer is not kept any more. "
        "It was not sent again and nothing more was charged; use a new key to send it again."
    )
    metadata = {"inference_id": claimed.subject, "total_cost_usd": total}
    return Refusal(
        Code.IDEMPOTENCY_ALREADY_CHARGED, message, param=HEADER, metadata=metadata, inference=claimed.subject
    )


def refuse(claimed: Claimed) -> Refusal:
    """Return why a call is not served whose key is taken."""
    return in_progress(claimed) if claimed.picousd is None else already_charged(claimed)
