"""Each refusal of a node, explained in a sentence that says what to change. Pure.

The words are the protocol's own (`core/retry.py` says what they mean for another try); a node's version may word a
refusal otherwise, so what is not known by its words is explained by its status.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tallygate.core.retry import words_of

__all__ = ["explain", "words_of"]


class _Advice(NamedTuple):
    status: int | None
    said: re.Pattern[str]
    advice: str


def _advice(status: int | None, said: str, advice: str) -> _Advice:
    return _Advice(status, re.compile(said, re.IGNORECASE), advice)


_ADVICE: Final = (
    _advice(
        410,
        "",
        "This node speaks devshard, as all of today's mainnet does: it takes no signed chat. Use a Bearer key with any "
        "OpenAI client instead (OpenBroker, a broker, or a gateway such as Tallygate: docs/direct.md), or a node of a "
        "network that still takes signatures.",
    ),
    _advice(
        401,
        "authorization is required",
        "The request came without a signature: put it into the Authorization header, without the word Bearer.",
    ),
    _advice(
        401,
        "",
        "The signature does not fit. Check, in this order: the scheme (a node takes `hash` or `raw`, never both: try "
        "the other with --scheme), the node's own address (tallygate send-request asks the node for it; else "
        "--provider-address), the key (it must be the account's), and that the body is sent byte for byte as signed.",
    ),
    _advice(
        402,
        "",
        "The account has too little: a node wants (bytes of the prompt + max_tokens) × price to be there, with "
        "max_tokens 5000 where the request names none. Lower max_tokens, or send GNK to the account.",
    ),
    _advice(
        400,
        "(signature|timestamp) is (too old|in the future)",
        "The timestamp is too far from the time of the chain's latest block (60 s back, 30 s ahead). Set this "
        "machine's clock right, and use a signature at once; if the clock is right, the chain stands still: wait.",
    ),
    _advice(
        400,
        "authkey has already been used",
        "This signature was used before; each request needs one of its own: sign again, with a new timestamp.",
    ),
    _advice(
        403,
        "transfer agent not allowed",
        "The network does not let this node take requests: use another one; tallygate nodes shows which are allowed.",
    ),
    _advice(
        403,
        "restricted until",
        "The network takes requests of chosen developers only until that block: wait for it, or use another network.",
    ),
    _advice(
        500,
        "rpc error.*notfound",
        "The chain does not know this account's public key. If the account has a balance, publish the key with "
        "tallygate wallet publish-pubkey (any transaction from the account does it too); if it has none, send it GNK "
        "first. You do not need to register as a participant. tallygate account shows how it stands.",
    ),
    _advice(
        404,
        "model not found|no executors",
        "No node serves this model now: tallygate nodes lists the models, by their exact names.",
    ),
    _advice(404, "", "There is nothing of this name: check the node's URL, the address and the model."),
    _advice(
        429,
        "",
        "This node is at its limit: use another one (tallygate nodes), or ask again later.",
    ),
    _advice(
        503,
        "",
        "No node can serve this now, as happens while an epoch ends: ask again in a few minutes, or use another node.",
    ),
    _advice(413, "", "The request is too large: nodes take at most 10 MiB."),
    _advice(
        400,
        "inference node response",
        "The engine rejected the request, and the network has billed about one token for it: correct the request.",
    ),
    _advice(422, "", "The engine rejected the request, and may have billed a token: correct the request."),
    _advice(400, "", "The node does not accept the request as it is: correct what it names."),
)


def explain(status: int, said: str) -> str:
    """Return what to change after a refusal."""
    if 300 <= status < 400:
        return "The node has moved. Redirects are not followed, since a signature is for one node: use its new URL."
    for advice in _ADVICE:
        if advice.status == status and advice.said.search(said):
            return advice.advice
    if status >= 500:
        return "The node failed, and may have billed the request all the same: use another one, or ask again later."
    return "The node does not take this request: check its URL and the request."
