"""Questions about a JSON text that a decoder does not answer: is any key repeated, is it nested too deep?

Decoders keep the last of two equal keys without a word, and different decoders keep different ones; so a repeated
key is the classic way to show one request to a gateway and another to the model behind it. The check works on the
text with its strings taken out, where every colon belongs to one key: if there are more colons than keys in the
decoded value, some key came twice. Only then is the slow way gone to find out which.

The text is decoded first, so that all else works on valid JSON only. Everything here takes time linear in the text,
whatever the text is: a caller chooses it.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from tallygate.core.errors import Code, Refusal

DEPTH_MAX: Final = 32
"""The network's own limit on nesting."""

BRACKETS_MAX: Final = 500_000
"""How many objects and arrays there may be: ten megabytes of empty ones take seconds and hundreds of megabytes to take
apart. Those in strings count too, since telling them apart costs as much; no model reads a text of so many."""

_NAMEABLE = re.compile(r"[A-Za-z0-9_.-]{1,40}", re.ASCII)
"""Longer than any parameter of any engine, shorter than any API key or private key."""

_CONTAINERS: Final = frozenset({dict, list})
_find_tokens = re.compile(rb'("(?:[^"\\]++|\\.)*+")(?:[ \t\r\n]*+(:))?|([{}])', re.DOTALL).finditer
_find_ends = re.compile(rb'"[ \t\r\n]*+:').findall
_decode = msgspec.json.Decoder().decode


def check_shape(body: bytes) -> Any:
    """Return the decoded value of a JSON object in which no key is repeated, at any depth.

    Raises:
        Refusal: The text is not JSON (NaN and Infinity are not), not an object, nested deeper than `DEPTH_MAX`,
            has more than `BRACKETS_MAX` opening brackets, or repeats a key, which the refusal names.
    """
    if body.count(b"{") + body.count(b"[") > BRACKETS_MAX:
        raise Refusal(Code.INVALID_VALUE, f"The body has more than {BRACKETS_MAX} opening brackets.")
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        failure = Refusal(Code.INVALID_JSON, f"The body is not valid JSON: {_where(error)}.")
    except RecursionError:
        failure = _too_deep()
    else:
        if not isinstance(value, dict):
            raise Refusal(Code.INVALID_JSON, "The body must be a JSON object.")
        keys = _count_keys(value)
        # Every key is followed by a colon, and in most texts nothing in a string looks like that. These counts can be
        # too high, never too low, and are cheaper than taking the strings out.
        if body.count(b":") != keys and len(_find_ends(body)) != keys and _count_colons(body) != keys:
            raise _repeated(body)
        return value
    try:
        raise failure  # outside of `except`, so that the decoder's error, which may hold the text, is not its context
    finally:
        del failure  # it knows this frame, and so the whole text, which would stay until garbage is collected


def nameable(name: str) -> str | None:
    """Return a caller's key if it can be a parameter's name, or None: it may be text, or a secret in a wrong place."""
    return name if _NAMEABLE.fullmatch(name) else None


def _where(error: Exception) -> str:
    """Return where a text stops being JSON, without any of the text."""
    said = str(error)
    if found := re.search(r"\(byte (\d+)\)", said):
        return f"it breaks at byte {found[1]}"
    if "out of range" in said:
        return "a number is out of range"
    return "it ends too early or is not UTF-8"


def _too_deep() -> Refusal:
    return Refusal(Code.INVALID_VALUE, f"The body is nested deeper than {DEPTH_MAX} levels.")


def _count_colons(body: bytes) -> int:
    """Return how many colons of a valid JSON text are outside of strings."""
    if b"\\" in body and b'\\"' in body:
        # A run of backslashes is pairs from the left, so after this every quote begins or ends a string.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(body.split(b'"')[::2]).count(b":")


def _count_keys(value: Any) -> int:
    """Return how many keys a decoded value has, level by level; raises `Refusal` when there are too many levels."""
    count = depth = 0
    level = [value]
    while level:
        depth += 1
        if depth > DEPTH_MAX:
            raise _too_deep()
        below: list[Any] = []
        for item in level:
            if type(item) is dict:
                count += len(item)
                below += [inner for inner in item.values() if type(inner) in _CONTAINERS]
            else:
                below += [inner for inner in item if type(inner) in _CONTAINERS]
        level = below
    return count


def _repeated(body: bytes) -> Refusal:
    """Return the refusal that names the first key that comes again in its object."""
    name = None
    open_objects: list[set[bytes]] = []
    # One token after the other, since what a decoder would make of the whole text takes many times its length.
    for token in _find_tokens(body):
        text, colon, brace = token.groups()
        if brace == b"{":
            open_objects.append(set())
        elif brace == b"}":
            open_objects.pop()
        elif colon:
            spelled = _decode(text).encode() if b"\\" in text else text[1:-1]
            if spelled in open_objects[-1]:
                name = nameable(spelled.decode())
                break
            open_objects[-1].add(spelled)
    return Refusal(Code.DUPLICATE_PARAMETER, f"{name or 'A key'} is given twice.", param=name)
