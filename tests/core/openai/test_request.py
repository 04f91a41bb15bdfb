"""What a caller may ask: every bad body has its code and its field, and what passes is copied byte by byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.errors import Code, Refusal
from tallygate.core.openai import CHOICES_MAX, COPIED, KNOWN, MAX_TOKENS_MAX, REFUSED, parse_chat_request
from tests.core.openai.bodies import MESSAGES, SECRET, body, parse, refusal


def test_plain_request() -> None:
    """A request with nothing but a model and a message asks for one unstreamed, unbounded choice."""
    request = parse()
    assert (request.model, request.max_tokens, request.choices) == ("m", None, 1)
    assert (request.stream, request.include_usage) == (False, False)
    assert (request.message_count, request.has_tools, request.prompt_bytes) == (1, False, len(MESSAGES))
    assert {name: bytes(raw).decode() for name, raw in request.members.items()} == {"messages": MESSAGES}


BAD_FIELDS = [
    # max_tokens and its twin
    *[('"max_tokens":' + value, Code.INVALID_VALUE, "max_tokens") for value in (
        "0", "-1", "18446744073709551616", "9223372036854775808", "2147483648", '"5"', "1.5", "5.0", "1e1", "true",
        "false", "[]", "{}", "[5]", "-0", "9" * 400, '""',
    )],
    *[('"max_completion_tokens":' + value, Code.INVALID_VALUE, "max_completion_tokens") for value in (
        "0", "-1", "18446744073709551616", '"5"', "1.5", "true",
    )],
    ('"max_tokens":5,"max_completion_tokens":6', Code.INVALID_VALUE, "max_completion_tokens"),
    ('"max_tokens":5,"max_tokens":5', Code.DUPLICATE_PARAMETER, "max_tokens"),
    ('"max_tokens":5,"max\\u005ftokens":5', Code.DUPLICATE_PARAMETER, "max_tokens"),
    ('"MAX_TOKENS":5', Code.UNKNOWN_PARAMETER, "MAX_TOKENS"),
    ('"max_tokens":5,"Max_Tokens":5', Code.UNKNOWN_PARAMETER, "Max_Tokens"),
    ('"max_to\u212aens":5', Code.UNKNOWN_PARAMETER, None),
    ('"max_tokens":5,"extra_body":{"max_tokens":5}', Code.DUPLICATE_PARAMETER, "extra_body.max_tokens"),
    ('"extra_body":{"max_tokens":5},"max_tokens":5', Code.DUPLICATE_PARAMETER, "extra_body.max_tokens"),
    ('"max_tokens":null,"extra_body":{"max_tokens":5}', Code.DUPLICATE_PARAMETER, "extra_body.max_tokens"),
    ('"max_tokens":5,"extra_body":{"MAX_TOKENS":9}', Code.UNKNOWN_PARAMETER, "MAX_TOKENS"),
    ('"max_tokens":5,"extra_body":{"max_completion_tokens":6}', Code.INVALID_VALUE, "max_completion_tokens"),
    ('"extra_body":{"max_tokens":0}', Code.INVALID_VALUE, "max_tokens"),
    # n
    *[('"n":' + value, Code.INVALID_VALUE, "n") for value in (
        "0", "-1", "6", "18446744073709551616", "18446744073709551617", "true", "1.0", '"1"', "[1]", "{}",
    )],
    ('"N":1', Code.UNKNOWN_PARAMETER, "N"),
    # stream and stream_options
    *[('"stream":' + value, Code.INVALID_VALUE, "stream") for value in ("1", "0", '"true"', "[]", "{}")],
    *[('"stream":true,"stream_options":' + value, Code.INVALID_VALUE, "stream_options") for value in (
        "true", "[]", '"x"', "1",
    )],
    ('"stream_options":{"include_usage":true}', Code.INVALID_VALUE, "stream_options"),
    ('"stream":false,"stream_options":{}', Code.INVALID_VALUE, "stream_options"),
    ('"stream":true,"stream_options":{"include_usage":1}', Code.INVALID_VALUE, "stream_options.include_usage"),
    ('"stream":true,"stream_options":{"include_usage":"y"}', Code.INVALID_VALUE, "stream_options.include_usage"),
    ('"stream":true,"stream_options":{"Include_Usage":true}', Code.UNKNOWN_PARAMETER, "stream_options.Include_Usage"),
    ('"stream":true,"stream_options":{"x":1}', Code.UNKNOWN_PARAMETER, "stream_options.x"),
    # extra_body
    *[('"extra_body":' + value, Code.INVALID_VALUE, "extra_body") for value in ("[]", '"x"', "1", "true", '[{"n":1}]')],
    ('"extra_body":{"extra_body":{}}', Code.UNKNOWN_PARAMETER, "extra_body.extra_body"),
    ('"extra_body":{"extra_body":{"best_of":5}}', Code.UNKNOWN_PARAMETER, "extra_body.extra_body"),
    ('"extra_body":{"seed":1,"seed":2}', Code.DUPLICATE_PARAMETER, "seed"),
    ('"extra_body":{"model":"other"}', Code.DUPLICATE_PARAMETER, "extra_body.model"),
    ('"extra_body":{"messages":[]}', Code.DUPLICATE_PARAMETER, "extra_body.messages"),
    ('"extra_body":{"best_of":5}', Code.UNSUPPORTED_PARAMETER, "best_of"),
    ('"extra\\u005fbody":{"best_of":5}', Code.UNSUPPORTED_PARAMETER, "best_of"),
    ('"extra_body":{"be\\u0073t_of":5}', Code.UNSUPPORTED_PARAMETER, "best_of"),
    ('"extra_body":{},"extra_body":{}', Code.DUPLICATE_PARAMETER, "extra_body"),
    ('"EXTRA_BODY":{"best_of":5}', Code.UNKNOWN_PARAMETER, "EXTRA_BODY"),
    ('"tools":[{"type":"function","function":{"name":"f","name":"g"}}]', Code.DUPLICATE_PARAMETER, "name"),
    # what is not known, or never passes
    ('"whatever":1', Code.UNKNOWN_PARAMETER, "whatever"),
    ('"whatever":null', Code.UNKNOWN_PARAMETER, "whatever"),
    ('"":1', Code.UNKNOWN_PARAMETER, None),
    ('"chat_template":"x"', Code.UNSUPPORTED_PARAMETER, "chat_template"),
    ('"chat_template_kwargs":{}', Code.UNSUPPORTED_PARAMETER, "chat_template_kwargs"),
    *[(f'"{name}":1', Code.UNSUPPORTED_PARAMETER, name) for name in REFUSED],
    *[(f'"{name.upper()}":1', Code.UNKNOWN_PARAMETER, name.upper()) for name in sorted(KNOWN)],
    *[(f'"{name.upper()}":1', Code.UNKNOWN_PARAMETER, name.upper()) for name in ("best_of", "min_tokens")],
]  # fmt: skip


@pytest.mark.parametrize(("members", "code", "param"), BAD_FIELDS)
def test_bad_field(members: str, code: Code, param: str | None) -> None:
    """A bad member is refused with its code, and the refusal names it."""
    error = refusal(body(members))
    assert (error.code, error.param) == (code, param)
    assert param is None or param.removeprefix("extra_body.") in error.message or "stream_options" in error.message


@pytest.mark.parametrize("model", ["null", '""', "1", "[]", "{}", "true", '"' + "m" * 257 + '"'])
def test_bad_model(model: str) -> None:
    """A model that is no id is refused before anything is looked up."""
    error = refusal(body(base=f'"model":{model},"messages":{MESSAGES}'))
    assert (error.code, error.param) == (Code.INVALID_VALUE, "model")


@pytest.mark.parametrize(("base", "param"), [(f'"messages":{MESSAGES}', "model"), ('"model":"m"', "messages")])
def test_missing_field(base: str, param: str) -> None:
    """A model and messages are asked for by name."""
    assert refusal(body(base=base)).param == param


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ("", None),
        ('"max_tokens":null', None),
        ('"max_tokens":1', 1),
        (f'"max_tokens":{MAX_TOKENS_MAX}', MAX_TOKENS_MAX),
        ('"max_completion_tokens":7', 7),
        ('"max_tokens":7,"max_completion_tokens":7', 7),
        ('"max_tokens":7,"max_completion_tokens":null', 7),
        ('"max_tokens":null,"max_completion_tokens":7', 7),
        ('"extra_body":{"max_tokens":7}', 7),
        ('"max_tokens":7,"extra_body":{"max_completion_tokens":7}', 7),
        ('"extra_body":null', None),
        ('"extra_body":{}', None),
    ],
)
def test_max_tokens(members: str, expected: int | None) -> None:
    """The bound may be said in either field, in both if they agree, and at top level or in `extra_body`."""
    assert parse(*([members] if members else [])).max_tokens == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [("null", False), ("{}", False), ('{"include_usage":null}', False), ('{"include_usage":false}', False),
     ('{"include_usage":true}', True)],
)  # fmt: skip
def test_stream_options(options: str, expected: bool) -> None:
    """Only `include_usage: true` asks for the extra chunk."""
    request = parse('"stream":true', f'"stream_options":{options}')
    assert (request.stream, request.include_usage) == (True, expected)


def test_null_is_absent() -> None:
    """A null of a known parameter is as if it were not there, and is not sent on."""
    names = sorted(KNOWN - {"messages", "model"})
    request, plain = parse(*(f'"{name}":null' for name in names)), parse()
    assert request.members.keys() == plain.members.keys() == {"messages"}
    assert (request.max_tokens, request.choices, request.stream) == (None, 1, False)
    assert request.prompt_bytes == plain.prompt_bytes


@pytest.mark.parametrize("count", range(1, CHOICES_MAX + 1))
def test_choices(count: int) -> None:
    """One to five choices can be asked for."""
    assert parse(f'"n":{count}').choices == count


RAW = [
    ('"seed"', "-100"),
    ('"temperature"', "0.70"),
    ('"temperature"', "1e-7"),
    ('"top_p"', "1.0e+0"),
    ('"user"', '"\\u00e9\\/\\ud83c\\udf0d é"'),
    ('"metadata"', '{ "a" :\t"1" ,\r\n "b":"2"  }'),
    ('"stop"', '["\\n", "</s>"]'),
    ('"logit_bias"', '{"50256":-100}'),
    ('"response_format"', '{"type":"json_schema","json_schema":{"name":"x","schema":{"\\u0061":1}}}'),
    ('"tools"', '[{"type":"function","function":{"name":"f","parameters":{}}}]'),
    ('"thinking"', '{"type":"enabled","more":123456789012345678901234567890}'),
]


@pytest.mark.parametrize(("name", "value"), RAW)
def test_values_are_copied(name: str, value: str) -> None:
    """A value that is not ours is kept in the very bytes that came, also from `extra_body`."""
    for members in (f"{name} : {value}\n", f'"extra_body":{{{name}: {value} }}'):
        assert bytes(parse(members).members[json.loads(name)]).decode() == value


def test_tools_count() -> None:
    """Tools are part of the prompt, and an empty list of them is none."""
    tools = '[{"type":"function","function":{"name":"f"}}]'
    with_tools, without = parse(f'"tools":{tools}'), parse('"tools":[]')
    assert (with_tools.has_tools, without.has_tools) == (True, False)
    assert with_tools.prompt_bytes == len(MESSAGES) + len(tools)


@pytest.mark.parametrize(
    "members",
    [
        f'"{SECRET}":1',
        f'"chat_template{SECRET}":1',
        f'"{SECRET}":1,"extra_body":{{"{SECRET}":1}}',
        f'"extra_body":{{"{SECRET}":1}}',
        f'"stream":true,"stream_options":{{"{SECRET}":1}}',
        f'"stream":true,"stream_options":{{"include_usage":"{SECRET}"}}',
        *(f'"{name}":"{SECRET}"' for name in ("n", "max_tokens", "stream", "extra_body")),
        f'"tg-{SECRET.replace(" ", "")}{"a" * 40}":1',
        f'"max_tokens":"{SECRET}","x',
    ],
)
def test_no_text_in_refusals(members: str) -> None:
    """No refusal holds a caller's text, or a key that may be a secret."""
    error = refusal(body(members))
    assert "zebra7f3a" not in f"{error.message} {error.param} {error.metadata} {error!r}"


def test_no_message_in_refusals() -> None:
    """No refusal of messages holds any of them, nor does one of the model hold the model."""
    for member in ("role", "type", "x y"):
        message = f'{{"role":"user","content":[{{"{member}":"{SECRET}"}}]}}'
        assert SECRET not in str(refusal(body(base=f'"model":"m","messages":[{message}]')))
    assert SECRET not in str(refusal(body(base=f'"model":["{SECRET}"],"messages":{MESSAGES}')))


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.sampled_from(sorted(KNOWN | {"x", "N", "role", "type"})), JSON, max_size=6)
PARTS = st.dictionaries(st.sampled_from(["type", "text", "image_url"]), JSON | st.just("text"), max_size=3)
LOOSE = st.dictionaries(
    st.sampled_from(["role", "content", "name"]), JSON | st.just("user") | st.lists(PARTS, max_size=2), max_size=3
)


@given(st.binary(max_size=80))
def test_any_bytes(text: bytes) -> None:
    """Any bytes at all are refused, with a code that is the caller's fault."""
    assert refusal(text).code in (Code.INVALID_JSON, Code.INVALID_VALUE, Code.DUPLICATE_PARAMETER)


@given(FIELDS, st.lists(LOOSE, max_size=2), st.booleans())
def test_any_json(fields: dict[str, Any], messages: list[Any], is_plain: bool) -> None:
    """Any JSON at all either is a request, whose members are all known, or is refused."""
    plain: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    document = {**fields, **(plain if is_plain else {"messages": messages})}
    try:
        request = parse_chat_request(json.dumps(document).encode())
    except Refusal:
        return
    assert request.members.keys() <= COPIED
    assert 1 <= request.choices <= CHOICES_MAX
    assert request.max_tokens is None or 1 <= request.max_tokens <= MAX_TOKENS_MAX
