"""Parameters of one value: each type and each end of each range, and the place that a refusal names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tallygate.core.errors import Code
from tallygate.core.openai.sampling import CHECKS, LOGIT_BIASES_MAX, SEED_MAX
from tests.core.openai.bodies import SECRET, body, parse, refusal

NO_NUMBERS = ('"1"', "true", "[]", "{}", "[1]")
BAD = [
    *[("temperature", value, "temperature") for value in (*NO_NUMBERS, "-0.01", "2.01", "1e308", "-1", "3")],
    *[("top_p", value, "top_p") for value in (*NO_NUMBERS, "0", "0.0", "-0.1", "1.01", "2")],
    *[
        (name, value, name)
        for name in ("presence_penalty", "frequency_penalty")
        for value in (*NO_NUMBERS, "-2.01", "2.01", "100", "-18446744073709551616")
    ],
    *[("stop", value, "stop") for value in ("1", "true", "{}", '""', '["a","b","c","d","e"]')],
    *[("stop", value, place) for value, place in (
        ("[1]", "stop[0]"), ('["a",""]', "stop[1]"), ('["a","b",null]', "stop[2]"), ('["a",["b"]]', "stop[1]"),
    )],
    *[("seed", value, "seed") for value in (
        '"1"', "1.0", "1E2", "true", "[]", "{}", str(SEED_MAX + 1), str(-SEED_MAX - 2), "1" * 40,
    )],
    *[("logprobs", value, "logprobs") for value in ("1", "0", '"true"', "[]", "{}", "5")],
    *[("logit_bias", value, "logit_bias") for value in (
        "[]", "1", '"50256"', '{"a":1}', '{"-1":1}', '{"1.0":1}', '{"":1}', '{"50256":101}', '{"50256":-100.5}',
        '{"50256":"1"}', '{"50256":true}', '{"50256":null}', '{"١":1}',
        json.dumps(dict.fromkeys(range(LOGIT_BIASES_MAX + 1), 1)),
    )],
    *[("user", value, "user") for value in ("1", "true", "[]", "{}", '"' + "u" * 513 + '"', '"' + "é" * 257 + '"')],
    *[("metadata", value, "metadata") for value in (
        "[]", '"x"', "1", json.dumps(dict.fromkeys(map(str, range(17)), "")), '{"' + "k" * 65 + '":"v"}',
        f'{{"{SECRET}":1}}', '{"":1}',
    )],
    *[("metadata", value, place) for value, place in (
        ('{"a":"1","k":2}', "metadata.k"), ('{"k":null}', "metadata.k"), ('{"k":{"a":"b"}}', "metadata.k"),
        ('{"k":"' + "v" * 513 + '"}', "metadata.k"),
    )],
    *[("parallel_tool_calls", value, "parallel_tool_calls") for value in ("1", '"false"', "[]", "{}")],
    *[("thinking", value, "thinking") for value in ("true", '"enabled"', "[]", "1")],
    ("thinking", '{"type":1}', "thinking.type"),
    *[("thinking", f'{{"type":"enabled","budget_tokens":{value}}}', "thinking.budget_tokens") for value in (
        "-1", "1.5", '"4096"', "true",
    )],
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "param"), BAD)
def test_bad_value(name: str, value: str, param: str) -> None:
    """A value of the wrong type or out of its range is refused, and the refusal names its place and no text of it."""
    for members in (f'"{name}":{value}', f'"extra_body":{{"{name}":{value}}}'):
        error = refusal(body(members))
        assert (error.code, error.param) == (Code.INVALID_VALUE, param)
        assert error.message.startswith(f"{param} must be ")
        assert SECRET not in error.message


GOOD = [
    *[("temperature", value) for value in ("0", "2", "0.0", "2.0", "1e-7")],
    *[("top_p", value) for value in ("1", "1.0", "0.000001")],
    *[(name, value) for name in ("presence_penalty", "frequency_penalty") for value in ("-2", "2", "-2.0", "0")],
    *[("stop", value) for value in ('"a"', "[]", '["a"]', '["a","b","c","\\n"]')],
    *[("seed", value) for value in ("0", str(SEED_MAX), str(-SEED_MAX - 1))],
    *[("logprobs", value) for value in ("true", "false")],
    *[("logit_bias", value) for value in (
        "{}", '{"0":-100,"50256":100,"7":0.5}', json.dumps(dict.fromkeys(range(LOGIT_BIASES_MAX), -1)),
    )],
    *[("user", value) for value in ('""', '"' + "u" * 512 + '"', '"' + "é" * 256 + '"')],
    *[("metadata", value) for value in (
        "{}", json.dumps({f"{index:064}": "v" * 512 for index in range(16)}), '{"a key":"é"}',
    )],
    *[("parallel_tool_calls", value) for value in ("true", "false")],
    *[("thinking", value) for value in (
        '{"type":"enabled","budget_tokens":4096}', '{"type":"disabled"}', "{}", '{"type":"adaptive","display":"x"}',
    )],
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_good_value(name: str, value: str) -> None:
    """A value in its range, its ends included, is sent on as it came."""
    assert bytes(parse(f'"{name}":{value}').members[name]).decode() == value


def test_each_check_is_tried() -> None:
    """There is a bad value for every parameter that has a check."""
    assert {name for name, _, _ in BAD} | {"top_logprobs"} == CHECKS.keys()


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ((), None),
        (('"logprobs":false',), None),
        (('"logprobs":null', '"top_logprobs":null'), None),
        (('"logprobs":true',), 0),
        (('"logprobs":true', '"top_logprobs":0'), 0),
        (('"top_logprobs":20', '"logprobs":true'), 20),
    ],
)
def test_logprobs(members: tuple[str, ...], expected: int | None) -> None:
    """Logprobs are wanted when they are asked for, with as many alternatives as are named."""
    assert parse(*members).logprobs == expected


@pytest.mark.parametrize("value", ["-1", "21", "1.0", '"1"', "true", "[]"])
def test_bad_top_logprobs(value: str) -> None:
    """Fewer than none or more than twenty alternatives cannot be asked for."""
    assert refusal(body('"logprobs":true', f'"top_logprobs":{value}')).param == "top_logprobs"


@pytest.mark.parametrize("others", [(), ('"logprobs":false',), ('"logprobs":null',)])
def test_top_logprobs_alone(others: tuple[Any, ...]) -> None:
    """Alternatives without logprobs are refused, as OpenAI refuses them."""
    error = refusal(body('"top_logprobs":2', *others))
    assert (error.code, error.param) == (Code.INVALID_VALUE, "top_logprobs")
