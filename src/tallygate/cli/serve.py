"""`tallygate serve`: the gateway. Configuration, build, announce, run, drain; the work of it is in `app`."""

from __future__ import annotations

import os
import resource
import sys
from typing import TYPE_CHECKING, Final

import click
import msgspec
import uvloop

import tallygate
from tallygate import app
from tallygate.api.server import PortBusyError
from tallygate.cli.exits import Exit, Failure
from tallygate.cli.logs import configure_logs
from tallygate.cli.memory import give_large_pieces_back
from tallygate.cli.session import Command, Session
from tallygate.core.errors import StoreUnavailableError
from tallygate.secretfile import SecretFileError
from tallygate.storage.proofs.anchors import AnchorError
from tallygate.storage.sqlite import NotAStoreError, StoreLockedError
from tallygate.tokenizerfile import TokenizerFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ENDINGS: Final[Mapping[type[Exception], Exit]] = {
    StoreLockedError: Exit.STORE_LOCKED,
    NotAStoreError: Exit.FAILED,
    SecretFileError: Exit.CONFIGURATION,
    TokenizerFileError: Exit.CONFIGURATION,
    PortBusyError: Exit.PORT_BUSY,
    AnchorError: Exit.FAILED,
    StoreUnavailableError: Exit.FAILED,  # during the start: such as an accepted loss that cannot be anchored
    PermissionError: Exit.FAILED,
}


@click.command(cls=Command)
@click.option(
    "--logs",
    type=click.Choice(["auto", "json", "pretty"]),
    default="auto",
    show_default=True,
    help="JSON lines, or lines for people; by itself: for people on a terminal.",
)
@click.option(
    "--accept-lost-tail",
    is_flag=True,
    help="Go on with a store whose end is lost, as its anchors show; the books record it.",
)
@click.pass_obj
def serve(session: Session, logs: str, accept_lost_tail: bool) -> None:
    """Run the gateway until SIGTERM or Ctrl-C, then let calls under way end."""
    settings = session.load_settings()
    give_large_pieces_back()
    protect_secrets(settings.secret_env_names)
    pretty = logs == "pretty" or (logs == "auto" and sys.stderr.isatty())
    configure_logs(settings.server.log_level, pretty=pretty, lasting=True)

    def announce(state: str, port: int, admin_port: int) -> None:
        public, admin = _url(settings.server.host, port) + "/v1", _url(settings.admin.host, admin_port)
        if session.as_json:
            print(msgspec.json.encode({"state": state, "base_url": public, "admin_url": admin}).decode(), flush=True)
        else:
            open_or_not = f"admin on {admin}" if settings.admin.key else "admin closed: no admin key"
            print(f"Tallygate {tallygate.__version__} listening on {public}, {open_or_not}", flush=True)

    try:
        uvloop.run(app.serve(settings, announce, accept_lost_tail=accept_lost_tail))
    except tuple(_ENDINGS) as error:
        text = str(error.strerror) if isinstance(error, PortBusyError) else str(error)
        ending = next(ending for kind, ending in _ENDINGS.items() if isinstance(error, kind))
        raise Failure(ending, f"{text[:1].upper()}{text[1:]}.") from None


def protect_secrets(names: Iterable[str]) -> None:
    """Leave no secret where a core dump or a child of this process would show it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in names:
        os.environ.pop(name, None)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
