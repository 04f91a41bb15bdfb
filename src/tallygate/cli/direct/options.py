"""What these commands share: where the wallet is, which node is meant, how an error ends a command."""

from __future__ import annotations

import contextlib
import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tallygate.cli.exits import Exit, Failure
from tallygate.core.signing import Scheme, SigningKey
from tallygate.direct.errors import DirectError, EndpointError, RefusedError, UnreachableError, WalletError
from tallygate.direct.keystore import decrypt_secret
from tallygate.direct.nodes import NODE_VARIABLE, PROVIDER_VARIABLE, Node, find_nodes, resolve_node
from tallygate.direct.wallet import ADDRESS_VARIABLE, KEY_VARIABLE, parse_secret, read_secret, read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUEST_BYTES_MAX = 10 * 1024 * 1024
"""What nodes take at most."""


class WalletPlace(NamedTuple):
    """Where a private key is: in one of the two files, else in the environment."""

    key_file: Path | None
    keystore: Path | None
    passphrase_env: str | None

    def read_secret(self) -> bytes:
        """Return the private key.

        Raises:
            WalletError: There is none.
        """
        if self.key_file is not None and self.keystore is not None:
            raise WalletError("--key-file and --keystore are two wallets: name one.")
        if self.key_file is not None:
            return read_secret(self.key_file)
        if self.keystore is not None:
            text = read_text(self.keystore)
            return decrypt_secret(text, ask_passphrase(self.passphrase_env, new=False), str(self.keystore))
        text = os.environ.get(KEY_VARIABLE, "")
        if not text.strip():
            raise WalletError(f"No wallet is named: set {KEY_VARIABLE}, or name --key-file or --keystore.")
        return parse_secret(text, KEY_VARIABLE)

    def open(self) -> SigningKey:
        """Return the wallet.

        Raises:
            WalletError: There is none.
        """
        return SigningKey(self.read_secret())


def wallet_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the wallet is: `key_file`, `keystore`, `passphrase_env`."""
    for option in (
        click.option(
            "--passphrase-env", help="The environment variable with the keystore's passphrase; else it is asked."
        ),
        click.option("--keystore", type=click.Path(path_type=Path), help="An encrypted file with the private key."),
        click.option(
            "--key-file",
            type=click.Path(path_type=Path),
            help=f"A file with the private key that only you can read.  [default: {KEY_VARIABLE}]",
        ),
    ):
        command = option(command)
    return command


account_option = click.option(
    "--account-address", envvar=ADDRESS_VARIABLE, show_envvar=True, help="The account that pays; must be the wallet's."
)
node_option = click.option(
    "--node-address", envvar=NODE_VARIABLE, show_envvar=True, help="The node's URL, with or without /v1."
)
provider_option = click.option(
    "--provider-address",
    envvar=PROVIDER_VARIABLE,
    show_envvar=True,
    help="The node's own gonka1… address, where it does not say it itself.",
)
file_option = click.option(
    "--file",
    "file",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    help="The request's JSON, which is sent byte for byte (- reads standard input).",
)
scheme_option = click.option(
    "--scheme",
    type=click.Choice([scheme.value for scheme in Scheme]),
    default=Scheme.HASH.value,
    show_default=True,
    help="What is signed; a node takes one of the two.",
)
timestamp_option = click.option(
    "--timestamp", type=click.IntRange(1), help="Nanoseconds since 1970.  [default: the time]"
)


def choose_node(node_address: str | None, provider_address: str | None) -> Node:
    """Return the node that was named, or one of the environment's at random.

    Raises:
        DirectError: There is none.
    """
    if node_address is not None:
        return resolve_node(node_address, provider_address)
    try:
        found = find_nodes()
    except EndpointError as error:
        raise EndpointError(f"{error} Or name a node: --node-address.") from None
    return random.SystemRandom().choice(found)


def read_request(file: Path) -> bytes:
    """Return the bytes of a request.

    Raises:
        Failure: They cannot be read, or are more than nodes take.
    """
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
            body = source.read(REQUEST_BYTES_MAX + 1)
    except OSError as error:
        raise Failure(Exit.FAILED, f"{file} cannot be read: {error.strerror}.") from None
    if len(body) > REQUEST_BYTES_MAX:
        raise Failure(Exit.FAILED, f"{file} has more than the 10 MiB that nodes take.")
    return body


def ask_passphrase(variable: str | None, *, new: bool) -> str:
    """Return a keystore's passphrase: of the variable that was named, else asked for.

    Raises:
        WalletError: There is none.
    """
    if variable is not None:
        if not (found := os.environ.get(variable, "")):
            raise WalletError(f"{variable} is not set, so there is no passphrase for the keystore.")
        return found
    if not sys.stdin.isatty():
        raise WalletError("The keystore needs a passphrase: name the variable that holds it (--passphrase-env).")
    return str(click.prompt("Passphrase of the keystore", hide_input=True, confirmation_prompt=new, err=True))


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """End the command as an error of direct access says."""
    try:
        yield
    except RefusedError as error:
        content = {"message": str(error), "status": error.status, "said": error.said, "advice": error.advice}
        raise Failure(Exit.FAILED, str(error), {"error": content}) from None
    except UnreachableError as error:
        raise Failure(Exit.UNREACHABLE, str(error)) from None
    except DirectError as error:
        raise Failure(Exit.FAILED, str(error)) from None
