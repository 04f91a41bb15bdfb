"""`tallygate demo`: a devnet, a gateway, an account with $5.00 and one paid call, all real, in front of your eyes.

This file tells the story; `stage` starts and ends the programs, `call` is what a customer does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import click
import msgspec
from rich.console import Console, Group

from tallygate.cli.demo.call import PaidCall, make_paid_call
from tallygate.cli.demo.stage import Folder, Ports, start_devnet, start_gateway
from tallygate.cli.exits import Exit, Failure
from tallygate.cli.operator import RemoteOperator, ask, segment
from tallygate.cli.promises import draw_report
from tallygate.cli.session import PIPE_COLUMNS, Command, Session
from tallygate.cli.tables import dollars, pairs
from tallygate.core.money import parse_usd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

DEPOSIT_USD = "5"
_PORT = click.IntRange(1, 65535)


@click.command(cls=Command)
@click.option("--once", is_flag=True, help="End after the call; exit code 0 only if all of it was right.")
@click.option("--port", type=_PORT, default=8080, show_default=True, help="The gateway's.")
@click.option("--admin-port", type=_PORT, help="The admin listener's.  [default: the next one]")
@click.option("--node-port", type=_PORT, default=9000, show_default=True, help="The devnet's first of four.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-data"),
    show_default=True,
    help="The folder for the store and the logs; a demo's own files in it are made anew.",
)
@click.option("--keep", is_flag=True, help="Go on with the books of an earlier demo in that folder.")
@click.pass_obj
def demo(
    session: Session, once: bool, port: int, admin_port: int | None, node_port: int, data: Path, keep: bool
) -> None:
    """Show the whole of it on this machine: a devnet, a gateway and one paid call."""
    stage = _Stage(Ports(port, admin_port or port + 1, node_port), session.as_json)
    stage.ports.check()
    try:
        with _signals_as_interrupts(), contextlib.ExitStack() as stack:
            stage.play(stage.set(stack, Folder(data, keep=keep)))
            if not once:
                stage.say("Ctrl-C ends it.")
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
                raise Failure(Exit.FAILED, f"A program of the demo has ended by itself; its log is in {data}.")
    except KeyboardInterrupt:
        if once or not stage.is_through:
            raise Failure(Exit.FAILED, "The demo was ended before it was through.") from None
        stage.say("The demo has ended; everything is closed.")


class _Scene(NamedTuple):
    """What is there when everything has been started.

    Attributes:
        operator: Who answers the admin API.
        account: The account that was opened.
        facts: What other programs need, by the names of the contract.
    """

    operator: RemoteOperator
    account: str
    facts: Mapping[str, str]


class _Stage:
    """What the demo is played on.

    Args:
        ports: Where everything listens.
        as_json: Whether a program reads the facts; people's text then goes to standard error.

    Attributes:
        is_through: Whether everything has been shown, and was right.
    """

    def __init__(self, ports: Ports, as_json: bool) -> None:
        self.ports = ports
        self.is_through = False
        self._as_json = as_json
        self._out: TextIO = sys.stderr if as_json else sys.stdout

    def say(self, text: str) -> None:
        """Tell people something, at once."""
        print(text, file=self._out, flush=True)

    def set(self, stack: contextlib.ExitStack, folder: Folder) -> _Scene:
        """Start everything, and open an account with money and a key."""
        stack.enter_context(folder)
        self.say("Starting a devnet: three nodes that take signed requests, one gateway that takes a Bearer key.")
        network = start_devnet(stack, folder, self.ports)
        self.say("Starting the gateway.")
        admin_key = secrets.token_urlsafe(32)
        start_gateway(stack, folder, self.ports, network, admin_key)
        self.say(f"Opening an account with {dollars(DEPOSIT_USD)}.")
        operator = RemoteOperator("127.0.0.1", self.ports.admin, admin_key)
        stack.callback(operator.close)
        account = str(ask(operator, "POST", "/admin/v1/accounts", {"name": "demo"})["id"])
        ask(operator, "POST", _account_path(account) + "/deposits", {"usd": DEPOSIT_USD, "reference": "demo"})
        key = ask(operator, "POST", "/admin/v1/keys", {"account": account, "name": "demo"})["secret"]
        facts = {
            "TALLYGATE_BASE_URL": f"http://127.0.0.1:{self.ports.gateway}/v1",
            "TALLYGATE_API_KEY": key,
            "TALLYGATE_ADMIN_URL": f"http://127.0.0.1:{self.ports.admin}",
            "TALLYGATE_ADMIN_KEY": admin_key,
            "TALLYGATE_NODE_URL": network.nodes[0].url,
            "TALLYGATE_NODE_ADDRESS": network.nodes[0].address,
            "TALLYGATE_DATA": str(folder.path),
        }
        return _Scene(operator, account, facts)

    def play(self, scene: _Scene) -> None:
        """Make the paid call and show what it cost.

        Raises:
            Failure: Something about it was not right.
        """
        operator, facts = scene.operator, scene.facts
        self.say("\n" + "\n".join(f"{name}={value}" for name, value in facts.items()) + "\n")
        account = ask(operator, "GET", _account_path(scene.account))
        call = make_paid_call(facts["TALLYGATE_BASE_URL"], facts["TALLYGATE_API_KEY"], self._out)
        after = ask(operator, "GET", _account_path(scene.account))
        report = ask(operator, "POST", "/admin/v1/verify")
        self._draw(_draw_costs(call, account["balance_usd"], after["balance_usd"]))
        self.say("")
        self._draw(Group(*draw_report(report)))
        wrong = [*call.problems(), *_compare(call, account, after)]
        if not report["clean"]:
            wrong.append("the books do not add up")
        if wrong:
            raise Failure(Exit.FAILED, f"The demo was not right: {'; '.join(wrong)}.")
        if self._as_json:
            shown = {**facts, **call.describe(), "balance_usd": after["balance_usd"], "verify": report}
            print(msgspec.json.encode(shown).decode(), flush=True)
        self.is_through = True
        self.say("\nREADY")

    def _draw(self, drawing: RenderableType) -> None:
        width = None if self._out.isatty() else PIPE_COLUMNS
        Console(file=self._out, width=width, highlight=False).print(drawing)


def _account_path(account_id: str) -> str:
    return f"/admin/v1/accounts/{segment(account_id)}"


def _draw_costs(call: PaidCall, before_usd: str, after_usd: str) -> RenderableType:
    return pairs(
        [
            ("tokens", f"{call.prompt_tokens} prompt + {call.completion_tokens} completion"),
            ("base cost", dollars(call.base_usd)),
            ("platform fee", dollars(call.fee_usd)),
            ("total", dollars(call.total_usd)),
            ("balance", f"{dollars(after_usd)}, from {dollars(before_usd)}"),
        ]
    )


def _compare(call: PaidCall, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what the account shows that does not fit the call."""
    fallen = parse_usd(before["balance_usd"]) - parse_usd(after["balance_usd"])
    problems = [] if fallen == parse_usd(call.total_usd) else ["the balance did not fall by exactly the total"]
    return problems if after["held_usd"] == "0" else [*problems, "money is still held"]


@contextlib.contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Let the first signal to end interrupt whatever is under way; those after it do not disturb the cleaning up."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(_: int, __: object) -> None:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
