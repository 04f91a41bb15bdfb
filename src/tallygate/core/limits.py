"""What may be limited of an API key or an account, beside its money, and the rules of it.

An `Allowance` counts what one key, or all keys of one account together, have taken: requests and tokens in any 60
seconds, and calls under way. A call is admitted by both of its allowances or by none, and what it took is given back
in full if it is refused for another reason, so only calls that were admitted count. Its tokens count as bounded while
it is under way, and as used once it has ended.

Spend limits are part of the hold, in one step with the money (`core.ledger.spending`).
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.core.errors import RETRY_AFTER_S_MAX, Code, Refusal
from tallygate.core.window import SlidingWindow

if TYPE_CHECKING:
    from tallygate.core.window import Slot


class Limits(NamedTuple):
    """The limits of one API key or one account; None is no limit.

    Attributes:
        requests_per_minute: Calls admitted in any 60 seconds.
        tokens_per_minute: Tokens of calls in any 60 seconds: as bounded when a call is admitted, as used once it ended.
        concurrent_requests: Calls under way at a time.
        spend_day_picousd: What may be spent on one UTC day, with what is held.
        spend_month_picousd: The same in one UTC month.
        spend_total_picousd: The same ever.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    spend_day_picousd: int | None = None
    spend_month_picousd: int | None = None
    spend_total_picousd: int | None = None

    def completed(self, default: Limits) -> Limits:
        """Return these limits, with those of the default where there is none."""
        return Limits(*(given if own is None else own for own, given in zip(self, default, strict=True)))


UNLIMITED: Final = Limits()

KEY: Final = "API key"
ACCOUNT: Final = "account"
"""Who is limited, as it is told."""


class Rate(NamedTuple):
    """How much of a limit per minute is left.

    Attributes:
        limit: The limit.
        remaining: What can be taken at once.
        reset_s: When all of it can be taken again, if nothing else is taken: in whole seconds, rounded up.
    """

    limit: int
    remaining: int
    reset_s: int


RATES_PREFIX: Final = b"x-ratelimit-"
"""How the headers begin that tell what is left."""


class Rates(NamedTuple):
    """What is left of the limits per minute that are in force; of two, that which is reached first."""

    requests: Rate | None = None
    tokens: Rate | None = None

    def tightened(self, other: Rates) -> Rates:
        """Return of each rate the one that is reached first."""
        if other is NO_RATES:
            return self
        return Rates(_tighter(self.requests, other.requests), _tighter(self.tokens, other.tokens))

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that tell them."""
        headers: list[tuple[bytes, bytes]] = []
        if self.requests is not None:
            headers += _headers(b"requests", *self.requests)
        if self.tokens is not None:
            headers += _headers(b"tokens", *self.tokens)
        return headers


NO_RATES: Final = Rates()


def render_reset(seconds: int) -> str:
    """Return a time as OpenAI's headers write it: `1s`, `6m0s`."""
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _headers(name: bytes, limit: int, remaining: int, reset_s: int) -> tuple[tuple[bytes, bytes], ...]:
    of_limit, of_reset = _limit_header(name, limit), _reset_header(name, reset_s)
    return of_limit, (b"x-ratelimit-remaining-" + name, b"%d" % remaining), of_reset


# A limit is told with every call, and a reset is one of some sixty: both are written once.


@lru_cache(maxsize=256)
def _limit_header(name: bytes, limit: int) -> tuple[bytes, bytes]:
    return b"x-ratelimit-limit-" + name, b"%d" % limit


@lru_cache(maxsize=256)
def _reset_header(name: bytes, seconds: int) -> tuple[bytes, bytes]:
    return b"x-ratelimit-reset-" + name, render_reset(seconds).encode()


class Standing(NamedTuple):
    """How an API key stands.

    Attributes:
        key: Its limits in force.
        account: Those of its account.
        rates: What is left of the limits per minute.
        under_way: How many of its calls are under way.
    """

    key: Limits
    account: Limits
    rates: Rates
    under_way: int


class Taking(NamedTuple):
    """Where a call's request and its tokens are counted: in windows that may be replaced while it is under way."""

    requests: tuple[SlidingWindow, Slot] | None = None
    tokens: tuple[SlidingWindow, Slot] | None = None


_UNCOUNTED: Final = Taking()


class Allowance:
    """What one key, or all keys of one account together, have taken of their limits.

    Calls under way are counted whether or not there is a limit, so that one that is set later holds at once.

    Args:
        subject: Who is limited, as it is told.

    Attributes:
        limits: Those in force.
        is_limited: Whether any of them has to be asked before a call.
        is_spend_limited: Whether any of them is about money.
        under_way: Calls that were admitted and have not ended.
    """

    __slots__ = ("_requests", "_subject", "_tokens", "is_limited", "is_spend_limited", "limits", "under_way")

    def __init__(self, subject: str) -> None:
        self.limits = UNLIMITED
        self.is_limited = self.is_spend_limited = False
        self.under_way = 0
        self._subject = subject
        self._requests: SlidingWindow | None = None
        self._tokens: SlidingWindow | None = None

    def limit(self, limits: Limits) -> None:
        """Put limits in force; what was counted under those before stays counted."""
        self.limits = limits
        self.is_limited = any(limit is not None for limit in limits[:3])
        self.is_spend_limited = any(limit is not None for limit in limits[3:])
        self._requests = _limited(self._requests, limits.requests_per_minute)
        self._tokens = _limited(self._tokens, limits.tokens_per_minute)

    def find_refusal(self, now_s: float, tokens: int) -> Refusal | None:
        """Return why a call of at most so many tokens may not be made now, or None."""
        requests, counted, concurrent = self._requests, self._tokens, self.limits.concurrent_requests
        if requests is not None and (wait_s := requests.wait_s(now_s)) != 0:
            return _over_requests(self._subject, requests.limit, wait_s)
        if counted is not None and (wait_s := counted.wait_s(now_s, tokens)) != 0:
            return _over_tokens(self._subject, counted.limit, tokens, wait_s)
        if concurrent is not None and self.under_way >= concurrent:
            return _over_concurrency(self._subject, concurrent)
        return None

    def take(self, now_s: float, tokens: int) -> Taking:
        """Count a call that is admitted."""
        self.under_way += 1
        requests, counted = self._requests, self._tokens
        if requests is None and counted is None:
            return _UNCOUNTED
        return Taking(
            None if requests is None else (requests, requests.take(now_s)),
            None if counted is None else (counted, counted.take(now_s, tokens)),
        )

    def end(self, taking: Taking, excess_tokens: int, now_s: float) -> None:
        """Count a call's end, and no longer the tokens that it was bounded by and has not used."""
        self.under_way -= 1
        if taking.tokens is not None:
            window, slot = taking.tokens
            window.correct(slot, -excess_tokens, now_s)

    def cancel(self, taking: Taking, tokens: int, now_s: float) -> None:
        """Count a call as never made."""
        self.end(taking, tokens, now_s)
        if taking.requests is not None:
            window, slot = taking.requests
            window.correct(slot, -1, now_s)

    def rates(self, now_s: float) -> Rates:
        """Return what is left of the limits per minute."""
        if self._requests is None and self._tokens is None:
            return NO_RATES
        return Rates(_rate(self._requests, now_s), _rate(self._tokens, now_s))

    def is_idle(self, now_s: float) -> bool:
        """Return whether nothing counts that it has counted."""
        windows = (self._requests, self._tokens)
        return not self.under_way and not any(window is not None and window.reset_s(now_s) for window in windows)


def _limited(window: SlidingWindow | None, limit: int | None) -> SlidingWindow | None:
    if window is None or limit is None:
        return None if limit is None else SlidingWindow(limit)
    window.limit = limit
    return window


def _rate(window: SlidingWindow | None, now_s: float) -> Rate | None:
    return None if window is None else Rate(window.limit, window.remaining(now_s), ceil(window.reset_s(now_s)))


def _tighter(one: Rate | None, other: Rate | None) -> Rate | None:
    if one is None or other is None:
        return one or other
    return other if other.remaining < one.remaining else one


def _over_requests(subject: str, limit: int, wait_s: float | None) -> Refusal:
    message = f"This {subject} may make {limit} requests in any 60 seconds."
    return _over_rate("requests_per_minute", message, wait_s)


def _over_tokens(subject: str, limit: int, tokens: int, wait_s: float | None) -> Refusal:
    message = (
        f"This {subject} may use {limit} tokens in any 60 seconds, prompt and answer together; "
        f"this call can take up to {tokens}."
    )
    if wait_s is None:
        message += " Lower max_tokens, or shorten the messages."
    return _over_rate("tokens_per_minute", message, wait_s)


def _over_rate(name: str, message: str, wait_s: float | None) -> Refusal:
    if wait_s is None:
        return Refusal(Code.RATE_LIMIT_EXCEEDED, message, param=name, retry_after_s=RETRY_AFTER_S_MAX, retry=False)
    return Refusal(Code.RATE_LIMIT_EXCEEDED, message, param=name, retry_after_s=ceil(wait_s))


def _over_concurrency(subject: str, limit: int) -> Refusal:
    message = f"This {subject} may have {limit} calls under way at a time."
    return Refusal(
        Code.CONCURRENCY_LIMIT_EXCEEDED,
        message,
        param="concurrent_requests",
        retry_after_s=1 if limit else RETRY_AFTER_S_MAX,
        retry=None if limit else False,
    )
