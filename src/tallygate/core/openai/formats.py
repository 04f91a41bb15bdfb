"""`response_format`, and the bounds of JSON schemas, which tools have as well.

Known weak spot: a schema is bounded, not understood. The network's own gateway also refuses `$ref`, more than 16
branches and patterns that do not compile, at no cost; its nodes take them, so they pass here.
"""

from __future__ import annotations

from typing import Final

from tallygate.core.errors import Code, Refusal
from tallygate.core.openai.demands import check_flag, check_name, check_text, invalid

SCHEMA_DEPTH_MAX: Final = 16
"""The network's own limit."""

TOOL_NODES_MAX: Final = 256
"""The network's own limit on the schema of a tool; objects and arrays are counted."""

FORMAT_NODES_MAX: Final = 128
"""The network's own limit on the schema of an answer."""

_CONTAINERS: Final = frozenset({dict, list})

TEXT: Final = "text"
JSON_OBJECT: Final = "json_object"
JSON_SCHEMA: Final = "json_schema"


def check_response_format(value: object) -> str:
    """Return the kind of answer that is asked for."""
    if not isinstance(value, dict):
        raise invalid("response_format", "an object with a type")
    kind = value.get("type")
    if kind not in (TEXT, JSON_OBJECT, JSON_SCHEMA) or not isinstance(kind, str):
        raise invalid("response_format.type", f"{TEXT}, {JSON_OBJECT} or {JSON_SCHEMA}")
    if kind == JSON_SCHEMA:
        path = "response_format.json_schema"
        wrapper = value.get("json_schema")
        if not isinstance(wrapper, dict):
            raise invalid(path, "an object with a name and a schema")
        check_name(wrapper, path)
        check_text(wrapper, "description", path)
        check_flag(wrapper, "strict", path)
        schema = wrapper.get("schema")
        if not isinstance(schema, dict):
            raise invalid(f"{path}.schema", "a JSON schema, which is an object")
        bound_schema(schema, f"{path}.schema", FORMAT_NODES_MAX)
    return kind


def bound_schema(schema: dict[str, object], path: str, nodes_max: int) -> None:
    """Refuse a schema that is nested too deep or has too many nodes for the network."""
    level: list[object] = [schema]
    nodes = depth = 0
    while level:
        depth += 1
        nodes += len(level)
        if depth > SCHEMA_DEPTH_MAX or nodes > nodes_max:
            message = (
                f"{path} is too large for the network: at most {SCHEMA_DEPTH_MAX} levels and {nodes_max} objects and "
                "arrays."
            )
            raise Refusal(Code.INVALID_VALUE, message, param=path)
        below: list[object] = []
        for node in level:
            items = node.values() if isinstance(node, dict) else node
            below += [item for item in items if type(item) in _CONTAINERS]  # type: ignore[attr-defined]
        level = below
