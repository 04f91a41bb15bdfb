"""What leaves the gateway: the caller's request, bounded, in the bytes that are signed and sent.

    max_tokens = max_completion_tokens
               = min(max(asked or the model's default, the upstream's floor), the model's maximum)

always written into the body, so that the hold covers whatever the network may do with it. The prompt's bound counts
the bytes of the whole body, since no tokenizer makes more tokens than bytes: bytes outside ASCII three times and an
escape from U+0080 on as nine (tokenizers normalise text first, which can lengthen it), plus what the model's chat
template adds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

from tallygate.core.ledger.records import Shrink
from tallygate.core.openai.features import USUAL, check_needs
from tallygate.core.openai.messages import flatten_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallygate.core.openai import ChatRequest

TOKENS_PER_MESSAGE: Final = 16
"""Role markers and separators around one message, with room to spare."""

_LONG_ESCAPE: Final = re.compile(rb"\\u(?!00[0-7])")
_NOT_ASCII: Final = bytes(range(0x80, 0x100))
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is: its limits, and the constants of its chat template.

    Attributes:
        id: The canonical id, as answers and prices name it.
        aliases: Other ids that callers may use.
        context_length: Prompt and answer together, in tokens; None where it is not known.
        output_tokens_max: The most that one choice may have.
        output_tokens_default: What a choice may have when the caller says nothing.
        template_tokens: What the template adds to every prompt, at most.
        tools_tokens: What it adds when tools are given, at most.
        features: What the model can do beyond chat; parameters that need anything else are refused.
        name: What people call it; None where it has no name but its id.
    """

    id: str
    aliases: tuple[str, ...] = ()
    context_length: int | None = None
    output_tokens_max: int = 4096
    output_tokens_default: int = 4096
    template_tokens: int = 64
    tools_tokens: int = 512
    features: tuple[str, ...] = USUAL
    name: str | None = None


def count_prompt_tokens_max(body: bytes, card: ModelCard, request: ChatRequest) -> int:
    """Return the most prompt tokens that a body can have become on the upstream's bill."""
    bound = len(body)
    if not body.isascii():
        bound += 2 * (bound - len(body.translate(None, _NOT_ASCII)))
    if b"\\u" in body:
        # Without escaped backslashes, which may stand before a plain u.
        bound += 3 * len(_LONG_ESCAPE.findall(body.replace(rb"\\", b"")))
    bound += card.template_tokens + TOKENS_PER_MESSAGE * request.message_count
    return bound + card.tools_tokens if request.has_tools else bound


class Outgoing:
    """One request, ready to be written for any upstream.

    Args:
        request: What the caller asked.
        card: The model that was asked.
        temperature: What is sent when the caller named none; None sends none.

    Raises:
        Refusal: The model cannot do what was asked.
    """

    def __init__(self, request: ChatRequest, card: ModelCard, temperature: float | None) -> None:
        check_needs(request.needs, card.features)
        self._request = request
        self._card = card
        self._temperature = temperature if "temperature" not in request.members else None
        self._asked = request.max_tokens or card.output_tokens_default
        self._bodies: dict[tuple[str, int, bool], bytes] = {}

    @property
    def streams(self) -> bool:
        """Whether the answer is to come as a stream."""
        return self._request.stream

    def tokens_max(self, floor: int) -> int:
        """Return the bound of one choice at an upstream with this floor."""
        return min(max(self._asked, floor), self._card.output_tokens_max)

    def shrink(self, places: Mapping[str, int]) -> Shrink | None:
        """Return how far the bound of the answer may be lowered: not at all if the caller has named it."""
        if self._request.max_tokens is not None:
            return None
        floor = min(max(places.values()), self._card.output_tokens_max)
        return Shrink(self._request.choices, floor)

    def limit(self, completion_tokens_max: int) -> None:
        """Take over the bound that the hold was made for, of all choices together; it is never higher."""
        self._asked = completion_tokens_max // self._request.choices
        self._bodies.clear()

    def body(self, name: str, floor: int, *, flat: bool = False) -> bytes:
        """Return the bytes to sign and send to an upstream that calls the model `name`.

        Args:
            name: The model's name there.
            floor: The upstream's floor.
            flat: Whether it takes content as one string only. A flat body is never longer, so the bounds hold for both.
        """
        form = name, self.tokens_max(floor), flat and self._request.has_parts
        body = self._bodies.get(form)
        if body is None:
            body = self._bodies[form] = self._render(*form)
        return body

    def bounds(self, places: Mapping[str, int]) -> tuple[int, int]:
        """Return the prompt and completion bounds that hold wherever the request is sent.

        Args:
            places: The model's name at each upstream that may be tried, and that upstream's floor.
        """
        prompt = completion = 0
        for name, floor in places.items():
            prompt = max(prompt, count_prompt_tokens_max(self.body(name, floor), self._card, self._request))
            completion = max(completion, self.tokens_max(floor) * self._request.choices)
        return prompt, completion

    def changes(self, floor: int, *, flat: bool = False) -> str:
        """Return what was changed, added or left out (`-name`), as the response header lists it."""
        changes = [*self._request.changes]
        if flat and self._request.has_parts:
            changes.append("content=text")
        if (tokens_max := self.tokens_max(floor)) != self._request.max_tokens:
            changes.append(f"max_tokens={tokens_max}")
        if self._temperature is not None:
            changes.append(f"temperature={self._temperature:g}")
        return ", ".join(changes)

    def _render(self, name: str, tokens_max: int, flat: bool) -> bytes:
        request = self._request
        members: dict[str, object] = {"model": name, **request.members}
        if flat:
            members["messages"] = Raw(flatten_parts(request.members["messages"]))
        if self._temperature is not None:
            members["temperature"] = self._temperature
        members["max_tokens"] = members["max_completion_tokens"] = tokens_max
        if request.choices > 1:
            members["n"] = request.choices
        if request.stream:
            members["stream"] = True
            members["stream_options"] = {"include_usage": True}
        return _encode(members)
