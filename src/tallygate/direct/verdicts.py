"""What a caller of the ready client is told when no try has brought an answer: status, headers and JSON, as of OpenAI.

A node's refusal keeps its status, so that the client raises what that status stands for; where no answer came, it is
the status that a gateway gives. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from tallygate.core.errors import Code
from tallygate.core.retry import Failure, Retry
from tallygate.direct.refusals import explain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tallygate.direct.route import Try

_STATUSES: Final = {
    Code.NETWORK_UNAVAILABLE: 503,
    Code.UPSTREAM_TIMEOUT: 504,
}
_SILENT_ADVICE: Final = {
    Code.NETWORK_UNAVAILABLE: "Check the nodes' URLs, or take others (tallygate nodes shows them).",
    Code.UPSTREAM_TIMEOUT: "It may still be at work, and bill what it does; raise the client's timeout, or ask later.",
    Code.UPSTREAM_ERROR: "It may have billed the request all the same; ask again, or take other nodes.",
}


class Verdict(NamedTuple):
    """An answer of ours in the place of a node's."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def judge_course(failed: Sequence[Try]) -> Verdict:
    """Return what to tell after the tries that failed, of which the last one counts."""
    if not failed:
        return _verdict(503, Code.NETWORK_UNAVAILABLE, "No node is left to ask.", None)
    node, failure, status, said = failed[-1]
    if status is None:
        message = f"{node.url}: {failure.detail}. {_SILENT_ADVICE.get(failure.code, '')}"
    elif status == 200:
        message = f"{node.url} answered, but not with a chat: {said or failure.detail}. It may have billed the request."
    else:
        message = f"{node.url} answered {status}: {said or '(nothing)'}. {explain(status, said)}"
    if len(failed) > 1:
        message += f" ({len(failed)} nodes were tried.)"
    if status is None or status == 200:
        status = _STATUSES.get(failure.code, 502)
    return _verdict(status, failure.code, message, failure)


def _verdict(status: int, code: Code, message: str, failure: Failure | None) -> Verdict:
    headers = {"content-type": "application/json"}
    if failure is not None and (failure.charged or failure.retry is not Retry.NODE):
        headers["x-should-retry"] = "false"  # the client would repeat any 5xx, at the cost of its user
    if failure is not None and failure.retry_after_s is not None:
        headers["retry-after"] = str(failure.retry_after_s)
    error = {"message": message, "type": "gonka_error", "param": None, "code": code.value}
    return Verdict(status, headers, msgspec.json.encode({"error": error}))
