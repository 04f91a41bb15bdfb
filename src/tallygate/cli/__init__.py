"""The command line: one file per group of commands, put together here.

Commands that look at or change the books speak the admin API and nothing else (`operator`). What a command has to
say to a program goes to standard output, everything else to standard error; how it ended is its exit code (`exits`).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

import tallygate
from tallygate.cli.accounts import accounts
from tallygate.cli.alarms import alarms, wallets
from tallygate.cli.backup import backup, restore
from tallygate.cli.check import check
from tallygate.cli.correct import correct
from tallygate.cli.credit import credit
from tallygate.cli.demo import demo
from tallygate.cli.devnet import devnet
from tallygate.cli.direct import COMMANDS as DIRECT_COMMANDS
from tallygate.cli.dump import dump, load
from tallygate.cli.exits import Exit, Failure
from tallygate.cli.inferences import inferences
from tallygate.cli.init import init
from tallygate.cli.keys import keys
from tallygate.cli.logs import configure_logs
from tallygate.cli.margin import margin
from tallygate.cli.memory import forbid_dumps
from tallygate.cli.prices import prices
from tallygate.cli.receipt import receipt
from tallygate.cli.reconcile import reconcile
from tallygate.cli.serve import serve
from tallygate.cli.session import Group, Session
from tallygate.cli.statement import statement
from tallygate.cli.usage import usage
from tallygate.cli.verify import verify

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
"""What a shell reports for a program that Ctrl-C has ended."""


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(tallygate.__version__, message="Tallygate %(version)s")
def program() -> None:
    """Run a prepaid, OpenAI-compatible gateway to the Gonka Network."""


for command in (
    init,
    check,
    serve,
    devnet,
    accounts,
    credit,
    correct,
    prices,
    keys,
    usage,
    inferences,
    margin,
    alarms,
    wallets,
    statement,
    verify,
    receipt,
    reconcile,
    backup,
    restore,
    dump,
    load,
    demo,
    *DIRECT_COMMANDS,
):
    program.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    forbid_dumps()
    session = Session()
    configure_logs("warning", pretty=sys.stderr.isatty())
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
