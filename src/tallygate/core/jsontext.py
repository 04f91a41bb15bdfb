"""Questions about a JSON text that a decoder does not answer: is any key repeated, is it nested too deep?

Decoders keep the last of two equal keys without a word, and different decoders keep different ones; so a repeated
key is the classic way to show one request to a gateway and another to the model behind it. The check works on the
text with its strings taken out, where every colon belongs to one key: if there are more colons than keys in the
decoded value, some key came twice. Only then is the slow way gone to find out which.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

from tallygate.core.errors import Code, Refusal

DEPTH_MAX: Final = 32
"""The network's own limit on nesting."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_decode = msgspec.json.Decoder().decode


def check_shape(body: bytes) -> Any:
    """Return the decoded value of a JSON object in which no key is repeated, at any depth.

    Raises:
        Refusal: The text is not JSON (NaN and Infinity are not), not an object, nested deeper than `DEPTH_MAX`,
            or repeats a key, which the refusal names.
    """
    skeleton = _STRING.sub(b"", body)
    if skeleton.count(b"{") + skeleton.count(b"[") > DEPTH_MAX:
        _check_depth(skeleton)
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"The body is not valid JSON: {_where(error)}."
    else:
        message = ""
    if message:
        raise Refusal(Code.INVALID_JSON, message)
    if not isinstance(value, dict):
        raise Refusal(Code.INVALID_JSON, "The body must be a JSON object.")
    if skeleton.count(b":") != _count_keys(value):
        _name_repeated(body)
    return value


def _where(error: Exception) -> str:
    """Return where a text stops being JSON, without any of the text."""
    found = re.search(r"byte (\d+)", str(error))
    return f"it breaks at byte {found[1]}" if found else "it ends too early or is not UTF-8"


def _check_depth(skeleton: bytes) -> None:
    depth = 0
    for bracket in skeleton.translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEPTH_MAX:
            raise Refusal(Code.INVALID_VALUE, f"The body is nested deeper than {DEPTH_MAX} levels.")


def _count_keys(value: Any) -> int:
    count = 0
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is dict:
            count += len(item)
            stack.extend([inner for inner in item.values() if type(inner) in (dict, list)])
        else:
            stack.extend([inner for inner in item if type(inner) in (dict, list)])
    return count


def _name_repeated(body: bytes) -> None:
    """Raise the refusal that names the first repeated key."""

    def check(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members = dict(pairs)
        if len(members) != len(pairs):
            names = [name for name, _ in pairs]
            repeated = next(name for name in names if names.count(name) > 1)
            shown = repeated if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", repeated) else None
            raise Refusal(Code.DUPLICATE_PARAMETER, f"{shown or 'A key'} is given twice.", param=shown)
        return members

    json.loads(body, object_pairs_hook=check)
    raise Refusal(Code.INVALID_JSON, "The body is not valid JSON.")
