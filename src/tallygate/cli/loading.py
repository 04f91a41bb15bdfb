"""Where each command is: loaded when it is wanted, so that none needs the libraries of another.

A direct developer's commands work with `tallygate[direct]` alone; whoever asks for one whose libraries are not there is
told which extra brings them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

import click

from tallygate.cli.exits import Exit, Failure
from tallygate.cli.session import Group

if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECT: Final = {
    "send-request": "direct.send_request:send_request",
    "sign": "direct.signatures:sign",
    "verify-signature": "direct.signatures:verify_signature",
    "wallet": "direct.wallet:wallet",
    "account": "direct.account:account",
    "nodes": "direct.nodes:nodes",
}
"""The commands of direct developers, by the module and the name in it."""

_SERVER: Final = (
    *("init", "check", "serve", "devnet", "demo"),
    *("accounts", "credit", "correct", "prices", "keys", "usage", "inferences", "margin", "alarms", "wallets"),
    *("statement", "verify", "receipt", "reconcile", "backup", "restore", "dump", "load"),
)
_ELSEWHERE: Final = {"wallets": "alarms:wallets", "restore": "backup:restore", "load": "dump:load"}

COMMANDS: Final[Mapping[str, str]] = {
    **{name: _ELSEWHERE.get(name, f"{name}:{name}") for name in _SERVER},
    **DIRECT,
}
"""All commands."""


class Program(Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all, whether or not they can be loaded."""
        return sorted([*COMMANDS, *super().list_commands(ctx)])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, loaded; in place of one that lacks libraries, one that says which."""
        where = COMMANDS.get(cmd_name)
        if where is None:
            return super().get_command(ctx, cmd_name)
        module, _, name = where.partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(f"tallygate.cli.{module}"), name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "tallygate":
                raise
            return _Unavailable(cmd_name, error.name)
        return command


class _Unavailable(click.Command):
    """Stands for a command that cannot be loaded."""

    def __init__(self, name: str, library: str) -> None:
        extra = "direct" if name in DIRECT else "server"
        self._message = (
            f"tallygate {name} needs a library that is not installed ({library}); run: pip install 'tallygate[{extra}]'"
        )
        super().__init__(name, help=f"Not installed; it comes with tallygate[{extra}].", add_help_option=False)
        self.ignore_unknown_options = True
        self.allow_extra_args = True

    def invoke(self, ctx: click.Context) -> Any:
        """Say what to install."""
        del ctx
        raise Failure(Exit.FAILED, self._message)
