"""What a model can do beyond chat, as its card says, and which parameters need it.

A card's `features` are what the model can, all of it: what a request needs and the card does not list is refused
before it costs anything. A card of which the operator has said nothing has those that every model of the network is
served with, which is all but `thinking`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tallygate.core.errors import Code, Refusal
from tallygate.core.openai.formats import JSON_OBJECT, JSON_SCHEMA
from tallygate.core.openai.names import COPIED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

TOOLS: Final = "tools"
JSON_MODE: Final = "json_mode"
STRUCTURED_OUTPUTS: Final = "structured_outputs"
THINKING: Final = "thinking"

USUAL: Final = (TOOLS, JSON_MODE, STRUCTURED_OUTPUTS)
"""What a model can where nothing else is said. The words are those of OpenRouter's listing, but for `thinking`."""

_OF_FORMAT: Final[Mapping[str, str]] = {JSON_OBJECT: JSON_MODE, JSON_SCHEMA: STRUCTURED_OUTPUTS}
_OF_PARAMETER: Final[Mapping[str, frozenset[str]]] = {
    "tools": frozenset({TOOLS}),
    "tool_choice": frozenset({TOOLS}),
    "parallel_tool_calls": frozenset({TOOLS}),
    "response_format": frozenset({JSON_MODE, STRUCTURED_OUTPUTS}),
    "thinking": frozenset({THINKING}),
}
"""By parameter, what makes it useful; any one of them does."""

Need = tuple[str, str]
"""A parameter, and the feature that it needs."""


def find_needs(values: Mapping[str, object], answer_format: str | None, *, has_tools: bool) -> Sequence[Need]:
    """Return what a checked request needs beyond chat."""
    needs: list[Need] = []
    if has_tools:
        needs.append(("tools", TOOLS))
    if answer_format is not None and answer_format in _OF_FORMAT:
        needs.append(("response_format", _OF_FORMAT[answer_format]))
    if values.get("thinking") is not None:
        needs.append(("thinking", THINKING))
    return needs


def check_needs(needs: Sequence[Need], features: Collection[str]) -> None:
    """Refuse what a model cannot.

    Raises:
        Refusal: It names the parameter, and the feature that the model has not.
    """
    for parameter, feature in needs:
        if feature not in features:
            message = f"{parameter} needs {feature}, which this model does not offer; /v1/models says what each can."
            raise Refusal(Code.UNSUPPORTED_PARAMETER, message, param=parameter)


def supported_parameters(features: Collection[str]) -> list[str]:
    """Return the parameters that do something with a model of these features, as `/v1/models` lists them."""
    names = COPIED | {"max_tokens", "max_completion_tokens", "n", "stream", "stream_options"}
    return sorted(name for name in names if name not in _OF_PARAMETER or not _OF_PARAMETER[name].isdisjoint(features))
