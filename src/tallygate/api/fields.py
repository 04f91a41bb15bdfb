"""The members of the operator's requests, read and checked: what is wrong is refused by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tallygate.api.http import check_body
from tallygate.core.errors import Code, Refusal
from tallygate.core.jsontext import check_shape, nameable
from tallygate.core.money import InvalidAmountError, parse_price_per_million, parse_usd
from tallygate.core.pricing import Price

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tallygate.api.http import Fields, Request

BODY_BYTES_MAX = 64 * 1024


_KINDS: Final = {str: "a string", bool: "true or false", int: "a whole number", list: "an array", dict: "an object"}


async def read_fields(request: Request, types: Fields) -> dict[str, Any]:
    """Return the checked members of a JSON body; an empty body has none. `NoneType` lets one be null."""
    check_body(request, BODY_BYTES_MAX)
    fields: dict[str, Any] = check_shape(await request.body.read(BODY_BYTES_MAX) or b"{}")
    for name, value in fields.items():
        if name not in types:
            known = ", ".join(types)
            raise Refusal(Code.UNKNOWN_PARAMETER, f"This route takes {known}.", param=nameable(name))
        allowed = types[name]
        kinds = allowed if isinstance(allowed, tuple) else (allowed,)
        if type(value) not in kinds:
            kind = _KINDS[kinds[0]] + (" or null" if len(kinds) > 1 else "")
            raise Refusal(Code.INVALID_VALUE, f"{name} must be {kind}.", param=name)
    return fields


def read_name(text: str) -> str:
    """Return a name that people see, fit to be shown on a terminal."""
    name = text.strip()
    if not 0 < len(name) <= 100 or not name.isprintable():
        raise Refusal(Code.INVALID_VALUE, "name must have 1 to 100 printable characters.", param="name")
    return name


def read_words(fields: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Return a short text that becomes part of the books, which can never forget it."""
    words = fields.get(name, default)
    if words is None or not 0 < len(words.strip()) <= 200 or not words.isprintable():
        raise Refusal(Code.INVALID_VALUE, f"{name} must have 1 to 200 printable characters.", param=name)
    return str(words.strip())


def read_amount(fields: Mapping[str, Any], name: str, parse: Callable[[str], int]) -> int:
    """Return an amount of money in our units; one that is missing is no amount either."""
    try:
        return parse(fields.get(name, ""))
    except InvalidAmountError as error:
        message = f"{name} {error}."
    raise Refusal(Code.INVALID_VALUE, message, param=name)


def read_price(fields: Mapping[str, Any], known: Price | None) -> Price:
    """Return the price that the fields ask for; what they leave out stays as it is known."""
    if fields.get("free"):
        if fields.keys() & {"input", "output", "call"}:
            raise Refusal(Code.INVALID_VALUE, "A free model has no prices.", param="free")
        return Price(0, 0, 0, free=True)
    parts: dict[str, Any] = {}
    for name, parse in (("input", parse_price_per_million), ("output", parse_price_per_million), ("call", parse_usd)):
        if name in fields:
            parts[name] = read_amount(fields, name, parse)
        elif known is not None:
            parts[name] = getattr(known, name)
        elif name != "call":
            raise Refusal(Code.INVALID_VALUE, f"{name} is missing: this model has no price yet.", param=name)
    try:
        return Price(**parts)
    except ValueError as error:
        message = f"Not a price: {error}."
    raise Refusal(Code.INVALID_VALUE, message, param="model")
