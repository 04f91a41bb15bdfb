"""What leaves the gateway: bounded, written once, and never more prompt than the hold was made for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tallygate.core.bounding import TOKENS_PER_MESSAGE, ModelCard, Outgoing, count_prompt_tokens_max
from tallygate.core.ledger.records import Shrink
from tallygate.core.openai import ChatRequest, Policy, parse_chat_request

TOOL = '"tools":[{"type":"function","function":{"name":"f"}}]'
CARD = ModelCard("our/id", output_tokens_max=4096, output_tokens_default=1000, template_tokens=64, tools_tokens=512)
ASKED = '"model":"m","messages":[{"role":"user","content":"x"}]'


def parse(*members: str) -> ChatRequest:
    """Return the request of a plain body with these members."""
    return parse_chat_request(("{" + ",".join([ASKED, *members]) + "}").encode())


def outgoing(*members: str, temperature: float | None = None) -> Outgoing:
    """Return what a plain body with these members becomes."""
    return Outgoing(parse(*members), CARD, temperature)


def bound_slowly(body: str) -> int:
    """Return the bound of a JSON text letter by letter, as the design words it."""
    bound = at = 0
    while at < len(body):
        if body[at] == "\\" and body[at + 1] == "u":
            bound += 9 if int(body[at + 2 : at + 6], 16) >= 0x80 else 6
            at += 6
        elif body[at] == "\\":
            bound += 2
            at += 2
        else:
            size = len(body[at].encode())
            bound += size if size == 1 else 3 * size
            at += 1
    return bound


LETTERS = st.sampled_from(
    ["a", "u", "0", "e9", '"', "\\", "\\u00e9", "é", "я", "漢", "🌍", "\x7f", "\u0080", "\n", "u0041"]
)
TEXTS = st.lists(LETTERS, max_size=12).map("".join) | st.text(st.characters(codec="utf-8"), max_size=20)


@st.composite
def escaped(draw: st.DrawFn) -> str:
    """Write a text as a JSON string, each letter plainly or as an escape with digits in either case."""
    letters = []
    for letter in draw(TEXTS):
        units = letter.encode("utf-16-be")
        digits = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
        spellings = [json.dumps(letter, ensure_ascii=False)[1:-1], json.dumps(letter)[1:-1]]
        spellings += ["".join(f"\\u{four}" for four in digits), "".join(f"\\u{four.upper()}" for four in digits)]
        letters.append(draw(st.sampled_from(spellings)))
    return f'"{"".join(letters)}"'


@given(st.lists(escaped(), max_size=4))
@example([r'"\u00e9\u0041\u007f\u0080\u07ff\u0800\uD83C\uDF0D"'])
@example([r'"\\u00e9\\\u00e9\\\\u00e9"', '"é\\u00E9"'])
def test_prompt_bound(texts: list[str]) -> None:
    """The bound is the body's bytes, those outside ASCII three times and long escapes as nine, and the template's."""
    body = "[" + ",".join(texts) + "]"
    json.loads(body)
    counted = count_prompt_tokens_max(body.encode(), CARD, parse())
    assert counted == bound_slowly(body) + CARD.template_tokens + TOKENS_PER_MESSAGE


@pytest.mark.parametrize(
    ("members", "more"),
    [
        ([], CARD.template_tokens + TOKENS_PER_MESSAGE),
        (['"tools":[]'], CARD.template_tokens + TOKENS_PER_MESSAGE),
        ([TOOL], CARD.template_tokens + CARD.tools_tokens + TOKENS_PER_MESSAGE),
    ],
)
def test_template_constants(members: list[str], more: int) -> None:
    """The template's constant is always added, that of tools when there are any, and 16 per message."""
    assert count_prompt_tokens_max(b"{}", CARD, parse(*members)) == 2 + more
    three = parse_chat_request(b'{"model":"m","messages":[%b]}' % b",".join([b'{"role":"user","content":""}'] * 3))
    assert count_prompt_tokens_max(b"", CARD, three) == CARD.template_tokens + 3 * TOKENS_PER_MESSAGE


@pytest.mark.parametrize(
    ("asked", "floor", "expected"),
    [
        (None, 1, 1000),
        (None, 2000, 2000),
        (None, 9999, 4096),
        (1, 1, 1),
        (1, 16, 16),
        (500, 1, 500),
        (4096, 1, 4096),
        (4097, 1, 4096),
        (2**31 - 1, 1, 4096),
        (500, 9999, 4096),
    ],
)
def test_tokens_max(asked: int | None, floor: int, expected: int) -> None:
    """A choice may have what was asked or the default, not below the upstream's floor, and never above the maximum."""
    out = outgoing(*([] if asked is None else [f'"max_tokens":{asked}']))
    assert out.tokens_max(floor) == expected
    document = json.loads(out.body("m", floor))
    assert (document["max_tokens"], document["max_completion_tokens"]) == (expected, expected)


RAWS = st.sampled_from(
    ['"seed":-7', '"user":"\\u00e9 é"', '"temperature": 1.50', TOOL, '"stop":[ "a" ]', '"logprobs" : true']
)
OWNED = st.sampled_from(
    ['"max_tokens":7', '"max_completion_tokens":7', '"n":3', '"stream":true', '"n":1', '"extra_body":{"top_p":0.5}']
)


def pairs(body: bytes) -> list[tuple[str, Any]]:
    """Return the members of an object in their order, repeated ones included."""
    found: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    return found


@given(st.sets(RAWS), st.sets(OWNED), st.sampled_from([None, 0.7]), st.sampled_from([1, 3000]))
def test_body(raws: set[str], owned: set[str], temperature: float | None, floor: int) -> None:
    """The body is JSON in which every member stands once, ours as decided and the others in the bytes that came."""
    assume(not {'"n":3', '"n":1'} <= owned)
    request = parse(*raws, *owned)
    body = Outgoing(request, CARD, temperature).body('their/"id"é', floor)
    members = dict(pairs(body))
    assert len(pairs(body)) == len(members)
    bound = 7 if floor == 1 and any(":7" in text for text in owned) else max(1000, floor)
    expected: dict[str, Any] = {"model": 'their/"id"é', "max_tokens": bound, "max_completion_tokens": bound}
    if '"n":3' in owned:
        expected["n"] = 3
    if request.stream:
        expected |= {"stream": True, "stream_options": [("include_usage", True)]}
    if temperature is not None and "temperature" not in request.members:
        expected["temperature"] = temperature
    assert {name: value for name, value in members.items() if name not in request.members} == expected
    for name, raw in request.members.items():
        assert b'"%b":%b' % (name.encode(), bytes(raw)) in body


def test_include_usage_is_always_asked_for() -> None:
    """An upstream is asked for its usage in every stream, whatever the caller said of it."""
    for options in ("null", '{"include_usage":false}', "{}"):
        out = outgoing('"stream":true', f'"stream_options":{options}')
        assert json.loads(out.body("m", 1))["stream_options"] == {"include_usage": True}
    assert "stream" not in json.loads(outgoing('"stream":false').body("m", 1))


def test_body_is_the_same_each_time() -> None:
    """The same place gets the same bytes, and another place the same but for its name and bound."""
    out = outgoing()
    assert out.body("a", 1) == out.body("a", 1)
    assert out.body("b", 1) == out.body("a", 1).replace(b'{"model":"a"', b'{"model":"b"')
    assert out.body("a", 2000) == out.body("a", 1).replace(b":1000", b":2000")


@given(st.dictionaries(st.text('aé\\"', min_size=1, max_size=6), st.integers(1, 9999), min_size=1, max_size=3))
def test_bounds_hold_everywhere(places: dict[str, int]) -> None:
    """The bounds cover the body that any of the places would get, and every choice of its answer."""
    request = parse('"n":2', TOOL)
    out = Outgoing(request, CARD, 0.7)
    prompt, completion = out.bounds(places)
    bodies = {name: out.body(name, floor) for name, floor in places.items()}
    assert prompt == max(count_prompt_tokens_max(body, CARD, request) for body in bodies.values())
    assert completion == max(2 * json.loads(body)["max_tokens"] for body in bodies.values())


@pytest.mark.parametrize(
    ("members", "temperature", "floor", "expected"),
    [
        ([], None, 1, "max_tokens=1000"),
        ([], 0.7, 1, "max_tokens=1000, temperature=0.7"),
        (['"temperature":0'], 0.7, 1, "max_tokens=1000"),
        (['"temperature":null'], 0.7, 1, "max_tokens=1000, temperature=0.7"),
        (['"max_tokens":5'], None, 1, ""),
        (['"max_tokens":5'], 1.0, 1, "temperature=1"),
        (['"max_tokens":5'], None, 16, "max_tokens=16"),
        (['"max_completion_tokens":9999'], None, 1, "max_tokens=4096"),
    ],
)
def test_changes(members: list[str], temperature: float | None, floor: int, expected: str) -> None:
    """The header lists what was changed or added, and nothing that the caller asked for himself."""
    assert outgoing(*members, temperature=temperature).changes(floor) == expected


def test_only_a_bound_that_the_caller_did_not_name_may_shrink() -> None:
    """It may shrink to the highest floor of the places, for each choice; never above the model's maximum."""
    assert outgoing().shrink({"m": 1}) == Shrink(1, 1)
    assert outgoing('"n":3').shrink({"m": 16, "theirs": 64}) == Shrink(3, 64)
    assert outgoing().shrink({"m": 10_000}) == Shrink(1, 4096)
    assert outgoing('"max_tokens":1000').shrink({"m": 1}) is None
    assert outgoing('"max_completion_tokens":7').shrink({"m": 1}) is None


def test_a_limit_is_what_is_written_from_then_on() -> None:
    """After a limit, body and changes have the lower bound, and the prompt's bound still covers the body."""
    request = outgoing('"n":3')
    prompt, completion = request.bounds({"m": 16})
    assert (completion, request.changes(16)) == (3000, "max_tokens=1000")
    request.limit(3 * 17)

    body = json.loads(request.body("m", 16))
    assert (body["max_tokens"], body["max_completion_tokens"], body["n"]) == (17, 17, 3)
    assert request.changes(16) == "max_tokens=17"
    again = request.bounds({"m": 16})
    assert (again[0] <= prompt, again[1]) == (True, 51)


PARTS = '[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"é\\u00e9"}]}]'


def test_a_flat_body() -> None:
    """An upstream that takes one string only gets one, another gets the parts as they came; the header tells."""
    request = parse_chat_request(f'{{"model":"m","max_tokens":5,"messages":{PARTS}}}'.encode())
    out = Outgoing(request, CARD, None)
    plain, flat = out.body("m", 1), out.body("m", 1, flat=True)
    assert b'"messages":' + PARTS.encode() in plain
    assert b'"messages":[{"role":"user","content":"a\\n\xc3\xa9\\u00e9"}]' in flat
    assert (out.body("m", 1), out.body("m", 1, flat=True)) == (plain, flat)
    assert (out.changes(1), out.changes(1, flat=True)) == ("", "content=text")
    assert count_prompt_tokens_max(flat, CARD, request) <= count_prompt_tokens_max(plain, CARD, request)


def test_nothing_to_flatten() -> None:
    """Content that is one string goes out in the bytes that came, whatever the upstream takes."""
    out = outgoing('"max_tokens":5')
    assert out.body("m", 1, flat=True) == out.body("m", 1)
    assert out.changes(1, flat=True) == ""


@given(st.lists(escaped(), min_size=1, max_size=4))
def test_a_flat_body_is_within_the_bound(texts: list[str]) -> None:
    """Whatever the parts hold, flattening never makes a prompt longer than what was set aside for."""
    parts = ",".join(f'{{"type":"text","text":{text}}}' for text in texts)
    body = f'{{"model":"m","messages":[{{"role":"user","content":[{parts}]}}]}}'
    request = parse_chat_request(body.encode())
    out = Outgoing(request, CARD, None)
    prompt, _ = out.bounds({"m": 1})
    flat = out.body("m", 1, flat=True)
    assert count_prompt_tokens_max(flat, CARD, request) <= prompt
    assert json.loads(flat)["messages"][0]["content"] == "\n".join(map(json.loads, texts))


def test_changes_of_the_check_are_told_first() -> None:
    """What was left out or coerced when the request was checked stands in the header before what was added."""
    request = parse_chat_request(f'{{"model":"m","store":true,"messages":{PARTS}}}'.encode(), Policy(repairs=True))
    assert Outgoing(request, CARD, 0.7).changes(1, flat=True) == (
        "-store, content=text, max_tokens=1000, temperature=0.7"
    )
