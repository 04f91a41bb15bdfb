"""What the network's own gateway does to a request without a word, done here and told: an operator's choice.

It leaves out parameters that no model behind it reads, and takes `tool_choice: "required"` for a wish. Without repair
the former are refused here by name, so that nobody believes to have asked for something; the latter, like `strict` in
a tool, passes as it came, since whoever answers may well honour it.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

STRIPPED: Final = frozenset(
    {
        "plugins",
        "prompt_cache_key",
        "cache_key",
        "service_tier",
        "store",
        "provider",
        "extra_headers",
        "safety_identifier",
        "reasoning_effort",
        "thinking_config",
        "think",
    }
)
"""What the network's own gateway leaves out."""

_decode_tools = msgspec.json.Decoder(list[dict[str, Raw]]).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
_REQUIRED: Final = b'"required"'


def repair_tools(members: dict[str, Raw], changes: list[str]) -> None:
    """Mend checked members in place, and add what was changed to a list."""
    if "tools" in members and b'"strict"' in bytes(members["tools"]):
        tools = _decode_tools(members["tools"])
        is_strict = False
        for tool in tools:
            function = _decode_members(tool["function"])
            if function.pop("strict", None) is not None:
                tool["function"] = Raw(_encode(function))
                is_strict = True
        if is_strict:
            members["tools"] = Raw(_encode(tools))
            changes.append("-tools[].function.strict")
    if bytes(members.get("tool_choice", b"")) == _REQUIRED:
        members["tool_choice"] = Raw(b'"auto"')
        changes.append("tool_choice=auto")
