"""The parameters of one value each: numbers with their ranges, texts, lists and maps with their sizes.

Ranges are OpenAI's. Where the network's engines refuse what OpenAI takes (`top_p` of 0, an empty stop text), it is
refused here, where it costs nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tallygate.core.jsontext import nameable
from tallygate.core.openai.demands import check_text, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STOPS_MAX: Final = 4
SEED_MAX: Final = 2**63 - 1
TOP_LOGPROBS_MAX: Final = 20
LOGIT_BIASES_MAX: Final = 1024
"""The network's own limit; OpenAI names none."""

USER_BYTES_MAX: Final = 512
"""The network's own limit; OpenAI names none."""

METADATA_PAIRS_MAX: Final = 16
METADATA_KEY_MAX: Final = 64
METADATA_VALUE_MAX: Final = 512

_is_token_id = re.compile(r"[0-9]{1,10}", re.ASCII).fullmatch
_NUMBERS: Final = frozenset({int, float})  # not bool, which is an int to isinstance


def _check_within(name: str, least: int, most: int) -> Callable[[object], None]:
    def check(value: object) -> None:
        if type(value) not in _NUMBERS or not least <= value <= most:  # type: ignore[operator]
            raise invalid(name, f"a number from {least} to {most}")

    return check


def _check_boolean(name: str) -> Callable[[object], None]:
    def check(value: object) -> None:
        if not isinstance(value, bool):
            raise invalid(name, "true or false")

    return check


def _check_top_p(value: object) -> None:
    if type(value) not in _NUMBERS or not 0 < value <= 1:  # type: ignore[operator]
        raise invalid("top_p", "a number above 0, up to 1")


def _check_stop(stop: object) -> None:
    if isinstance(stop, str):
        if not stop:
            raise invalid("stop", "a text that is not empty")
        return
    if not isinstance(stop, list) or len(stop) > STOPS_MAX:
        raise invalid("stop", f"a string or a list of at most {STOPS_MAX} strings")
    for index, text in enumerate(stop):
        if not isinstance(text, str) or not text:
            raise invalid(f"stop[{index}]", "a string that is not empty")


def _check_seed(seed: object) -> None:
    if type(seed) is not int or not -SEED_MAX - 1 <= seed <= SEED_MAX:
        raise invalid("seed", "an integer of 64 bits")


def _check_top_logprobs(count: object) -> None:
    if type(count) is not int or not 0 <= count <= TOP_LOGPROBS_MAX:
        raise invalid("top_logprobs", f"an integer from 0 to {TOP_LOGPROBS_MAX}")


def _check_logit_bias(biases: object) -> None:
    if not isinstance(biases, dict) or len(biases) > LOGIT_BIASES_MAX:
        raise invalid("logit_bias", f"an object of at most {LOGIT_BIASES_MAX} token ids")
    for token, bias in biases.items():
        if _is_token_id(token) is None:
            raise invalid("logit_bias", "an object whose keys are token ids, such as 50256")
        if type(bias) not in _NUMBERS or not -100 <= bias <= 100:
            raise invalid("logit_bias", "an object of numbers from -100 to 100")


def _check_user(user: object) -> None:
    if not isinstance(user, str) or len(user.encode(errors="surrogatepass")) > USER_BYTES_MAX:
        raise invalid("user", f"a string of at most {USER_BYTES_MAX} bytes")


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or len(metadata) > METADATA_PAIRS_MAX:
        raise invalid("metadata", f"an object of at most {METADATA_PAIRS_MAX} pairs")
    for key, value in metadata.items():
        if len(key) > METADATA_KEY_MAX:
            raise invalid("metadata", f"an object with keys of at most {METADATA_KEY_MAX} characters")
        if not isinstance(value, str) or len(value) > METADATA_VALUE_MAX:
            if nameable(key) is None:
                raise invalid("metadata", f"an object of strings of at most {METADATA_VALUE_MAX} characters")
            raise invalid(f"metadata.{key}", f"a string of at most {METADATA_VALUE_MAX} characters")


def _check_thinking(thinking: object) -> None:
    """Check the outer shape only: what stands in it differs from model to model, and goes to the network as it is."""
    if not isinstance(thinking, dict):
        raise invalid("thinking", 'an object such as {"type": "enabled", "budget_tokens": 4096}')
    check_text(thinking, "type", "thinking")
    budget = thinking.get("budget_tokens")
    if budget is not None and (type(budget) is not int or budget < 0):
        raise invalid("thinking.budget_tokens", "an integer, not below 0")


CHECKS: Final[Mapping[str, Callable[[object], None]]] = {
    "temperature": _check_within("temperature", 0, 2),
    "top_p": _check_top_p,
    "presence_penalty": _check_within("presence_penalty", -2, 2),
    "frequency_penalty": _check_within("frequency_penalty", -2, 2),
    "stop": _check_stop,
    "seed": _check_seed,
    "logprobs": _check_boolean("logprobs"),
    "top_logprobs": _check_top_logprobs,
    "logit_bias": _check_logit_bias,
    "user": _check_user,
    "metadata": _check_metadata,
    "parallel_tool_calls": _check_boolean("parallel_tool_calls"),
    "thinking": _check_thinking,
}
"""By name, what a value that is given must pass."""
