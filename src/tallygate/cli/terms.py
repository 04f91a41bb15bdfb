"""The options that say what a key or an account may do, and how that is shown: shared by `keys` and `accounts`."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tallygate.core.money import InvalidAmountError, parse_usd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Command = TypeVar("Command", bound="Callable[..., object]")

NONE: Final = "none"
"""What takes a limit away."""

_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Span(click.ParamType[int]):
    """A length of time, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds."""
        span = read_span(str(value))
        if span is None:
            self.fail(f"{value!r} is no length of time, such as 90s, 10m, 12h or 30d.", param, ctx)
        return span


class Moment(click.ParamType[str]):
    """A time to come, or `never`; as nanoseconds since 1970, in digits."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the time."""
        text = str(value)
        if text == "never":
            return text
        if (span_s := read_span(text)) is not None:
            return str(time.time_ns() + span_s * 10**9)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            message = f"{value!r} is no date, time (both of UTC) or length of time, such as 2027-01-31 or 30d."
            self.fail(message, param, ctx)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return str(int(moment.timestamp()) * 10**9)


class Count(click.ParamType[str]):
    """A whole number from 1, or `none`."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        text = str(value)
        if text != NONE and not re.fullmatch("[1-9][0-9]{0,11}", text):
            self.fail(f"{value!r} is neither a whole number from 1 nor {NONE}.", param, ctx)
        return text


class Spend(click.ParamType[str]):
    """An amount of US dollars, or `none`."""

    name = "usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        text = str(value)
        if text != NONE:
            try:
                parse_usd(text)
            except InvalidAmountError as error:
                self.fail(f"{value!r} {error}, or {NONE}.", param, ctx)
        return text


def limit_options(command: Command) -> Command:
    """Let a command take the limits of a key or an account, each under the name that the admin API has for it."""
    for name, type_, meaning in reversed(
        (
            ("requests_per_minute", Count(), "Calls admitted in any 60 seconds."),
            ("tokens_per_minute", Count(), "Tokens of calls in any 60 seconds."),
            ("concurrent_requests", Count(), "Calls under way at a time."),
            ("spend_day_usd", Spend(), "What may be spent on one day of UTC."),
            ("spend_month_usd", Spend(), "What may be spent in one month of UTC."),
            ("spend_total_usd", Spend(), "What may be spent ever."),
        )
    ):
        option = "--" + name.removesuffix("_usd").replace("_", "-")
        command = click.option(option, name, type=type_, help=f"{meaning} `{NONE}` takes the limit away.")(command)
    return command


def term_options(command: Command) -> Command:
    """Let a command take all terms of a key."""
    command = limit_options(command)
    models = "A model that the key may ask for; give it again for more. `all` allows all."
    command = click.option("--model", "models", multiple=True, help=models)(command)
    expires = "When the key ends by itself: a date or time of UTC, a length of time such as 30d, or `never`."
    return click.option("--expires", type=Moment(), help=expires)(command)


actor_option: Final = click.option("--actor", help="Who decided it; it stays in the books for ever.")


def limit_fields(limits: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the member of a request that stands for the limits that were given; none if none were."""
    given: dict[str, int | str | None] = {}
    for name, text in limits.items():
        if text is not None:
            given[name] = None if text == NONE else text if name.endswith("_usd") else int(text)
    return {"limits": given} if given else {}


def term_fields(expires: str | None, models: tuple[str, ...], limits: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the members of a request that stand for the terms that were given."""
    fields: dict[str, Any] = limit_fields(limits)
    if expires is not None:
        fields["expires_ns"] = None if expires == "never" else int(expires)
    if models:
        fields["models"] = None if models == ("all",) else list(models)
    return fields


def draw_limits(limits: Mapping[str, int | str | None]) -> str:
    """Return limits for people."""
    return ", ".join(f"{name} {limit}" for name, limit in limits.items() if limit is not None) or NONE


def read_span(text: str) -> int | None:
    """Return the seconds of a length of time such as `10m`; None for what is none."""
    match = _SPAN.fullmatch(text)
    return None if match is None else int(match[1]) * _UNITS_S[match[2]]
