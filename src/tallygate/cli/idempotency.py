"""The option of commands that move money: a key under which an act is booked once, however often it is asked for."""

from __future__ import annotations

from typing import Any

import click

from tallygate.core.idempotency import KEY_CHARACTERS_MAX, is_key


class IdempotencyKey(click.ParamType[str]):
    """A text that can be a key."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        if not is_key(str(value).encode()):
            self.fail(f"a key has 1 to {KEY_CHARACTERS_MAX} visible ASCII characters.", param, ctx)
        return str(value)


idempotency_key = click.option(
    "--idempotency-key",
    type=IdempotencyKey(),
    help="A key of your own; for a day, the same act under it is booked only once.",
)
