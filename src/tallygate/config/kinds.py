"""The kinds of values that a configuration holds: how each is written, and how it is taken.

What may live here: kinds that know nothing of the key that they are used for. What may not: files, the environment,
knowledge of other values.

Invariants:
- A kind takes any object at all, and either returns a value or raises `WrongValueError`.
- No message quotes a value: people paste secrets into the wrong field.
- An amount of money never passes through a float.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from tallygate.core.money import InvalidAmountError, parse_price_per_million, parse_usd

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# A price of more digits is no price; the limit keeps a short text such as 1e999999999 from becoming a long one.
_DIGITS_MAX: Final = 30


class WrongValueError(Exception):
    """A value is not of its kind. Both texts complete a sentence, and neither holds any of the value."""

    def __init__(self, complaint: str, remedy: str) -> None:
        super().__init__(complaint)
        self.complaint = complaint
        self.remedy = remedy


class Kind(Protocol[T_co]):
    """How a value is written; `noun` says it to people."""

    @property
    def noun(self) -> str:
        """What is expected, such as `a whole number`."""

    def read(self, value: object) -> T_co:
        """Return the value; raises `WrongValueError`."""


def wrong_type(value: object, noun: str) -> WrongValueError:
    """Return the complaint about a value of another type."""
    return WrongValueError(f"must be {noun}, and is {name_type(value)}.", f"Write {noun}.")


def name_type(value: object) -> str:
    """Return what TOML calls the type of a value."""
    names = ((bool, "true or false"), (int, "a whole number"), (float, "a number"), (Decimal, "a number"))
    more = ((str, "a text"), (dict, "a table"), (list, "an array"))
    return next((name for type_, name in (*names, *more) if isinstance(value, type_)), "something else")


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a certain form."""

    noun: str
    form: re.Pattern[str]

    def read(self, value: object) -> str:
        """Return the text."""
        if not isinstance(value, str):
            raise wrong_type(value, self.noun)
        if not self.form.fullmatch(value):
            raise WrongValueError(f"is not {self.noun}.", f"Write {self.noun}.")
        return value


class Choice(Generic[T]):
    """One of a few values."""

    def __init__(self, *values: T) -> None:
        self._values = values
        self.noun = " or ".join(render_toml(value) for value in values)

    def read(self, value: object) -> T:
        """Return the value."""
        for known in self._values:
            if type(value) is type(known) and value == known:
                return known
        raise WrongValueError(f"must be {self.noun}.", "Write one of these.")


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within bounds, both included."""

    least: int
    most: int

    @property
    def noun(self) -> str:
        """What is expected."""
        return f"a whole number from {self.least} to {self.most}"

    def read(self, value: object) -> int:
        """Return the number."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(value, self.noun)
        if not self.least <= value <= self.most:
            raise WrongValueError(f"must be {self.noun}.", "Write a number within these bounds.")
        return value


@dataclass(frozen=True, slots=True)
class Seconds:
    """A time in seconds, above zero unless zero is allowed."""

    most: int
    or_zero: bool = False

    @property
    def noun(self) -> str:
        """What is expected."""
        return f"seconds, {'from' if self.or_zero else 'above'} 0 and up to {self.most}"

    def read(self, value: object) -> float:
        """Return the time."""
        seconds = read_number(value, self.noun)
        # Compared as a float, too: that is what is returned, and a tiny decimal becomes zero there.
        if not 0 <= seconds <= self.most or (float(seconds) == 0 and not self.or_zero):
            raise WrongValueError(f"must be {self.noun}.", "Write a number within these bounds.")
        return float(seconds)


class Temperature:
    """A sampling temperature, or the word that leaves it out."""

    noun = 'a number from 0 to 2, or "none"'

    def read(self, value: object) -> float | None:
        """Return the temperature."""
        if value == "none":
            return None
        temperature = read_number(value, self.noun)
        if not 0 <= temperature <= 2:
            raise WrongValueError(f"must be {self.noun}.", 'Write such a number, or "none" to send none.')
        return float(temperature)


def read_number(value: object, noun: str) -> int | float | Decimal:
    """Return a number that can be compared."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise wrong_type(value, noun)
    if isinstance(value, int) or (value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)):
        return value
    raise WrongValueError(f"must be {noun}.", "Write a finite number.")


class Flag:
    """True or false."""

    noun = "true or false"

    def read(self, value: object) -> bool:
        """Return which."""
        if not isinstance(value, bool):
            raise wrong_type(value, self.noun)
        return value


@dataclass(frozen=True, slots=True)
class Dollars:
    """An amount in US dollars, as exact as it is written; in the unit that `convert` returns."""

    noun: str
    convert: Callable[[str], int]

    def read(self, value: object) -> int:
        """Return the amount."""
        try:
            return self.convert(_decimal_text(value, self.noun))
        except InvalidAmountError as error:
            complaint = str(error)
        raise WrongValueError(f"{complaint}.", f"Write {self.noun}.")


def _decimal_text(value: object, noun: str) -> str:
    """Return the plain decimal of an amount, as its writer wrote it."""
    if isinstance(value, str):
        return value if value.isascii() else ""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise wrong_type(value, noun)
    if isinstance(value, int):
        is_sane = abs(value) < 10**_DIGITS_MAX
    else:
        is_sane = value.as_tuple().exponent in range(-_DIGITS_MAX, _DIGITS_MAX)
    if not is_sane:
        raise WrongValueError("is out of all bounds.", f"Write {noun}.")
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _parse_amount(text: str) -> int:
    amount = parse_usd(text)
    if amount < 0:
        raise InvalidAmountError("must not be negative")
    return amount


USD: Final = Dollars('an amount in dollars, such as "0.25"', _parse_amount)
USD_PER_MILLION: Final = Dollars('dollars per million tokens, such as "0.35"', parse_price_per_million)


class OrOff(Generic[T]):
    """A value of another kind, or the word that there is none."""

    def __init__(self, kind: Kind[T]) -> None:
        self._kind = kind
        self.noun = f'{kind.noun}, or "off"'

    def read(self, value: object) -> T | None:
        """Return the value; None for none."""
        if value == "off":
            return None
        try:
            return self._kind.read(value)
        except WrongValueError as error:
            complaint = error.complaint
        raise WrongValueError(complaint, f"Write {self.noun}.")


@dataclass(frozen=True, slots=True)
class Anything:
    """A value whose kind depends on another one."""

    noun: str

    def read(self, value: object) -> Any:
        """Return the value."""
        return value


class Table:
    """A table, whose keys are looked at by their own."""

    noun = "a table"

    def read(self, value: object) -> Mapping[str, Any]:
        """Return the table."""
        if not isinstance(value, dict):
            raise wrong_type(value, self.noun)
        return value


@dataclass(frozen=True, slots=True)
class Array:
    """An array, whose items are looked at by themselves."""

    noun: str = "an array"
    least: int = 0

    def read(self, value: object) -> Sequence[Any]:
        """Return the array."""
        if not isinstance(value, list):
            raise wrong_type(value, self.noun)
        if len(value) < self.least:
            raise WrongValueError("is empty.", "Write at least one.")
        return value


class ModelNames:
    """Which models an upstream serves, and what it calls them."""

    noun = '"*", or a table of our ids and theirs'

    def read(self, value: object) -> Mapping[str, Any] | None:
        """Return the table; None for all."""
        if value == "*":
            return None
        if not isinstance(value, dict):
            raise wrong_type(value, self.noun)
        if not value:
            raise WrongValueError("names no model.", 'Write {"our id" = "their id"}, or "*" for all.')
        return value


def render_toml(value: object) -> str:
    """Return a plain value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
