"""What an upstream says that an attempt cost: asked for later, by the attempt's reference.

Two kinds of upstream offer it. Any classic node shows the chain's record of an inference under its signature; the
network's gateway program accounts for a request under the id of its answer. Shapes are read as the network's own
sources write them; what is not of that shape is no answer, and what an upstream does not offer is told as such.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeVar
from urllib.parse import quote

import msgspec

from tallygate.core.ledger.reconciliation import Bill, Unreported
from tallygate.core.nodes import NonsenseError, read_shape
from tallygate.core.pricing import BILL_NGONKA_MAX
from tallygate.core.usage import TOKENS_MAX
from tallygate.network.asking import look_up

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tallygate.network.asking import Told
    from tallygate.network.client import HttpClient
    from tallygate.network.origin import Origin

RECORD_BYTES_MAX: Final = 16 * 1024 * 1024
"""A chain's record may carry the whole prompt and answer."""

_Shape = TypeVar("_Shape")
_Tokens = Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)]
_Ngonka = Annotated[int, msgspec.Meta(ge=0, le=BILL_NGONKA_MAX)]
_STATUSES: Final = ("STARTED", "FINISHED", "VALIDATED", "INVALIDATED", "VOTING", "EXPIRED")
_REFUNDED: Final = frozenset({"INVALIDATED", "EXPIRED"})
_UNSETTLED: Final = {
    "pending": Unreported.NOT_FINISHED,
    "started": Unreported.NOT_FINISHED,
    "not_in_state": Unreported.NOT_KNOWN,  # its session has been put away: the zero that it shows is no cost
}
_NOT_OFFERED: Final = frozenset({401, 403, 404, 405, 410, 501})


class _Record(msgspec.Struct):
    """The chain's `Inference`; Go leaves zeros out."""

    inference_id: str
    status: int | str = 0
    prompt_token_count: _Tokens = 0
    completion_token_count: _Tokens = 0
    actual_cost: _Ngonka = 0


class _Attempt(msgspec.Struct):
    """One attempt of the gateway program; it races nodes, and each attempt costs."""

    status: str
    input_tokens: _Tokens = 0
    output_tokens: _Tokens = 0
    actual_cost: _Ngonka = 0


class _Account(msgspec.Struct):
    """The gateway program's account of a request."""

    request_id: str
    attempts: list[_Attempt]


class _SessionConfig(msgspec.Struct):
    fee_per_nonce: _Ngonka


class _Session(msgspec.Struct):
    config: _SessionConfig


class _Problem(msgspec.Struct):
    """An error of either: a text, or an object with one."""

    error: str | dict[str, object]


async def ask_node(client: HttpClient, origin: Origin, base_path: bytes, signature: str) -> Bill | Unreported:
    """Ask a classic node for the chain's record of an inference."""
    path = base_path + b"/v1/chat/completions?id=" + quote(signature, safe="").encode()
    answer = await _ask(client, origin, path)
    return Unreported.NO_ANSWER if answer is None else read_record(*answer, signature)


async def ask_gateway(
    client: HttpClient, origin: Origin, base_path: bytes, headers: bytes, request_id: str, fee_ngonka: int
) -> Bill | Unreported:
    """Ask a Bearer upstream for its account of a request, whose attempts cost a fee each besides what it tells."""
    path = base_path + b"/requests/" + quote(request_id, safe="").encode()
    answer = await _ask(client, origin, path, headers)
    return Unreported.NO_ANSWER if answer is None else read_account(*answer, request_id, fee_ngonka)


async def ask_fee(client: HttpClient, origin: Origin, base_path: bytes, headers: bytes) -> int | None:
    """Ask a Bearer upstream what it pays for an attempt besides the tokens; None where it does not say."""
    answer = await _ask(client, origin, base_path + b"/status", headers)
    if answer is None or answer.status != 200:
        return None
    session = _decode(answer.body, _Session)
    return None if session is None else session.config.fee_per_nonce


def read_record(status: int, body: bytes, signature: str) -> Bill | Unreported:
    """Read a node's answer; what has expired or was invalidated has been paid back."""
    said = _words(body)
    before_v026 = status == 500 and said.startswith("rpc error") and "NotFound" in said
    if before_v026 or (status == 404 and said == "Inference not found"):
        return Unreported.NOT_KNOWN
    if status != 200:
        return _refusal(status)
    record = _decode(body, _Record)
    name = "" if record is None else _name_status(record.status)
    if record is None or record.inference_id != signature or name not in _STATUSES:
        return Unreported.NO_ANSWER
    if name == "STARTED":
        return Unreported.NOT_FINISHED
    cost = 0 if name in _REFUNDED else record.actual_cost
    return Bill(cost, record.prompt_token_count, record.completion_token_count)


def read_account(status: int, body: bytes, request_id: str, fee_ngonka: int) -> Bill | Unreported:
    """Read a gateway's answer; a request costs what all its attempts cost, and the fee once for each."""
    if status == 404 and f"request {request_id} not found" in _words(body):
        return Unreported.NOT_KNOWN
    if status != 200:
        return _refusal(status)
    account = _decode(body, _Account)
    if account is None or account.request_id != request_id:
        return Unreported.NO_ANSWER
    attempts = account.attempts
    unsettled = [_UNSETTLED[attempt.status] for attempt in attempts if attempt.status in _UNSETTLED]
    if unsettled:
        return unsettled[0]
    return Bill(
        sum(attempt.actual_cost + fee_ngonka for attempt in attempts),
        sum(attempt.input_tokens for attempt in attempts),
        sum(attempt.output_tokens for attempt in attempts),
    )


def _ask(client: HttpClient, origin: Origin, path: bytes, headers: bytes = b"") -> Awaitable[Told | None]:
    """Look something up on a connection that is kept: whoever asks for bills asks for many."""
    return look_up(client, origin, path, headers, bytes_max=RECORD_BYTES_MAX, fresh=False)


def _refusal(status: int) -> Unreported:
    return Unreported.NOT_OFFERED if status in _NOT_OFFERED else Unreported.NO_ANSWER


def _name_status(status: int | str) -> str:
    """Return the name of a status of the chain, which Go shows as its number; empty for an unknown number."""
    if isinstance(status, str):
        return status
    return _STATUSES[status] if 0 <= status < len(_STATUSES) else ""


def _words(body: bytes) -> str:
    """Return the words of an error, empty where it has none."""
    problem = _decode(body, _Problem)
    error = None if problem is None else problem.error
    said = error.get("message") if isinstance(error, dict) else error
    return said if isinstance(said, str) else ""


def _decode(body: bytes, shape: type[_Shape]) -> _Shape | None:
    """Return a body in its shape, None where it has another."""
    try:
        return read_shape(body, shape)
    except NonsenseError:
        return None
