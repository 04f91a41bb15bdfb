"""Canaries: texts that a caller writes and that must be found nowhere, neither as they are nor as a plain hash."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.relay.world import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Finding(NamedTuple):
    """One trace of a caller's text."""

    place: str
    form: str
    where: str


class Canaries:
    """Makes canaries, one for each place that a caller can fill, so that a finding tells where it came from."""

    def __init__(self) -> None:
        self._texts: dict[str, bytes] = {}

    def __getitem__(self, place: str) -> str:
        """Return the canary of a place; letters and digits only, so that it is a name wherever names are asked for."""
        return self._texts.setdefault(place, f"canary{place}{os.urandom(6).hex()}".encode()).decode()

    def watch(self, place: str, text: bytes) -> bytes:
        """Have a longer text looked for, too, such as a whole body, for the sake of its hashes."""
        self._texts[place] = text
        return text

    def forms(self, but: Iterable[str] = ()) -> Iterator[tuple[str, str, bytes]]:
        """Return every form in which a canary could be kept: place, form, bytes."""
        for place, text in self._texts.items():
            if place not in but:
                yield from ((place, form, data) for form, data in _forms_of(text))

    def find(self, where: str, data: bytes, but: Iterable[str] = ()) -> list[Finding]:
        """Return what there is of canaries in some bytes."""
        return [Finding(place, form, where) for place, form, sought in self.forms(but) if sought in data]

    def find_in(self, places: Mapping[str, bytes]) -> list[Finding]:
        """Return what there is of canaries anywhere."""
        return [finding for where, data in places.items() for finding in self.find(where, data)]


def _forms_of(text: bytes) -> Iterator[tuple[str, bytes]]:
    yield "as it is", text
    yield "hex", text.hex().encode()
    yield "base64", base64.b64encode(text).rstrip(b"=")[:-1]
    yield "JSON text", json.dumps(text.decode("latin-1"))[1:-1].encode()
    for algorithm in ("sha256", "sha1", "md5", "blake2b"):
        digest = hashlib.new(algorithm, text).digest()
        yield f"{algorithm} in bytes", digest
        yield f"{algorithm} in hex", digest.hex().encode()
        yield f"{algorithm} in base64", base64.b64encode(digest).rstrip(b"=")[:-1]
        yield f"{algorithm} in base64url", base64.urlsafe_b64encode(digest).rstrip(b"=")[:-1]


def fill_body(canaries: Canaries, **fields: Any) -> bytes:
    """Return a chat request with a canary in every text that it can have."""
    function = {
        "name": canaries["function"],
        "description": canaries["functiondescription"],
        "parameters": {
            "type": "object",
            "properties": {canaries["property"]: {"type": "string", "description": canaries["propertytext"]}},
        },
    }
    call = {"name": canaries["function"], "arguments": json.dumps({canaries["property"]: canaries["argument"]})}
    tool_call = {"id": canaries["callid"], "type": "function", "function": call}
    body = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": canaries["system"]},
            {"role": "user", "content": canaries["prompt"], "name": canaries["username"]},
            {"role": "user", "content": [{"type": "text", "text": canaries["part"]}]},
            {"role": "assistant", "content": None, "tool_calls": [tool_call]},
            {"role": "tool", "tool_call_id": canaries["callid"], "content": canaries["toolresult"]},
            {"role": "assistant", "content": canaries["assistant"]},
            {"role": "user", "content": canaries["question"]},
        ],
        "tools": [{"type": "function", "function": function}],
        "stop": [canaries["stop"]],
        "user": canaries["user"],
        "metadata": {canaries["metadataname"]: canaries["metadatavalue"]},
        "max_tokens": 8,
        **fields,
    }
    return canaries.watch(f"body {len(canaries._texts)}", json.dumps(body).encode())
