"""Amounts of money as arguments: exact decimal texts, refused as bad usage where they are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tallygate.core.money import InvalidAmountError, parse_price_per_million, parse_usd

if TYPE_CHECKING:
    from collections.abc import Callable


class Amount(click.ParamType[str]):
    """A text that a parser of amounts accepts; it stays the text that it was.

    Args:
        name: What it is called in the help.
        parse: The parser.
    """

    def __init__(self, name: str, parse: Callable[[str], int]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        try:
            self._parse(value)
        except InvalidAmountError as error:
            self.fail(f"{value!r} {error}.", param, ctx)
        return str(value)


USD = Amount("usd", parse_usd)
USD_PER_MILLION = Amount("usd per million", parse_price_per_million)
