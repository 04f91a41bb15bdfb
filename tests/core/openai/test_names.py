"""Unknown parameters by the operator's setting, and what passes by none."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from tallygate.core.errors import Code
from tallygate.core.openai import KNOWN, REFUSED, Policy
from tallygate.core.openai.request import CHANGES_TOLD_MAX
from tests.core.openai.bodies import SECRET, body, parse, refusal

PASS, STRIP = Policy("pass"), Policy("strip")
LAX: Any = pytest.mark.parametrize("policy", [PASS, STRIP, Policy("pass", repairs=True)])


def test_unknown_parameters_pass_where_they_may() -> None:
    """With `pass`, what is not known is sent on in the bytes that came, also from `extra_body`."""
    request = parse('"top_k" : 20', '"extra_body":{"min_p":0.050}', '"x":null', policy=PASS)
    assert bytes(request.members["top_k"]) == b"20"
    assert bytes(request.members["min_p"]) == b"0.050"
    assert "x" not in request.members
    assert request.changes == []


def test_unknown_parameters_are_left_out_where_the_operator_says_so() -> None:
    """With `strip`, what is not known is left out, and the caller is told."""
    request = parse('"top_k":20', '"seed":1', '"extra_body":{"min_p":0.05}', policy=STRIP)
    assert request.members.keys() == {"messages", "seed"}
    assert request.changes == ["-min_p", "-top_k"]


def test_the_list_of_what_is_left_out_is_bounded() -> None:
    """A thousand unknown parameters do not make a header of a thousand names."""
    request = parse(*(f'"x{index}":1' for index in range(1000)), policy=STRIP)
    assert len(request.changes) == CHANGES_TOLD_MAX + 1
    assert request.changes[-1] == f"-{1000 - CHANGES_TOLD_MAX} more"


@LAX
@pytest.mark.parametrize("name", [*REFUSED, "chat_template_kwargs", "guided_decoding_backend"])
def test_what_can_raise_the_cost_never_passes(name: str, policy: Policy) -> None:
    """By no setting does a parameter pass that could raise the cost of a call, or that the network refuses."""
    if policy.repairs and name in ("plugins", "provider", "service_tier"):
        assert name not in parse(f'"{name}":1', policy=policy).members
    else:
        assert refusal(body(f'"{name}":1'), policy).code is Code.UNSUPPORTED_PARAMETER


def disguise(name: str, way: Literal["upper", "camel", "dashes", "dots", "long s", "kelvin"]) -> str:
    """Return a name as a careless decoder might still take it for itself."""
    first, *rest = name.split("_")
    ways = {
        "upper": name.upper(),
        "camel": first + "".join(map(str.capitalize, rest)),
        "dashes": name.replace("_", "-"),
        "dots": name.replace("_", "."),
        "long s": name.replace("s", "\u017f"),
        "kelvin": name.replace("k", "\u212a"),
    }
    return ways[way]


@LAX
@pytest.mark.parametrize("way", ["upper", "camel", "dashes", "dots", "long s", "kelvin"])
def test_no_disguise_passes(way: Any, policy: Policy) -> None:
    """A checked or refused name in other letters or with other punctuation is refused by any setting."""
    for name in sorted(KNOWN | REFUSED.keys()):
        disguised = disguise(name, way)
        if disguised != name:
            error = refusal(body(f'"{disguised}":1'), policy)
            assert error.code in (Code.UNKNOWN_PARAMETER, Code.UNSUPPORTED_PARAMETER), disguised


@LAX
@pytest.mark.parametrize("name", ["", SECRET, "a" * 41, "n\u200b", "é"])
def test_what_is_no_name_never_passes(name: str, policy: Policy) -> None:
    """A key that cannot be a parameter's name is refused without being repeated."""
    error = refusal(body(f'"{name}":1'), policy)
    assert (error.code, error.param) == (Code.UNKNOWN_PARAMETER, None)
    assert SECRET not in error.message
