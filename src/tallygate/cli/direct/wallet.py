"""`tallygate wallet`: make, import, show and export a wallet, and publish its public key on the chain.

What is secret is printed by `export --reveal` and by `new --mnemonic` alone; nothing secret is ever an argument.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tallygate.cli.direct.options import (
    WalletPlace,
    account_option,
    ask_passphrase,
    node_option,
    telling,
    wallet_options,
)
from tallygate.cli.session import Group, Session
from tallygate.cli.tables import pairs
from tallygate.core.signing import SigningKey
from tallygate.direct.accounts import encode_public_key
from tallygate.direct.errors import WalletError
from tallygate.direct.keystore import encrypt_secret
from tallygate.direct.nodes import find_nodes
from tallygate.direct.publishing import GAS, GAS_PRICE_NGONKA, publish_public_key
from tallygate.direct.wallet import (
    KEY_VARIABLE,
    new_secret,
    parse_secret,
    require_address,
    write_wallet_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable

COIN_TYPES = ("1200", "118")


def _new_file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--passphrase-env", help="The environment variable with the keystore's passphrase; else it is asked."
        ),
        click.option("--keystore", type=click.Path(path_type=Path), help="The encrypted file to make."),
        click.option(
            "--key-file", type=click.Path(path_type=Path), help="The plain file to make, for you alone to read."
        ),
    ):
        command = option(command)
    return command


@click.group(cls=Group)
def wallet() -> None:
    """Keep the key that signs your own requests."""


@wallet.command("new")
@click.option("--mnemonic", is_flag=True, help="Make it from 24 words, and print them this once.")
@_new_file_options
@click.pass_obj
def new(
    session: Session, mnemonic: bool, key_file: Path | None, keystore: Path | None, passphrase_env: str | None
) -> None:
    """Make a wallet, in a file that only you can read or in an encrypted keystore."""
    with telling():
        words = _mnemonic().new_words() if mnemonic else None
        secret = new_secret() if words is None else _mnemonic().secret_from_words(words)
        place = _keep(secret, WalletPlace(key_file, keystore, passphrase_env))
    rows, content = _describe(SigningKey(secret), place)
    if words is not None:
        rows.append(("Words", words))
        content["mnemonic"] = words
        session.say("Write the words down and keep them safe: they are the wallet, and are not shown again.")
    session.show(content, lambda: pairs(rows))


@wallet.command("import")
@click.option("--mnemonic", is_flag=True, help="Words come, not a private key in hexadecimal digits.")
@click.option(
    "--coin-type",
    type=click.Choice(COIN_TYPES),
    default=COIN_TYPES[0],
    show_default=True,
    help="Of words: 1200 as the network's command line derives, 118 as Keplr and Cosmostation.",
)
@_new_file_options
@click.pass_obj
def import_(
    session: Session,
    mnemonic: bool,
    coin_type: str,
    key_file: Path | None,
    keystore: Path | None,
    passphrase_env: str | None,
) -> None:
    """Keep a key that you have: from GONKA_PRIVATE_KEY or standard input, words from standard input."""
    with telling():
        if mnemonic:
            secret = _mnemonic().secret_from_words(_ask("Words"), int(coin_type))
        else:
            secret = parse_secret(os.environ.get(KEY_VARIABLE) or _ask("Private key"), "What was given")
        place = _keep(secret, WalletPlace(key_file, keystore, passphrase_env))
    rows, content = _describe(SigningKey(secret), place)
    session.show(content, lambda: pairs(rows))


@wallet.command("show")
@wallet_options
@click.pass_obj
def show(session: Session, key_file: Path | None, keystore: Path | None, passphrase_env: str | None) -> None:
    """Show a wallet's address and public key."""
    with telling():
        opened = WalletPlace(key_file, keystore, passphrase_env).open()
    rows, content = _describe(opened, None)
    session.show(content, lambda: pairs(rows))


@wallet.command("export")
@click.option("--reveal", is_flag=True, required=True, help="Say that you know what this prints.")
@wallet_options
@click.pass_obj
def export(
    session: Session, reveal: bool, key_file: Path | None, keystore: Path | None, passphrase_env: str | None
) -> None:
    """Print a wallet's private key: whoever sees it has the money."""
    if not reveal:
        raise click.UsageError("Say --reveal, if the private key is to be printed.")
    with telling():
        secret = WalletPlace(key_file, keystore, passphrase_env).read_secret()
    session.show({"private_key": secret.hex()}, lambda: pairs([(secret.hex(), "")]))


@wallet.command("publish-pubkey")
@node_option
@account_option
@click.option("--chain-id", help="The chain's name.  [default: what the node says]")
@click.option("--gas", type=click.IntRange(1), default=GAS, show_default=True, help="How much work it may be.")
@click.option(
    "--gas-price-ngonka",
    type=click.IntRange(0),
    default=GAS_PRICE_NGONKA,
    show_default=True,
    help="What a unit of it costs.",
)
@wallet_options
@click.pass_obj
def publish_pubkey(
    session: Session,
    node_address: str | None,
    account_address: str | None,
    chain_id: str | None,
    gas: int,
    gas_price_ngonka: int,
    key_file: Path | None,
    keystore: Path | None,
    passphrase_env: str | None,
) -> None:
    """Publish a wallet's public key on the chain: a transfer of 1 ngonka to itself, for a fee."""
    with telling():
        opened = WalletPlace(key_file, keystore, passphrase_env).open()
        require_address(opened, account_address)
        url = node_address or find_nodes()[0].url
        done = publish_public_key(opened, url, chain_id=chain_id, gas=gas, gas_price_ngonka=gas_price_ngonka)
    content = {"address": opened.address, "transaction": done.hash, "fee_ngonka": done.fee_ngonka}
    rows = [
        ("Address", opened.address),
        ("Transaction", done.hash),
        ("Fee", f"{done.fee_ngonka} ngonka"),
        ("Next", f"in a few seconds: tallygate account {opened.address}"),
    ]
    session.show(content, lambda: pairs(rows))


def _describe(opened: SigningKey, place: Path | None) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    public_key = encode_public_key(opened.public_key)
    rows = [("Address", opened.address), ("Public key", public_key)]
    content: dict[str, Any] = {"address": opened.address, "public_key": public_key}
    if place is not None:
        rows.append(("File", str(place)))
        content["file"] = str(place)
    return rows, content


def _keep(secret: bytes, place: WalletPlace) -> Path:
    """Write a wallet's file, and return it."""
    if (place.key_file is None) == (place.keystore is None):
        raise WalletError("Say where to keep the wallet: --keystore FILE (encrypted), or --key-file FILE (plain).")
    if place.key_file is not None:
        write_wallet_file(place.key_file, f"{secret.hex()}\n")
        return place.key_file
    path = place.keystore or Path()
    if path.exists():  # before a passphrase is asked for
        raise WalletError(f"{path} is there already, and is left as it is: name another file.")
    write_wallet_file(path, encrypt_secret(secret, ask_passphrase(place.passphrase_env, new=True)))
    return path


def _ask(what: str) -> str:
    """Return a secret that is typed unseen, or comes by a pipe."""
    if sys.stdin.isatty():
        return str(click.prompt(what, hide_input=True, err=True))
    return sys.stdin.read(4096)


def _mnemonic() -> Any:
    try:
        from tallygate.direct import mnemonic  # noqa: PLC0415  (an extra: only who uses words needs it)
    except ImportError:
        message = "Words need libraries that are not installed; run: pip install 'tallygate[direct]'"
        raise WalletError(message) from None
    return mnemonic
