"""Bodies of chat requests, written by hand, and why they are refused."""

from __future__ import annotations

import pytest

from tallygate.core.errors import Refusal
from tallygate.core.openai import STRICT, ChatRequest, Policy, parse_chat_request

SECRET = "zebra7f3a words"
MESSAGES = '[{"role":"user","content":"x"}]'
BASE = f'"model":"m","messages":{MESSAGES}'


def body(*members: str, base: str = BASE) -> bytes:
    """Write a body of a model, a message, and these members."""
    return ("{" + ",".join([base, *members]) + "}").encode()


def parse(*members: str, policy: Policy = STRICT) -> ChatRequest:
    """Return the request of a body with these members."""
    return parse_chat_request(body(*members), policy)


def refusal(text: bytes, policy: Policy = STRICT) -> Refusal:
    """Return why a body is refused."""
    with pytest.raises(Refusal) as caught:
        parse_chat_request(text, policy)
    return caught.value
