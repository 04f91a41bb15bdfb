"""Makes a small value that fits a JSON schema, for tool calls and structured answers.

Best effort: it follows types, enums, bounds, required properties, choices and local references; it
does not check patterns. It never fails: what it does not understand becomes a plain text.
"""

from typing import Any

from tallygate.devnet.calls import JsonObject

DEPTH_LIMIT = 8  # a schema may refer to itself
LENGTH_LIMIT = 64  # no answer grows with a schema's minLength or minItems
FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00",
    "email": "ada@example.com",
    "uri": "https://example.com/",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
}


def build_example(schema: JsonObject) -> Any:
    """Makes a value that fits a schema."""
    return _build(schema, schema, "example", 0)


def _build(schema: object, root: JsonObject, name: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > DEPTH_LIMIT:
        return name
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    if isinstance(schema.get("$ref"), str):
        return _build(_resolve(schema["$ref"], root), root, name, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(key), list) and schema[key]:
            return _build(schema[key][0], root, name, depth + 1)
    return _build_typed(schema, root, name, depth)


def _build_typed(schema: JsonObject, root: JsonObject, name: str, depth: int) -> Any:
    match _read_type(schema):
        case "object":
            return _build_object(schema, root, depth)
        case "array":
            count = min(max(1, _read_int(schema, "minItems", 1)), LENGTH_LIMIT)
            return [_build(schema.get("items"), root, name, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return _build_number(schema)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _build_text(schema, name)


def _read_type(schema: JsonObject) -> object:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((item for item in kind if item != "null"), "null")
    return kind or ("object" if "properties" in schema else "string")


def _build_object(schema: JsonObject, root: JsonObject, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    required = schema.get("required")
    names = required if isinstance(required, list) and required else list(properties)
    return {name: _build(properties.get(name, {}), root, name, depth + 1) for name in names if isinstance(name, str)}


def _build_number(schema: JsonObject) -> int:
    high = _read_int(schema, "maximum", _read_int(schema, "exclusiveMaximum", 2**53) - 1)
    low = _read_int(schema, "minimum", _read_int(schema, "exclusiveMinimum", 0) + 1)
    step = max(1, _read_int(schema, "multipleOf", 1))
    rounded_up = -(-low // step) * step
    return rounded_up if rounded_up <= high else high // step * step


def _build_text(schema: JsonObject, name: str) -> str:
    known = FORMATS.get(str(schema.get("format")))
    if known:
        return known
    shortest = min(_read_int(schema, "minLength", 0), LENGTH_LIMIT)
    longest = _read_int(schema, "maxLength", LENGTH_LIMIT)
    return name.replace("_", " ").ljust(shortest, ".")[: max(0, longest)]


def _read_int(schema: JsonObject, key: str, otherwise: int) -> int:
    value = schema.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 2**53:
        return otherwise
    return int(value)


def _resolve(reference: str, root: JsonObject) -> object:
    found: object = root
    for step in reference.removeprefix("#").split("/")[1:]:
        found = found.get(step) if isinstance(found, dict) else None
    return found
