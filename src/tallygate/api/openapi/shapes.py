"""The words in which JSON is described (JSON Schema 2020-12), a few of them, each as a function.

What may not live here: any fact about what we ask or answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Schema = dict[str, Any]

_NAMED: Final = "#/components/schemas/"


def text(words: str = "", **more: Any) -> Schema:
    """Return the shape of a string."""
    return _told({"type": "string", **more}, words)


def integer(words: str = "", **more: Any) -> Schema:
    """Return the shape of a whole number."""
    return _told({"type": "integer", **more}, words)


def number(words: str = "", **more: Any) -> Schema:
    """Return the shape of any number."""
    return _told({"type": "number", **more}, words)


def flag(words: str = "") -> Schema:
    """Return the shape of true or false."""
    return _told({"type": "boolean"}, words)


def only(value: object, words: str = "") -> Schema:
    """Return the shape of one value."""
    return _told({"const": value}, words)


def one_of_texts(values: Iterable[str], words: str = "") -> Schema:
    """Return the shape of one of some strings."""
    return text(words, enum=list(values))


def listing(items: Schema, words: str = "", **more: Any) -> Schema:
    """Return the shape of an array."""
    return _told({"type": "array", "items": items, **more}, words)


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, words: str = "") -> Schema:
    """Return the shape of an object that has these members and no others."""
    shape = {"type": "object", "properties": {**required, **(optional or {})}, "additionalProperties": False}
    if required:
        shape["required"] = list(required)
    return _told(shape, words)


def mapping(values: Schema, **more: Any) -> Schema:
    """Return the shape of an object with any names and values of one shape."""
    return {"type": "object", "additionalProperties": values, **more}


def open_record(
    required: Mapping[str, Schema], words: str = "", optional: Mapping[str, Schema] | None = None
) -> Schema:
    """Return the shape of an object that has these members, and others that somebody else decides on."""
    return {**record(required, optional, words), "additionalProperties": True}


def maybe(shape: Schema) -> Schema:
    """Return a shape, or null."""
    words = shape.get("description", "")
    bare = {name: value for name, value in shape.items() if name != "description"}
    if set(bare) == {"type"}:
        return _told({"type": [bare["type"], "null"]}, words)
    return _told({"anyOf": [bare, {"type": "null"}]}, words)


def ref(name: str) -> Schema:
    """Return the shape that stands in the document under a name."""
    return {"$ref": _NAMED + name}


def name_of(shape: Schema) -> str | None:
    """Return the name under which a shape stands in the document, None for one that stands by itself."""
    target = shape.get("$ref")
    return target.removeprefix(_NAMED) if isinstance(target, str) else None


def _told(shape: Schema, words: str) -> Schema:
    return {**shape, "description": words} if words else shape
