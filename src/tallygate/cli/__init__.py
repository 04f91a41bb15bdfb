"""The command line: one file per group of commands, loaded by their names (`loading`).

Commands that look at or change the books speak the admin API and nothing else (`operator`). What a command has to
say to a program goes to standard output, everything else to standard error; how it ended is its exit code (`exits`).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

import tallygate
from tallygate.cli.exits import Exit, Failure
from tallygate.cli.loading import Program
from tallygate.cli.memory import forbid_dumps
from tallygate.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
"""What a shell reports for a program that Ctrl-C has ended."""


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tallygate.__version__, message="Tallygate %(version)s")
def program() -> None:
    """Run a prepaid, OpenAI-compatible gateway to the Gonka Network."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    forbid_dumps()
    session = Session()
    _set_up_logs()
    try:
        shown = program.main(args=arguments, prog_name="tallygate", obj=session, standalone_mode=False)
        sys.stdout.flush()
    except Failure as failure:
        session.tell(failure)
        return failure.exit
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except click.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has had enough (`| head`); the interpreter must not complain of it while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    return shown if isinstance(shown, int) else Exit.OK


def _set_up_logs() -> None:
    try:
        from tallygate.cli.logs import configure_logs  # noqa: PLC0415  (direct developers have no library for logs)
    except ModuleNotFoundError:
        return  # and no command that writes any
    configure_logs("warning", pretty=sys.stderr.isatty())
