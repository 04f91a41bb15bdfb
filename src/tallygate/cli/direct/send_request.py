"""`tallygate send-request`: one signed request, sent to one node, whose answer is printed as it comes."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click
import msgspec

from tallygate.cli.direct.options import (
    WalletPlace,
    account_option,
    choose_node,
    file_option,
    node_option,
    provider_option,
    read_request,
    scheme_option,
    telling,
    timestamp_option,
    wallet_options,
)
from tallygate.cli.exits import Exit, Failure
from tallygate.cli.session import Command
from tallygate.core.signing import Scheme
from tallygate.direct.errors import RefusedError, UnreachableError
from tallygate.direct.refusals import explain, words_of
from tallygate.direct.route import sign_headers
from tallygate.direct.streams import TAIL_BYTES, ends_well
from tallygate.direct.wallet import require_address
from tallygate.direct.web import send

if TYPE_CHECKING:
    import http.client
    from pathlib import Path

_ERROR_BYTES_MAX = 64 * 1024
_PART_BYTES = 64 * 1024


@click.command("send-request", cls=Command)
@account_option
@node_option
@file_option
@provider_option
@scheme_option
@timestamp_option
@click.option(
    "--timeout-s", type=click.FloatRange(0.1), default=600, show_default=True, help="Between two parts of the answer."
)
@wallet_options
def send_request(
    account_address: str | None,
    node_address: str | None,
    file: Path,
    provider_address: str | None,
    scheme: str,
    timestamp: int | None,
    timeout_s: float,
    key_file: Path | None,
    keystore: Path | None,
    passphrase_env: str | None,
) -> None:
    """Sign a chat request with your own key, send it to a node, and print the answer."""
    with telling():
        wallet = WalletPlace(key_file, keystore, passphrase_env).open()
        require_address(wallet, account_address)
        body = read_request(file)
        _require_object(body, file)
        node = choose_node(node_address, provider_address)
        signed = sign_headers(wallet, Scheme(scheme), body, timestamp or time.time_ns(), node.address)
        headers = {"Content-Type": "application/json", **signed}
        with send("POST", f"{node.url}/v1/chat/completions", headers, body, timeout_s) as answer:
            if answer.status != 200:
                said = words_of(answer.read(_ERROR_BYTES_MAX))
                raise RefusedError(answer.status, said, explain(answer.status, said))
            _print(answer)


def _require_object(body: bytes, file: Path) -> None:
    if not _is_object(body):
        raise Failure(Exit.FAILED, f"{file} is not a JSON object, as a chat request is; nothing was sent.")


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _print(answer: http.client.HTTPResponse) -> None:
    """Print an answer as it comes.

    Raises:
        UnreachableError: It is not whole.
    """
    is_stream = (answer.getheader("content-type") or "").startswith("text/event-stream")
    seen = b""
    out = sys.stdout.buffer
    while part := answer.read1(_PART_BYTES):
        seen = (seen + part)[-TAIL_BYTES:] if is_stream else seen + part
        out.write(part)
        out.flush()
    if not seen.endswith(b"\n"):
        out.write(b"\n")
    if answer.length or not (ends_well(seen) if is_stream else _is_object(seen)):
        raise UnreachableError("The node broke the answer off: it is not whole. What has come is billed.")
