"""What a route asks the relay for: a request that has been checked, of a caller who is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.forms import CHAT

if TYPE_CHECKING:
    from tallygate.core.access import ApiKey
    from tallygate.core.bounding import ModelCard
    from tallygate.core.forms import Form
    from tallygate.core.idempotency import Claim
    from tallygate.core.openai import ChatRequest


class Call(NamedTuple):
    """A checked request of an authenticated caller.

    Attributes:
        request_id: Ours, `req_…`.
        key: The caller's key.
        chat: What was asked.
        card: The model that was asked.
        claim: What the call comes with if it has an idempotency key.
        others: What was asked beside it, of a call with several prompts; they differ in their messages only.
        form: How the answer is told.
    """

    request_id: str
    key: ApiKey
    chat: ChatRequest
    card: ModelCard
    claim: Claim | None = None
    others: tuple[ChatRequest, ...] = ()
    form: Form = CHAT
