"""Over two hundred bodies that no client means, each with the code of its refusal, though all come with a good key."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING

from tests.relay.world import MODEL, chat_body

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20
GOOD = chat_body()
NOT_JSON, VALUE, TWICE, UNKNOWN, UNSUPPORTED, TOO_LARGE, NO_MODEL = (
    "invalid_json",
    "invalid_value",
    "duplicate_parameter",
    "unknown_parameter",
    "unsupported_parameter",
    "request_too_large",
    "model_not_found",
)


def bodies() -> Iterator[tuple[str, bytes, str]]:
    """Yield each body with a name and the code that it must be refused with."""
    yield from ((f"not JSON: {text[:24]!r}", text, NOT_JSON) for text in _no_json())
    yield from ((f"cut off at {end}", GOOD[:end], NOT_JSON) for end in range(0, len(GOOD), 5))
    yield from ((f"not an object: {text!r}", text, NOT_JSON) for text in (b"null", b"[]", b'"x"', b"1", b"[{}]"))
    yield from ((f"too deep: {name}", text, VALUE) for name, text in _too_deep())
    yield from ((f"twice: {name}", text, TWICE) for name, text in _twice())
    yield from ((f"no parameter: {name}", chat_body(**{name: 1}), UNKNOWN) for name in NO_PARAMETERS)
    yield from ((f"never offered: {name}", chat_body(**{name: 1}), UNSUPPORTED) for name in NEVER_OFFERED)
    for name, values in WRONG_VALUES.items():
        yield from ((f"{name}={value[:30]}", _with(name, value), VALUE) for value in values)
    yield from ((f"messages: {text[:40]}", _with("messages", text), VALUE) for text in MESSAGES)
    for name in COUNTS:
        yield from ((f"{name}={value[:30]}", _with(name, value), NOT_JSON) for value in OUT_OF_RANGE)
    for name in ("image_url", "input_audio", "video", "file", "images"):
        yield f"a message with {name}", _message(**{name: 1}), VALUE
    yield from ((f"a model named {name[:20]!r}", chat_body(model=name), NO_MODEL) for name in MODELS)
    yield "10 MiB and one byte", _long(10 * MIB + 1), TOO_LARGE
    yield "16 MiB", _long(16 * MIB), TOO_LARGE


def _no_json() -> tuple[bytes, ...]:
    encoded = GOOD.decode()
    return (
        *(b" ", b"\0", b"\0" * 5000, b"}", b"]", b'"', b"{}{}", b"{},", b"nul", b"True", b"undefined", b"NaN"),
        *(b"{" * 1000, b"[" * 31, b'{"a":' * 20, b'{"a"}', b"{1:2}", b'{"a":}', b'{"a":1,}', b"{,}", b"{'a':1}"),
        *(
            b'{"n":%s}' % number
            for number in (b"NaN", b"-Infinity", b"Infinity", b"01", b"+1", b".5", b"1.", b"0x1", b"1e")
        ),
        *(
            b'{"n":"%s"}' % text
            for text in (b"\\x41", b"\\u12", b"\\ud800\\u12", b"\\", b"\n", b"\x01", b"\xff", b"\xc0\xaf")
        ),
        *(b'{"n":"%s"}' % text for text in (b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80")),
        b"\xef\xbb\xbf" + GOOD,
        *(encoded.encode(name) for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp500")),
        *(gzip.compress(GOOD, mtime=0), zlib.compress(GOOD), b"PK\3\4" + GOOD, b"\x89PNG\r\n\x1a\n", b"%PDF-1.7"),
        *(GOOD + b"\0", GOOD + GOOD, GOOD + b"x", b"/* a */" + GOOD, b"// a\n" + GOOD, b"data: " + GOOD, b"[" + GOOD),
        *(b"model=x&messages=y", b"<model>x</model>", b"model: x\nmessages: []\n", b"\x82\xa5model\xa1x", b"#!/bin/sh"),
        *(b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--", b"' OR '1'='1", b"'; DROP TABLE entries; --"),
        *(
            b"{{7*7}}",
            b"${jndi:ldap://x}",
            b"GET /admin/v1/accounts HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\r\n\r\n",
            b"\x16\x03\x01",
        ),
        b'{"n":1e%s}' % (b"9" * 400),
        b'{"n":"' + b"a" * MIB,
    )


def _too_deep() -> Iterator[tuple[str, bytes]]:
    for depth in (33, 100, 900, 5000, 200_000):
        yield f"{depth} arrays", _with("metadata", "[" * depth + "]" * depth)
        yield f"{depth} objects", _with("metadata", '{"a":' * depth + "1" + "}" * depth)
    yield "arrays in a message", _with("messages", "[" * 40 + "]" * 40)
    yield "mixed", _with("tools", '[{"a":' * 20 + "1" + "}]" * 20)


def _twice() -> Iterator[tuple[str, bytes]]:
    for name in ("model", "messages", "n", "max_tokens", "stream", "temperature", "tools", "user", "seed", "made_up"):
        yield name, GOOD[:-1] + f', "{name}": 1, "{name}": 1}}'.encode()
    yield "model, escaped", GOOD[:-1] + b', "m\\u006fdel": "x"}'
    yield "in a message", _with("messages", '[{"role": "user", "content": "a", "content": "b"}]')
    yield "deep inside", _with("metadata", '{"a": [{"b": {"c": 1, "c": 2}}]}')
    yield "the empty key", _with("metadata", '{"": 1, "": 2}')
    yield "in extra_body", GOOD[:-1] + b', "extra_body": {"model": "x"}}'
    yield "a hundred thousand times", GOOD[:-1] + b', "user": 1' * 100_000 + b"}"


NO_PARAMETERS = (
    *(
        "Model",
        "MESSAGES",
        "N",
        "maxTokens",
        "max-tokens",
        "max_tokens ",
        " n",
        "n\0",
        "stream\n",
        "__proto__",
        "$where",
    ),
    *(
        "constructor",
        "input",
        "suffix",
        "store",
        "reasoning",
        "priority",
    ),
    *("user_id", "billing", "total_cost_usd", "x" * 100_000, "ключ", "n\u200b", "\u202e", "'; DROP TABLE holds; --"),
)
NEVER_OFFERED = (
    *("min_tokens", "best_of", "ignore_eos", "use_beam_search", "prompt_logprobs", "documents", "echo", "functions"),
    *("prompt", "modalities", "audio", "service_tier"),
    *(
        "chat_template",
        "chat_template_kwargs",
        "guided_json",
        "guided_regex",
        "structured_outputs",
        "allowed_token_ids",
    ),
)
NO_COUNTS = (
    *("0", "-1", "1.5", '"1"', "true", "[]", "{}", "[1]", '""', "1e308", "-1e308", "2147483648"),
    *("9223372036854775808", "18446744073709551617", "-9223372036854775809", "1" + "0" * 4000),
)
OUT_OF_RANGE = ("1e400", "-1e400", "1e" + "9" * 400, "1" + "0" * 100_000)
COUNTS = ("n", "max_tokens", "max_completion_tokens")
WRONG_VALUES = {
    **dict.fromkeys(COUNTS, NO_COUNTS),
    "n": (*NO_COUNTS, "6", "100", "1000000"),
    "stream": ("1", '"true"', "[]", "{}", '""', "0.0"),
    "model": ("1", "true", "[]", "{}", "null", '""', f'"{"m" * 100_000}"'),
    "stream_options": ("1", "[]", '"x"', "true"),
    "extra_body": ("1", "[]", '"x"', "true"),
}


def _user(content: str) -> str:
    """Return one message of a user with this text as its content."""
    return '[{"role": "user", "content": ' + content + "}]"


MESSAGES = (
    *("null", "{}", '"x"', "1", "[]", "[1]", "[null]", "[[]]", '["x"]', "[{}]", '[{"content": "x"}]', "[true]"),
    *(_user(content) for content in ("1", "true", "{}", "[1]", '["x"]', "[{}]", "[null]")),
    *(
        '[{"role": ' + role + ', "content": "x"}]'
        for role in ("1", "null", '"root"', '"User"', '""', "[]", '"user\\u0000"')
    ),
    *(_user('[{"type": ' + kind + ', "text": "x"}]') for kind in ("1", "null", '"x"', '"image"')),
    "[" + ", ".join(['{"role": "user", "content": "x"}'] * 2049) + "]",
)
MODELS = (
    "none",
    "../" + MODEL,
    MODEL + "\0",
    MODEL + " ",
    "' OR 1=1 --",
    "\u202e",
    "*",
    "gpt-4o",
    "/v1/models",
    "м" * 50,
)


def _with(name: str, value: str) -> bytes:
    """Return a good body in which one member is this text."""
    members = {key: json.dumps(known) for key, known in json.loads(GOOD).items()}
    if name == "max_completion_tokens":
        del members["max_tokens"]
    return ("{" + ", ".join(f'"{key}": {text}' for key, text in {**members, name: value}.items()) + "}").encode()


def _message(**members: object) -> bytes:
    return chat_body(messages=[{"role": "user", "content": "x", **members}])


def _long(size: int) -> bytes:
    body = chat_body(user="")
    return body.replace(b'"user": ""', b'"user": "' + b"a" * (size - len(body)) + b'"')
