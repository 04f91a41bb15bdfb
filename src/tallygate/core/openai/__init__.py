"""What a caller may ask of the chat route, in OpenAI's words.

`parameters` lists them, `names` says what becomes of a name that is not listed; `request` takes a body apart and puts
the checks of `messages`, `tools`, `formats` and `sampling` over it; `repair` does, where the operator wishes, what the
network's own gateway would do without a word; `features` compares what was asked with what a model can.
"""

from tallygate.core.openai.names import COPIED, KNOWN, OWNED, REFUSED
from tallygate.core.openai.parameters import CHOICES_MAX, PARAMETERS
from tallygate.core.openai.request import (
    BODY_BYTES_MAX,
    MAX_TOKENS_MAX,
    STRICT,
    ChatRequest,
    Policy,
    parse_chat_request,
)

__all__ = [
    "BODY_BYTES_MAX",
    "CHOICES_MAX",
    "COPIED",
    "KNOWN",
    "MAX_TOKENS_MAX",
    "OWNED",
    "PARAMETERS",
    "REFUSED",
    "STRICT",
    "ChatRequest",
    "Policy",
    "parse_chat_request",
]
