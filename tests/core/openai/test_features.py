"""What a model can: parameters that need more are refused before anything is sent, and not listed."""

from __future__ import annotations

import pytest

from tallygate.core.bounding import ModelCard, Outgoing
from tallygate.core.errors import Code, Refusal
from tallygate.core.openai.features import USUAL, supported_parameters
from tests.core.openai.bodies import parse

TOOL = '"tools":[{"type":"function","function":{"name":"f"}}]'
JSON = '"response_format":{"type":"json_object"}'
SCHEMA = '"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{}}}'
THINKING = '"thinking":{"type":"disabled"}'


@pytest.mark.parametrize(
    ("member", "param", "feature"),
    [
        (TOOL, "tools", "tools"),
        (JSON, "response_format", "json_mode"),
        (SCHEMA, "response_format", "structured_outputs"),
        (THINKING, "thinking", "thinking"),
    ],
)
def test_a_card_offers_what_it_lists(member: str, param: str, feature: str) -> None:
    """With its feature on the card a parameter passes; on a card without it, it is refused by name."""
    everything = {*USUAL, "thinking"}
    Outgoing(parse(member), ModelCard("m", features=(feature,)), None)
    with pytest.raises(Refusal) as caught:
        Outgoing(parse(member), ModelCard("m", features=tuple(everything - {feature})), None)
    assert (caught.value.code, caught.value.param) == (Code.UNSUPPORTED_PARAMETER, param)
    assert feature in caught.value.message


def test_a_card_that_says_nothing() -> None:
    """A card without a list has what every model of the network is served with; thinking has to be said."""
    for member in (TOOL, JSON, SCHEMA):
        Outgoing(parse(member), ModelCard("m"), None)
    with pytest.raises(Refusal, match="thinking"):
        Outgoing(parse(THINKING), ModelCard("m"), None)


def test_plain_chat_needs_nothing() -> None:
    """Chat, plain text, and parameters that are null or empty need no feature."""
    nothing = ('"tools":[]', '"response_format":{"type":"text"}', '"thinking":null', '"tool_choice":"none"')
    Outgoing(parse(*nothing), ModelCard("m", features=()), None)


def test_supported_parameters() -> None:
    """The list of a model's parameters has those that its features make useful, and the plain ones."""
    plain = supported_parameters(())
    assert {"temperature", "logprobs", "seed", "max_tokens", "stream"} < set(plain)
    assert {"tools", "tool_choice", "parallel_tool_calls", "response_format", "thinking"}.isdisjoint(plain)
    assert set(supported_parameters(("json_mode",))) - set(plain) == {"response_format"}
    assert set(supported_parameters(("thinking",))) - set(plain) == {"thinking"}
    assert plain == sorted(plain)
