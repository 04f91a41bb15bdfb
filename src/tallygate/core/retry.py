"""What a failed sending means: may it be tried elsewhere, can it have cost something, whose fault is it?

This is the retry table. It is law because nothing upstream is idempotent: every sending that a node has accepted
is a new charge to the operator. So a sending is repeated freely only where the node provably did not take it, and
at most once where it may have.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from tallygate.core.errors import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

INFINITY_S: Final = float("inf")


class Retry(Enum):
    """Where a failed sending may be tried again, if at all."""

    NODE = "the next node or upstream"
    RISKY = "once, at the next node or upstream: it may have cost something"
    FRESH = "once, on a fresh connection, to another node of the upstream if it has one: it may have cost something"
    UPSTREAM = "no other node of this upstream, but the next upstream"
    NEVER = "never"


class Failure(NamedTuple):
    """One row of the table.

    Attributes:
        retry: Where it may be tried again.
        code: What the caller is told if it is not.
        charged: Whether the network may have billed it.
        out_for_s: For how long the place is left out of the choice; 0 leaves it in.
        detail: What happened, for the operator's log; never a caller's text.
        alarm: Whether the operator has to do something.
        message: What the upstream said of the caller's request, for the caller (only with `upstream_rejected`).
        retry_after_s: When the upstream asked to be tried again.
        moved_to: Where it says that it has moved to; nobody follows it, but the operator may.
        quiet_s: How long the quiet window lasts in which it serves nobody.
    """

    retry: Retry
    code: Code
    charged: bool = False
    out_for_s: float = 0.0
    detail: str = ""
    alarm: bool = False
    message: str | None = None
    retry_after_s: int | None = None
    moved_to: str | None = None
    quiet_s: int | None = None

    @property
    def kind(self) -> str:
        """What happened, without what was said: one of few words, for figures."""
        return self.detail.partition(":")[0]


class SendingError(Exception):
    """A sending failed on its way; `failure` is its row of the table."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


_NETWORK_WORDS: Final = re.compile(
    r"""Authorization\ is\ required | Unable\ to\ validate\ request\ against\ PubKey(:invalid\ signature)?
    | Transfer\ Agent\ not\ allowed | rpc\ error:\ code\ =\ NotFound\ desc\ =\ account\ not\ found
    | Insufficient\ balance | inference\ requests\ are\ restricted
    | (signature|Request\ timestamp)\ is\ (too\ old|in\ the\ future) | model\ not\ found | no\ executors\ available
    | model\ "[\w./-]{1,128}"\ requires\ an(\ admin)?\ API\ key | (in|un)?valid\ api\ key""",
    re.VERBOSE | re.IGNORECASE,
)

_MOVED_TO: Final = re.compile(
    r"https?://[A-Za-z0-9.-]{1,100}(:[0-9]{1,5})?(?=[/?#]|$)(/[A-Za-z0-9._/-]{0,64}(?=[?#]|$))?"
)
"""An origin, and a path that is short and plain, without a query: nobody's prompt."""

NOT_AVAILABLE: Final = "not available"
"""What a node says that serves nobody now (503)."""

CLOCK: Final = "clock"
"""A node does not take the timestamp of a signature."""

AVOID_S: Final = 5.0
"""How long a place that could not be reached, or was full, is left out while others can be tried."""

UNREACHED: Final = Failure(Retry.NODE, Code.NETWORK_UNAVAILABLE, out_for_s=AVOID_S, detail="could not be reached")
BUSY: Final = Failure(Retry.NODE, Code.NETWORK_UNAVAILABLE, detail="all our connections to it are busy")
LOST_ON_REUSE: Final = Failure(Retry.FRESH, Code.UPSTREAM_ERROR, charged=True, detail="reset on a reused connection")
LOST: Final = Failure(Retry.RISKY, Code.UPSTREAM_ERROR, charged=True, out_for_s=AVOID_S, detail="connection lost")
SILENT: Final = Failure(Retry.RISKY, Code.UPSTREAM_TIMEOUT, charged=True, out_for_s=AVOID_S, detail="no first byte")
GARBLED: Final = Failure(Retry.NEVER, Code.UPSTREAM_ERROR, charged=True, detail="answer is not HTTP")
UNUSABLE: Final = Failure(Retry.NEVER, Code.UPSTREAM_ERROR, charged=True, detail="answer is truncated or not a chat")


def judge_status(status: int, headers: Mapping[str, str], body: bytes, *, signed: bool) -> Failure:
    """Return the row for an answer whose status is not 200.

    Args:
        status: The HTTP status.
        headers: The answer's headers, names in lower case.
        body: The beginning of its body.
        signed: Whether the place is a Gonka node (else a Bearer upstream, which races nodes by itself).
    """
    error = _error_of(body)
    said = _text_of(error, body)
    detail = f"status {status}"
    if status == 429 and _is_out_of_quota(error, said):
        status = 402  # what OpenAI's contract says with 429 is no limit that passes
    if 300 <= status < 400:
        return _judge_redirect(detail, headers, body)
    if status in _JUDGES:
        return _JUDGES[status](said, headers, signed)
    if 400 <= status < 500:
        return _misconfigured(detail)
    return _broken(detail, signed=signed)


def retry_after(headers: Mapping[str, str]) -> int | None:
    """Return an upstream's `Retry-After` in whole seconds, kept between 1 and 120."""
    value = headers.get("retry-after", "")
    if not (value.isascii() and value.isdigit()):
        return None
    return 120 if len(value) > 9 else min(max(int(value), 1), 120)


def words_of(body: bytes) -> str:
    """Return what an error body says, on one line and cut: whatever came in it, so not for logs."""
    return _text_of(_error_of(body), body)


def _error_of(body: bytes) -> object:
    """Return the `error` member of an error body, or None if there is none."""
    try:
        return msgspec.json.decode(body)["error"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return None


def _text_of(error: object, body: bytes) -> str:
    text = error.get("message") if isinstance(error, dict) else error
    if not isinstance(text, str):
        text = body[:300].decode("utf-8", "replace")
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text).strip()[:500]


def _is_out_of_quota(error: object, said: str) -> bool:
    named = (error.get("code"), error.get("type")) if isinstance(error, dict) else ()
    return "insufficient_quota" in named or "insufficient_quota" in said


def _misconfigured(detail: str) -> Failure:
    return Failure(Retry.UPSTREAM, Code.UPSTREAM_MISCONFIGURED, out_for_s=AVOID_S, detail=detail, alarm=True)


def _judge_redirect(detail: str, headers: Mapping[str, str], body: bytes) -> Failure:
    """Return the row for a redirect; where to is told to the operator as far as it can be no caller's text."""
    told = headers.get("location") or _new_url_of(body)
    found = _MOVED_TO.match(told)
    where = None if found is None else found[0]
    shown = "" if where is None else f" to {where}"
    return _misconfigured(f"{detail}: moved{shown}; redirects are never followed")._replace(moved_to=where)


def _new_url_of(body: bytes) -> str:
    """Return where the network's gateway program says that it has moved to."""
    try:
        url = msgspec.json.decode(body)["new_url"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return ""
    return url if isinstance(url, str) else ""


def _broken(detail: str, *, signed: bool) -> Failure:
    # A Bearer upstream races nodes by itself, so its next answer comes from another node: it stays in the choice.
    out_for_s = AVOID_S if signed else 0.0
    return Failure(Retry.RISKY, Code.UPSTREAM_ERROR, charged=True, out_for_s=out_for_s, detail=detail)


def _known(said: str) -> str:
    """Return as much of an upstream's words as is the network's own, for the log; other words might be a caller's."""
    found = _NETWORK_WORDS.match(said)
    return re.sub(r'"[^"]*"', '"..."', found[0]) if found else "(words withheld)"


def _rejected(said: str, *, charged: bool = False) -> Failure:
    return Failure(Retry.NEVER, Code.UPSTREAM_REJECTED, charged=charged, detail="rejected the request", message=said)


def _judge_400(said: str, _: Mapping[str, str], signed: bool) -> Failure:
    lowered = said.lower()
    if signed and ("signature is" in lowered or "timestamp is" in lowered):
        return Failure(Retry.NODE, Code.UPSTREAM_ERROR, out_for_s=AVOID_S, detail=f"{CLOCK}: {_known(said)}")
    if signed and "authkey has already been used" in lowered:
        return Failure(Retry.NODE, Code.UPSTREAM_ERROR, detail="signature was seen before")
    # A node records the inference before the engine refuses it, and charges about one token.
    return _rejected(said, charged=signed and said.startswith("Inference node response"))


def _judge_422(said: str, _: Mapping[str, str], signed: bool) -> Failure:
    return _rejected(said, charged=signed)


def _judge_413(said: str, _: Mapping[str, str], __: bool) -> Failure:
    return _rejected(said)


def _judge_401(said: str, _: Mapping[str, str], __: bool) -> Failure:
    return _misconfigured("does not accept our credentials: " + _known(said))


def _judge_402(said: str, _: Mapping[str, str], __: bool) -> Failure:
    return _misconfigured("has no funds for us: " + _known(said))


def _judge_403(said: str, _: Mapping[str, str], signed: bool) -> Failure:
    if signed and "transfer agent not allowed" in said.lower():
        return Failure(Retry.NODE, Code.NETWORK_UNAVAILABLE, out_for_s=300.0, detail=_known(said))
    return _misconfigured("refuses us: " + _known(said))


def _judge_404(said: str, _: Mapping[str, str], __: bool) -> Failure:
    # The place stays in the choice: it lacks this model, and may well have the next call's.
    return Failure(Retry.NODE, Code.NETWORK_UNAVAILABLE, detail="model not there: " + _known(said))


def _judge_409(said: str, _: Mapping[str, str], __: bool) -> Failure:
    # The network's gateway program settles an escrow now; with the next escrow it is back, as nobody's mistake.
    if "finaliz" in (lowered := said.lower()) or "finalis" in lowered or "settle" in lowered:
        return Failure(Retry.NODE, Code.NETWORK_UNAVAILABLE, out_for_s=AVOID_S, detail="settles its escrow")
    return _misconfigured("status 409")


def _judge_410(said: str, headers: Mapping[str, str], signed: bool) -> Failure:
    if not signed:  # a retired model, perhaps; the place has others
        return _judge_404(said, headers, signed)
    detail = 'this node speaks devshard; use kind = "openai"'
    return Failure(Retry.NODE, Code.UPSTREAM_MISCONFIGURED, out_for_s=INFINITY_S, detail=detail, alarm=True)


def _judge_429(_: str, headers: Mapping[str, str], __: bool) -> Failure:
    wait_s = retry_after(headers)
    out_for_s = float(wait_s or AVOID_S)
    return Failure(Retry.NODE, Code.NETWORK_UNAVAILABLE, out_for_s=out_for_s, detail="full", retry_after_s=wait_s)


def _judge_500(said: str, _: Mapping[str, str], signed: bool) -> Failure:
    if signed and said.startswith("rpc error") and "NotFound" in said:
        return _misconfigured("does not know our wallet or its public key: " + _known(said))
    return _broken("status 500", signed=signed)


def _judge_503(_: str, headers: Mapping[str, str], __: bool) -> Failure:
    wait_s = retry_after(headers)
    return Failure(Retry.NODE, Code.NETWORK_UNAVAILABLE, out_for_s=AVOID_S, detail=NOT_AVAILABLE, retry_after_s=wait_s)


_JUDGES: Final = {
    400: _judge_400,
    401: _judge_401,
    402: _judge_402,
    403: _judge_403,
    404: _judge_404,
    409: _judge_409,
    410: _judge_410,
    413: _judge_413,
    422: _judge_422,
    429: _judge_429,
    500: _judge_500,
    503: _judge_503,
}


def refusal_of(failure: Failure, inference: str | None = None) -> Refusal:
    """Return what the caller is told of a failure that was not mended by another try."""
    wait_s, message = failure.retry_after_s, ""
    if failure.quiet_s is not None:  # a header may not say it: clients ignore one that is too long
        wait_s, message = (
            failure.quiet_s,
            f"The network is in a quiet window, as far as is known for another {failure.quiet_s} s.",
        )
    elif failure.code is Code.NETWORK_UNAVAILABLE and wait_s is None:
        wait_s = int(AVOID_S)
    return Refusal(failure.code, message, retry_after_s=wait_s, inference=inference, quote=failure.message or None)
