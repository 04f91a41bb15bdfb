"""What other gateways say of money beside an answer never reaches a caller, who is told what we charge, once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tallygate.core.answers import FOREIGN_COSTS, Completion
from tallygate.core.streaming import Relayed
from tallygate.core.usage import Tally

OURS = b'{"total_cost_usd":0.25}'
SPY = 987654.25
TOKENS: dict[str, Any] = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CHOICE: dict[str, Any] = {"index": 0, "finish_reason": "stop"}

GATEWAYS: dict[str, dict[str, Any]] = {
    "OpenRouter": {
        "usage": {**TOKENS, "cost": SPY, "is_byok": False, "cost_details": {"upstream_inference_cost": SPY}}
    },
    "GonkaGate": {
        "usage": {**TOKENS, "base_cost_usd": SPY, "platform_fee_usd": SPY, "total_cost_usd": SPY},
    },
    "another Tallygate": {"usage": {**TOKENS, "total_cost_usd": SPY, "total_cost_usd_exact": str(SPY)}},
    "DeepInfra": {"usage": {**TOKENS, "estimated_cost": SPY}},
    "xAI": {"usage": {**TOKENS, "cost_in_usd_ticks": SPY}},
    "costs at the top": {"usage": TOKENS, "cost": SPY, "cost_usd": SPY, "total_cost": SPY, "total_cost_usd": SPY},
    "LiteLLM": {"usage": TOKENS, "response_cost": SPY},
    "Vercel": {"usage": TOKENS, "provider_metadata": {"gateway": {"cost": str(SPY)}}},
    "Groq": {"usage": TOKENS, "x_groq": {"usage": {"cost": SPY}}},
    "a broker's balance": {"usage": TOKENS, "credits_used": SPY, "balance": SPY, "billing": {"usd": SPY}},
}


def tally() -> Tally:
    """Return the tally of a new answer."""
    return Tally(prompt_bytes=30, prompt_tokens_max=100, completion_tokens_max=1000, choices=1)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_an_answer_says_our_cost_only(gateway: str) -> None:
    """In a whole answer of any gateway, the only money is what we charge; its tokens are still counted."""
    counted = tally()
    message = {"role": "assistant", "content": "Hi!"}
    body = json.dumps({"id": "x", "choices": [{**CHOICE, "message": message}], **GATEWAYS[gateway]}).encode()
    out = Completion(body, "chatcmpl-1", "our/id", 1, counted).with_usage(OURS)
    assert str(SPY).encode() not in out
    assert json.loads(out)["usage"] == {"total_cost_usd": 0.25}
    assert counted.report is not None
    assert counted.report["completion_tokens"] == 2


@pytest.mark.parametrize("is_separate", [True, False])
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_stream_says_our_cost_only(gateway: str, is_separate: bool) -> None:
    """In a stream of any gateway, on the last chunk or on one without choices, the only money is what we charge."""
    counted = tally()
    relayed = Relayed("chatcmpl-1", "our/id", 1, 1, include_usage=False, tally=counted)
    text = {"index": 0, "delta": {"content": "Hi!"}}
    end = {**CHOICE, "delta": {}}
    frames: list[dict[str, Any]] = [{"choices": [text]}, {"choices": [end]}, {"choices": []}]
    frames[2 if is_separate else 1] |= GATEWAYS[gateway]
    out = relayed.feed([json.dumps(frame).encode() for frame in frames])
    out += relayed.feed([b"[DONE]"]) + relayed.end(OURS)
    assert str(SPY).encode() not in out
    assert out.count(OURS) == 1
    assert counted.report is not None


@pytest.mark.parametrize("name", sorted(FOREIGN_COSTS))
def test_costs_of_a_choice(name: str) -> None:
    """A cost inside a choice, or inside its message, is left out as well."""
    message = {"role": "assistant", "content": "Hi!", name: SPY}
    body = json.dumps({"choices": [{**CHOICE, "message": message, name: SPY}]}).encode()
    out = Completion(body, "chatcmpl-1", "our/id", 1, tally()).with_usage(OURS)
    assert str(SPY).encode() not in out
