"""The API reference: the callers' OpenAPI document for people, and what such a document has no word for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tallygate.api.headers import HEADERS
from tallygate.api.openapi.operations import JSON, SCHEMAS
from tallygate.api.openapi.shapes import name_of
from tallygate.api.pages.frame import REFERENCE, frame
from tallygate.api.pages.markup import Markup, prose, sample, table, tag
from tallygate.api.pages.recordings import RECORDED, read_recording
from tallygate.api.problems import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tallygate.api.http import Response
    from tallygate.api.openapi.shapes import Schema


def show_reference(document: Mapping[str, Any]) -> Response:
    """Return the page."""
    operations = [
        (f"{method.upper()} {path}", told)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    ]
    contents = [
        tag("li", tag("a", tag("code", name), href=f"#{told['operationId']}"), f" {told['summary']}")
        for name, told in operations
    ]
    more = (("headers", "Headers"), ("recordings", "Recorded answers"), ("errors", "Errors"))
    return frame(
        REFERENCE,
        tag("ul", *contents, *(tag("li", tag("a", words, href=f"#{name}")) for name, words in more)),
        tag("h2", "Routes"),
        *(piece for name, told in operations for piece in _show_operation(name, told)),
        tag("h2", "Headers", id="headers"),
        _show_headers(),
        tag("h2", "Recorded answers", id="recordings"),
        *_show_recordings(),
        tag("h2", "Errors", id="errors"),
        tag("p", prose("Branch on the status, then on `error.code`, never on the message.")),
        _show_errors(),
    )


def _show_operation(name: str, told: Mapping[str, Any]) -> Iterator[Markup]:
    yield tag("h3", tag("code", name), id=told["operationId"])
    yield tag("p", prose(f"{told['summary']} {_show_access(told['security'])}"))
    if "requestBody" in told:
        yield _show_members(told["requestBody"]["content"][JSON]["schema"])
    if rows := [_show_parameter(part) for part in told.get("parameters", ())]:
        yield table("Parameters", ("name", "where", "what it may be"), rows)
    for status, answer in told["responses"].items():
        if status < "300":
            for media, content in answer["content"].items():
                yield tag("p", prose(f"Answer {status}, `{media}`:"))
                yield sample(outline(content["schema"]))
    codes = [(status, prose(answer["description"])) for status, answer in told["responses"].items() if status >= "300"]
    yield tag("details", tag("summary", "Why it may refuse"), table("Refusals", ("status", "code"), codes))


def _show_access(security: list[dict[str, list[str]]]) -> str:
    if not security:
        return "It needs no key."
    if {} in security:
        return "It needs no key; one that is sent has to be good."
    return "It needs the metrics' key." if "metrics_key" in security[0] else "It needs an API key."


def _show_members(schema: Schema) -> Markup:
    shape = SCHEMAS[name_of(schema) or ""] if name_of(schema) else schema
    rows = [(tag("code", name), prose(part.get("description", ""))) for name, part in shape["properties"].items()]
    return table("Members of the body", ("name", "what it may be"), rows)


def _show_parameter(part: Mapping[str, Any]) -> tuple[str, ...]:
    words = part.get("description", "The one that is meant.")
    return tag("code", part["name"]), part["in"], prose(f"{words} {'Required.' if part['required'] else ''}".strip())


def _show_headers() -> Markup:
    rows = [(tag("code", name), prose(header.where), prose(header.what)) for name, header in HEADERS.items()]
    return table("Headers of answers", ("header", "where", "what"), rows)


def _show_recordings() -> Iterator[Markup]:
    for name, words in RECORDED.items():
        yield tag("h3", prose(words), id=name)
        yield sample(read_recording(name))


def _show_errors() -> Markup:
    rows = [
        (
            str(problem.status),
            tag("code", code.value),
            tag("code", problem.type),
            problem.message,
            prose(problem.advice),
        )
        for code, problem in PROBLEMS.items()
    ]
    return table("Errors", ("status", "code", "type", "what it means", "what to do"), rows)


def outline(schema: Schema, margin: str = "") -> str:
    """Return a shape as people write one down: members by name, each with what it is."""
    name = name_of(schema)
    shape = schema if name is None else SCHEMAS[name]
    if "properties" in shape:
        return _outline_members(shape, margin)
    if "items" in shape:
        return f"[{outline(shape['items'], margin)}, …]"
    if "anyOf" in shape:
        return " | ".join(outline(part, margin) for part in shape["anyOf"])
    values = [shape["const"]] if "const" in shape else shape.get("enum")
    kinds = shape.get("type", "anything")
    words = [kinds] if isinstance(kinds, str) else kinds
    return " | ".join(words if values is None else map(json.dumps, values))


def _outline_members(shape: Schema, margin: str) -> str:
    deeper, required = margin + "  ", shape.get("required", ())
    lines = [
        f'{deeper}"{member}"{"" if member in required else "?"}: {outline(part, deeper)}'
        for member, part in shape["properties"].items()
    ]
    if shape.get("additionalProperties") is True:
        lines.append(f"{deeper}…")
    return "{\n" + ",\n".join(lines) + f"\n{margin}}}"
