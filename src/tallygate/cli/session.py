"""What every command shares: where the configuration is, and whether a program or a person reads the answer.

`--config` and `--json` are taken before and behind a command's name alike.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from tallygate.cli.exits import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import RenderableType

    from tallygate.config import ConfigError, Settings

CONFIG_VARIABLE = "TALLYGATE_CONFIG"
CONFIG_NAME = "tallygate.toml"
PIPE_COLUMNS = 200
"""How wide tables may be where no terminal says so: wide enough that no id is ever broken."""


class Session:
    """One run of the program.

    Attributes:
        chosen_config: What `--config` said.
        as_json: Whether a program reads the answer.
    """

    def __init__(self) -> None:
        self.chosen_config: Path | None = None
        self.as_json = False

    @property
    def config_path(self) -> Path:
        """Where the configuration is: by option, by environment, or in this folder."""
        return self.chosen_config or Path(os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME)

    def load_settings(self, *, upstreams: bool = True) -> Settings:
        """Return the configuration; an operator's command needs neither the ways to the network nor their secrets.

        Raises:
            Failure: It has problems; all of them are told.
        """
        from tallygate import config  # noqa: PLC0415  (direct developers have no configuration, nor what reads one)

        try:
            return config.load(self.config_path, os.environ, upstreams=upstreams)
        except config.ConfigError as error:
            raise describe_problems(self.config_path, error) from None

    def show(self, content: Mapping[str, Any], render: Callable[[], RenderableType]) -> None:
        """Give the answer: as one line of JSON, or as people like it."""
        if self.as_json:
            print(msgspec.json.encode(content).decode())
        else:
            out = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)
            out.print(render())

    def say(self, message: str) -> None:
        """Tell people something that is not the answer."""
        print(message, file=sys.stderr)

    def tell(self, failure: Failure) -> None:
        """Tell why the command ends."""
        self.say(failure.message)
        if self.as_json:
            print(msgspec.json.encode(failure.content).decode())


class Command(click.Command):
    """A command that takes the options of all behind its name, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _options_of_all()


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _options_of_all()


def describe_problems(path: Path, error: ConfigError) -> Failure:
    """Return the ending that tells every problem of a configuration."""
    lines = [f"{path} has {len(error.problems)} problem{'s' if len(error.problems) > 1 else ''}:"]
    for problem in error.problems:
        lines.append(f"  line {problem.line}: {problem.message}" if problem.line else f"  {problem.message}")
        lines.append(f"      {problem.remedy}")
    found = [{"line": problem.line, "message": problem.message, "remedy": problem.remedy} for problem in error.problems]
    return Failure(Exit.CONFIGURATION, "\n".join(lines), {"ok": False, "config": str(path), "problems": found})


def _options_of_all() -> list[click.Parameter]:
    return [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            expose_value=False,
            callback=_keep_config,
            help=f"The configuration file; else {CONFIG_VARIABLE}, else ./{CONFIG_NAME}.",
        ),
        click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=_keep_json, help="Answer in JSON, for programs."
        ),
    ]


def _keep_config(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(Session).chosen_config = value


def _keep_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Session).as_json = True
