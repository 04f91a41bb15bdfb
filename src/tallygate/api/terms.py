"""What keys and accounts may do, as the operator's requests say it: read and checked, whole or as a change.

What a request leaves out stays as it is known; null takes it away. Spend limits are exact strings of US dollars.
"""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from tallygate.core.access import KeyTerms
from tallygate.core.errors import Code, Refusal
from tallygate.core.jsontext import nameable
from tallygate.core.ledger.entry import AMOUNT_MAX
from tallygate.core.limits import UNLIMITED, Limits
from tallygate.core.money import InvalidAmountError, format_usd, parse_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TERMS: Final = {"expires_ns": (int, NoneType), "models": (list, NoneType), "limits": (dict, NoneType)}
"""The members of a request that say what a key may do."""

MODELS_MAX: Final = 100
"""How many models a key may list: who wants more wants all, or a second key."""

COUNT_MAX: Final = 10**12
"""The largest limit that is a number; beyond is a slip of the keyboard."""

SPENDS: Final = {name: name.replace("_picousd", "_usd") for name in Limits._fields if name.startswith("spend_")}
"""The limits that are amounts, with their names outside."""

NAMES: Final = {SPENDS.get(name, name): name for name in Limits._fields}
"""All limits by their names outside."""


def read_terms(
    fields: Mapping[str, Any], known: KeyTerms, identify: Callable[[str], str | None], now_ns: int
) -> KeyTerms:
    """Return the terms that a request asks for.

    Args:
        fields: Its members, of the types of `TERMS`.
        known: What stays where it says nothing.
        identify: Returns the canonical id of a model, None for no model.
        now_ns: The time.
    """
    expires_ns, models, limits = known
    if "expires_ns" in fields:
        expires_ns = fields["expires_ns"]
        if expires_ns is not None and not now_ns < expires_ns <= AMOUNT_MAX:
            message = "expires_ns must be a time to come, in nanoseconds since 1970-01-01 (UTC)."
            raise Refusal(Code.INVALID_VALUE, message, param="expires_ns")
    if "models" in fields:
        models = None if fields["models"] is None else _read_models(fields["models"], identify)
    if "limits" in fields:
        limits = read_limits(fields["limits"], limits)
    return KeyTerms(expires_ns, models, limits)


def read_limits(content: Mapping[str, Any] | None, known: Limits) -> Limits:
    """Return the limits that a request asks for; null takes all of them away."""
    if content is None:
        return UNLIMITED
    asked: dict[str, int | None] = {}
    for name, value in content.items():
        if name not in NAMES:
            message = f"The limits are {', '.join(NAMES)}."
            raise Refusal(Code.UNKNOWN_PARAMETER, message, param=f"limits.{nameable(name)}")
        read = _read_spend if NAMES[name] in SPENDS else _read_count
        asked[NAMES[name]] = None if value is None else read(f"limits.{name}", value)
    return known._replace(**asked)


def describe_limits(limits: Limits) -> dict[str, int | str | None]:
    """Return limits as JSON, null where there is none."""
    by_name = limits._asdict()
    return {
        outside: format_usd(by_name[name]) if name in SPENDS and by_name[name] is not None else by_name[name]
        for outside, name in NAMES.items()
    }


def _read_models(names: list[Any], identify: Callable[[str], str | None]) -> frozenset[str]:
    if not 0 < len(names) <= MODELS_MAX:
        message = f"models must list 1 to {MODELS_MAX} models; null allows all."
        raise Refusal(Code.INVALID_VALUE, message, param="models")
    models = set()
    for place, name in enumerate(names):
        model = identify(name) if isinstance(name, str) else None
        if model is None:
            message = "There is no such model here; /admin/v1/prices lists those that have a price."
            raise Refusal(Code.INVALID_VALUE, message, param=f"models[{place}]")
        models.add(model)
    return frozenset(models)


def _read_count(param: str, value: Any) -> int:
    if type(value) is not int or not 0 < value <= COUNT_MAX:
        message = f"{param} must be a whole number from 1 to {COUNT_MAX}, or null."
        raise Refusal(Code.INVALID_VALUE, message, param=param)
    return value


def _read_spend(param: str, value: Any) -> int:
    most = format_usd(AMOUNT_MAX // 10**12 * 10**12)
    message = f'{param} must be a string of US dollars from 0 to {most}, such as "2.50", or null.'
    try:
        picousd = parse_usd(value) if isinstance(value, str) else -1
    except InvalidAmountError:
        picousd = -1
    if not 0 <= picousd <= AMOUNT_MAX:
        raise Refusal(Code.INVALID_VALUE, message, param=param)
    return picousd
