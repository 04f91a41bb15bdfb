"""The shape of a JSON text: repeated keys at every depth, nesting, what is no JSON at all."""

from __future__ import annotations

import gc
import json
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallygate.core.errors import Code, Refusal
from tallygate.core.jsontext import BRACKETS_MAX, DEPTH_MAX, check_shape, nameable

SECRET = "zebra7f3a"

# Texts that look like the JSON around them.
TRICKY = st.sampled_from(
    ["", ":", '"', "\\", '\\"', '":', '{"a":1}', "[{", "}]", '\\\\":', "a", "b", "é", "\u2028", "\t"]
)
TEXTS = st.lists(TRICKY, max_size=4).map("".join) | st.text(st.characters(codec="utf-8"), max_size=6)
NAMES = st.sampled_from(["a", "b", "a:", 'a"', "a\\", ""]) | TEXTS
SPACES = st.text(" \t\r\n", max_size=2)
NUMBERS = st.sampled_from(["0", "-0", "1E2", "1.50", "-7", "123456789012345678901234567890"])


@st.composite
def spelled(draw: st.DrawFn, text: str) -> str:
    """Spell a string as JSON, each character plainly or as an escape."""
    letters = []
    for letter in text:
        plain = json.dumps(letter, ensure_ascii=draw(st.booleans()))[1:-1]
        escaped = "".join(f"\\u{ord(unit):04x}" for unit in _utf16(letter))
        letters.append(draw(st.sampled_from([plain, escaped])))
    return f'"{"".join(letters)}"'


def _utf16(letter: str) -> list[str]:
    raw = letter.encode("utf-16-be")
    return [chr(int.from_bytes(raw[i : i + 2], "big")) for i in range(0, len(raw), 2)]


@st.composite
def objects(draw: st.DrawFn, depth: int = 0) -> str:
    """Write a JSON object with any white space, in which keys may repeat."""
    members = []
    for _ in range(draw(st.integers(0, 4))):
        name = draw(spelled(draw(NAMES)))
        members.append(f"{draw(SPACES)}{name}{draw(SPACES)}:{draw(SPACES)}{draw(values(depth + 1))}{draw(SPACES)}")
    return "{" + draw(SPACES) + ",".join(members) + "}"


@st.composite
def values(draw: st.DrawFn, depth: int) -> str:
    """Write any JSON value."""
    kind = draw(st.integers(0, 3 if depth < 4 else 1))
    if kind == 0:
        return draw(NUMBERS | st.sampled_from(["true", "false", "null"]))
    if kind == 1:
        return draw(spelled(draw(TEXTS)))
    if kind == 2:
        return "[" + ",".join(draw(st.lists(values(depth + 1), max_size=3))) + "]"
    return draw(objects(depth))


def repeats(text: str) -> bool:
    """Return whether a key is repeated, by another decoder's own list of pairs."""
    found = []

    def note(pairs: list[tuple[str, object]]) -> None:
        found.append(len(dict(pairs)) != len(pairs))

    json.loads(text, object_pairs_hook=note)
    return any(found)


def refusal(body: bytes) -> Refusal:
    """Return why a body is refused."""
    with pytest.raises(Refusal) as caught:
        check_shape(body)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def check_or_refuse(body: bytes) -> object:
    """Return the value of a body, or the code of its refusal."""
    try:
        return check_shape(body)
    except Refusal as error:
        return error.code


@given(objects())
@example('{"a:":"b:\\"","c":[":","\\\\"]}')
def test_repeats_agree_with_another_decoder(text: str) -> None:
    """A key is found to be repeated exactly when a decoder that keeps all pairs sees it twice."""
    if repeats(text):
        assert refusal(text.encode()).code is Code.DUPLICATE_PARAMETER
    else:
        assert check_shape(text.encode()) == json.loads(text)


@given(
    st.binary(max_size=60)
    | st.text('{}[]":,\\ \n1e.-untrlfas\ud83dé', max_size=40).map(lambda t: t.encode(errors="replace"))
)
def test_any_bytes(body: bytes) -> None:
    """Any bytes at all either decode to an object or are refused."""
    outcome = check_or_refuse(body)
    assert isinstance(outcome, dict) or outcome in (Code.INVALID_JSON, Code.INVALID_VALUE, Code.DUPLICATE_PARAMETER)


NO_JSON = [
    b"",
    b" ",
    b"{",
    b'{"a":}',
    b'{"a":1',
    b"{'a':1}",
    b"{a:1}",
    b'{"a":1,}',
    b'{"a":1}}',
    b'{"a":1} {}',
    b'{"a":01}',
    b'{"a":+1}',
    b'{"a":.5}',
    b'{"a":1.}',
    b'{"a":0x10}',
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":1e999}',
    b'{"a":-1e999}',
    b'{"a":' + b"9" * 5000 + b"}",
    b'{"a":"\n"}',
    b'{"a":"\x00"}',
    b'{"a":1}\x00',
    b'\x00{"a":1}',
    b'{"a":"\\x41"}',
    b'{"a":"\\ud800"}',
    b'{"a":"\\ud800\\u0041"}',
    b'{"a":"\\udc00 lone"}',
    b'{"\\ud800":1}',
    b'{"a":"\xff"}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\xc0\x80"}',
    b'{"a":"unclosed',
    b'{"a":"unclosed\\',
    b'{"a":"unclosed\\"',
    b"\xef\xbb\xbf{}",
    '{"a":1}'.encode("utf-16"),
    '{"a":1}'.encode("utf-32-le"),
    b'{"a":1}//comment',
    b'{"a"\x0b:1}',
    b'{"a"\xc2\xa0:1}',
]


@pytest.mark.parametrize("body", NO_JSON)
def test_no_json(body: bytes) -> None:
    """What is not JSON in UTF-8 is `invalid_json`; the message has a place at most, and no field is named."""
    error = refusal(body)
    assert (error.code, error.param) == (Code.INVALID_JSON, None)


@pytest.mark.parametrize("body", [b"[]", b'"a"', b"1", b"null", b"true", b'[{"a":1}]'])
def test_no_object(body: bytes) -> None:
    """JSON that is no object is `invalid_json`."""
    assert refusal(body).message == "The body must be a JSON object."


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"a":1,"a":1}', "a"),
        (b'{"a":{"a":1},"b":[{"c":1,"c":2}]}', "c"),
        (b'{"a":1,"\\u0061":1}', "a"),
        (b'{"max_tokens":1,"max\\u005ftokens":2}', "max_tokens"),
        (b'{"a":[[[[{"x":{"y":0,\r\n\t"y"\n:\t0}}]]]]}', "y"),
        (b'{"a":{"b":1,"c":{"d":2}},"a":0}', "a"),
        (b'{"a":":","a":"::"}', "a"),
        (b'{"a":"\\\\","a":"\\\\\\""}', "a"),
        (b'{"":1,"":2}', None),
        (b'{"my words":1,"my words":2}', None),
        (b'{"n":' + b"1" * 4299 + b',"n":1}', "n"),
        (b'{"' + b"k" * 41 + b'":1,"' + b"k" * 41 + b'":1}', None),
        (b'{"a":' + b"[" * 200 + b"]" * 200 + b',"a":1}', "a"),
    ],
)
def test_repeated_key(body: bytes, name: str | None) -> None:
    """A key that comes twice is refused at any depth and in any spelling, and named if it can be a name."""
    error = refusal(body)
    assert error.code is Code.DUPLICATE_PARAMETER
    assert error.param == name


@pytest.mark.parametrize("key", [f"{SECRET} words", f"{SECRET}\n", f"{SECRET}é", f"tg-{SECRET}{'x' * 40}", SECRET * 8])
def test_repeated_text_is_not_told(key: str) -> None:
    """A repeated key that could be a caller's text or secret is refused without being repeated."""
    error = refusal(f'{{"x":{{{json.dumps(key)}:1,{json.dumps(key)}:2}}}}'.encode())
    assert error.code is Code.DUPLICATE_PARAMETER
    assert SECRET not in f"{error.message}{error.param}{error!r}"


@pytest.mark.parametrize(
    "body", [b'{"a":zebra7f3a}', b'{"a":"zebra7f3a\\x"}', b'{"zebra7f3a":1e999}', b'{"zebra7f3a\xff":1}', b"zebra7f3a"]
)
def test_broken_text_is_not_told(body: bytes) -> None:
    """A message about broken JSON holds nothing of the text."""
    error = refusal(body)
    assert SECRET not in f"{error.message}{error.param}{error!r}"


def nest(levels: int, opening: str, closing: str) -> bytes:
    """Write an object with so many levels, itself included."""
    inner = levels - 1
    return f'{{"a":{opening * inner}{"" if opening == "[" else "1"}{closing * inner}}}'.encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"b":', "}]")])
def test_depth(opening: str, closing: str) -> None:
    """32 levels are taken and 33 are not, of objects and of arrays; any number of them ends in a refusal."""
    per_turn = opening.count("[") + opening.count("{")
    turns = (DEPTH_MAX - 1) // per_turn
    check_shape(nest(turns + 1, opening, closing))
    for levels in (turns + 2, 500, 5_000, 200_000):
        error = refusal(nest(levels, opening, closing))
        assert (error.code, error.param) == (Code.INVALID_VALUE, None)


def test_depth_of_siblings() -> None:
    """Many containers side by side are not deep, and brackets in strings nest nothing."""
    wide = {"a": [[]] * 100, "b": [{"c": {}}] * 100, "d": "[{" * 500, "[" * 40: "{"}
    assert check_shape(json.dumps(wide).encode()) == wide


@pytest.mark.parametrize("piece", [b"{},", b"[],", b'"{",', b'{"b":[]},'])
def test_breadth(piece: bytes) -> None:
    """500,000 opening brackets are taken and one more is not, so that no body keeps all callers waiting."""
    per_piece = piece.count(b"{") + piece.count(b"[")
    pieces = (BRACKETS_MAX - 2) // per_piece
    check_shape(b'{"a":[' + piece * pieces + b"0]}")
    error = refusal(b'{"a":[' + piece * (pieces + 1) + b"0]}")
    assert (error.code, error.param) == (Code.INVALID_VALUE, None)
    assert str(BRACKETS_MAX) in error.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"' + b'\\"' * 1_000_000,
        b'{"a":"' + b'\\"' * 1_000_000 + b'"}',
        b'{"a":"' + b"\\\\" * 1_000_000 + b'"}',
        b'"' * 1_000_000,
        b'{"a":"' + b'\\":' * 600_000 + b'"}',
        b"{" + b",".join(b'"%d":":"' % i for i in range(100_000)) + b',"0":1}',
        b'{"a":[' + b'"",' * 500_000 + b'""]}',
        b'{"a":[' + b"[]," * 300_000 + b"[]]}",
    ],
    ids=range(8),
)
def test_time_is_linear(body: bytes) -> None:
    """No text makes the check take more than time linear in it; each of these took minutes where it was not."""
    outcome = check_or_refuse(body)
    assert isinstance(outcome, dict) or outcome in (Code.INVALID_JSON, Code.DUPLICATE_PARAMETER)


@pytest.mark.parametrize(
    ("name", "is_nameable"),
    [
        ("max_tokens", True),
        ("chat_template_kwargs", True),
        ("x-y.z", True),
        ("", False),
        ("a b", False),
        ("a\n", False),
        ("max_token\u017f", False),
        ("f" * 64, False),
        ("tg-" + "a" * 49, False),
    ],
)
def test_nameable(name: str, is_nameable: bool) -> None:
    """A key is repeated to its caller only if it looks like a parameter; no API key and no private key does."""
    assert nameable(name) == (name if is_nameable else None)


def test_values_are_those_of_the_text() -> None:
    """What comes back is what the text says, integers exact."""
    value: Any = check_shape(b'{"a":12345678901234567890123,"b":[true,null,"\\u00e9\\ud83c\\udf0d"],"c":1E2}')
    assert value == {"a": 12345678901234567890123, "b": [True, None, "é🌍"], "c": 100.0}


def test_a_text_that_is_refused_is_let_go() -> None:
    """Nothing holds a text that is no JSON once it has been refused, though it may be of many megabytes."""
    text = b"{" * 1000
    gc.collect()
    gc.disable()
    try:
        held = sys.getrefcount(text)
        with pytest.raises(Refusal):
            check_shape(text)

        assert sys.getrefcount(text) == held
    finally:
        gc.enable()
