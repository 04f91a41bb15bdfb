"""`tallygate sign` and `verify-signature`: signatures of requests, made and checked without sending anything."""

from __future__ import annotations

import base64
import shlex
import time
from typing import TYPE_CHECKING

import click

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
from tallygate.cli.session import Command, Session
from tallygate.cli.tables import pairs
from tallygate.core.address import PUBLIC_KEY_BYTES, address_from_public_key
from tallygate.core.signing import Scheme, signed_message
from tallygate.core.signing import verify_signature as fits
from tallygate.direct.accounts import look_up_account
from tallygate.direct.nodes import Node, make_node
from tallygate.direct.route import sign_headers
from tallygate.direct.wallet import require_address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_KEY_DIGITS = 2 * PUBLIC_KEY_BYTES


@click.command(cls=Command)
@account_option
@file_option
@node_option
@provider_option
@scheme_option
@timestamp_option
@click.option("--curl", "as_curl", is_flag=True, help="Print a curl command that sends the request.")
@wallet_options
@click.pass_obj
def sign(
    session: Session,
    account_address: str | None,
    file: Path,
    node_address: str | None,
    provider_address: str | None,
    scheme: str,
    timestamp: int | None,
    as_curl: bool,
    key_file: Path | None,
    keystore: Path | None,
    passphrase_env: str | None,
) -> None:
    """Sign a request for a node, and print the signature; a node takes it for about a minute, once."""
    if as_curl and (node_address is None or str(file) == "-"):
        raise click.UsageError("--curl needs a node's URL (--node-address) and a file that curl can read, too.")
    with telling():
        wallet = WalletPlace(key_file, keystore, passphrase_env).open()
        require_address(wallet, account_address)
        if node_address is None and provider_address is not None:
            node = Node("", make_node("http://nowhere", provider_address).address)
        else:
            node = choose_node(node_address, provider_address)
        timestamp_ns = timestamp or time.time_ns()
        headers = sign_headers(wallet, Scheme(scheme), read_request(file), timestamp_ns, node.address)
    if as_curl:
        print(_spell_curl(node.url, headers, file))
        return
    content = {
        "address": wallet.address,
        "scheme": scheme,
        "timestamp": timestamp_ns,
        "provider_address": node.address,
        "signature": headers["Authorization"],
        "headers": headers,
    }
    lines = [
        ("Address:", wallet.address),
        ("Timestamp:", str(timestamp_ns)),
        ("Signature:", headers["Authorization"]),
    ]
    session.show(content, lambda: pairs(lines))


def _spell_curl(url: str, headers: Mapping[str, str], file: Path) -> str:
    parts = ["curl", "-sS", f"{url}/v1/chat/completions", "-H", "Content-Type: application/json"]
    for name, value in headers.items():
        parts += ["-H", f"{name}: {value}"]
    return shlex.join([*parts, "--data-binary", f"@{file}"])


@click.command("verify-signature", cls=Command)
@file_option
@click.option("--signature", required=True, help="Base64, as in the Authorization header.")
@click.option("--timestamp", type=click.IntRange(1), required=True, help="As in the X-Timestamp header.")
@provider_option
@scheme_option
@click.option("--public-key", help="The signer's public key: base64, or 66 hexadecimal digits.")
@account_option
@node_option
@click.pass_obj
def verify_signature(
    session: Session,
    file: Path,
    signature: str,
    timestamp: int,
    provider_address: str | None,
    scheme: str,
    public_key: str | None,
    account_address: str | None,
    node_address: str | None,
) -> None:
    """Check a signature as a node would; the public key is the one given, else the account's on the chain."""
    with telling():
        key = _find_key(public_key, account_address, node_address)
        if provider_address is None:
            provider_address = choose_node(node_address, None).address
        make_node("http://nowhere", provider_address)
        body = read_request(file)
    signer = address_from_public_key(key)
    good = [one.value for one in Scheme if fits(key, signed_message(one, body, timestamp, provider_address), signature)]
    if scheme in good:
        content = {"verified": True, "address": signer, "scheme": scheme}
        session.show(content, lambda: pairs([("Signature verified", f"of {signer}, scheme {scheme}")]))
        return
    message = f"The signature is not {signer}'s for this body, timestamp, node address and scheme ({scheme})."
    if good:
        message = f"The signature is {signer}'s, but of scheme {good[0]}, not {scheme}."
    if account_address not in (None, signer):
        message += f" The public key is not {account_address}'s."
    raise Failure(Exit.FAILED, message, {"verified": False, "error": {"message": message}})


def _find_key(public_key: str | None, account_address: str | None, node_address: str | None) -> bytes:
    if public_key is not None:
        return _parse_key(public_key)
    if account_address is None or node_address is None:
        raise click.UsageError("Name --public-key, or --account-address and --node-address to ask the chain for it.")
    found = look_up_account(node_address, account_address).public_key
    if found is None:
        message = f"The chain does not know the public key of {account_address}: name it with --public-key."
        raise Failure(Exit.NOT_FOUND, message)
    return found


def _parse_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text) if len(text) == _KEY_DIGITS else base64.b64decode(text, validate=True)
        address_from_public_key(key)
    except ValueError:
        raise click.UsageError("--public-key is no compressed public key: 33 bytes in base64 or hexadecimal.") from None
    return key
