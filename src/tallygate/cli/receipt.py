"""`tallygate receipt`: fetch a receipt, and check a receipt or a balance proof offline.

Checking needs the document and the operator's published public key, and nothing else: no configuration, no store, no
network. It says in words what is proved, and what cannot be.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.text import Text

from tallygate.cli.exits import Exit, Failure
from tallygate.cli.operator import ask, reach_operator, segment
from tallygate.cli.session import Group, Session
from tallygate.core.calendar import say_time
from tallygate.core.proofs.checkpoint import KEY_BYTES, key_id_of
from tallygate.core.proofs.receipt import DOCUMENT_BYTES_MAX, MalformedDocumentError, Receipt, decode_document
from tallygate.core.proofs.verdict import judge

if TYPE_CHECKING:
    from tallygate.core.proofs.verdict import Verdict

_LIMITS_OF_A_RECEIPT = (
    "It cannot prove that nothing was left out of it, that the network produced those tokens, or that the operator has "
    "signed the same books for everybody: compare the checkpoint with what others were shown."
)
_LIMITS_OF_A_BALANCE = (
    "It cannot prove that there is money behind the balance, or that the operator has signed the same books for "
    "everybody: compare the checkpoint with what others were shown."
)


@click.group(cls=Group)
def receipt() -> None:
    """Fetch and check receipts."""


@receipt.command("show")
@click.argument("inference")
@click.pass_obj
def show(session: Session, inference: str) -> None:
    """Print the receipt of an inference, as its caller can have it."""
    settings = session.load_settings(upstreams=False)
    with reach_operator(settings) as operator:
        document = ask(operator, "GET", f"/admin/v1/receipts/{segment(inference)}")
    print(msgspec.json.encode(document).decode())


@receipt.command("verify")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--public-key",
    help="The operator's public key: 64 hexadecimal digits, or a file with them or with an answer that names them.",
)
@click.pass_obj
def verify(session: Session, file: Path, public_key: str | None) -> None:
    """Check a receipt or a balance proof offline; exit code 7 if it proves nothing."""
    try:
        document = decode_document(_read(file))
    except MalformedDocumentError as error:
        raise _refuse([str(error)]) from None
    key = _parse_key(document.public_key if public_key is None else _read_key(public_key))
    if key is None and public_key is None:
        raise _refuse(["its public key is none; name the operator's with --public-key"])
    if key is None:
        raise Failure(Exit.USAGE, "--public-key is neither 64 hexadecimal digits nor a file that names a public key.")
    verdict = judge(document, key)
    if not verdict.is_proof:
        raise _refuse(verdict.faults)
    limits = _LIMITS_OF_A_RECEIPT if isinstance(document, Receipt) else _LIMITS_OF_A_BALANCE
    content = {
        "proved": True,
        "subject": verdict.subject,
        "facts": verdict.facts,
        "limits": limits,
        "signed_ns": verdict.checkpoint.time_ns if verdict.checkpoint else None,
        "key_id": key_id_of(key),
        "public_key": key.hex(),
        "key_was_given": public_key is not None,
    }
    session.show(content, lambda: _draw(verdict, content))


def _draw(verdict: Verdict, content: dict[str, Any]) -> Text:
    """Return what is proved; whoever made the document chose its words, which may not look like any of ours."""
    signed_ns = verdict.checkpoint.time_ns if verdict.checkpoint else 0
    lines = [
        f"This is a proof: {_spell(verdict.subject)}.",
        "",
        f"When the books were signed, at {say_time(signed_ns)} UTC, they said:",
        *(f"  - {_spell(fact)}" for fact in verdict.facts),
        "",
        content["limits"],
    ]
    if not content["key_was_given"]:
        warning = (
            f"It is signed with the key that it names itself, {content['public_key']}. Compare that with the key that "
            "the operator publishes, or give that one with --public-key: else anybody could have made this."
        )
        lines += ["", warning]
    return Text("\n".join(lines))


def _spell(text: str) -> str:
    """Return a text on one line, with what would move a terminal's cursor, or hide something, spelt out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _refuse(faults: list[str]) -> Failure:
    lines = ["This proves nothing:", *(f"  - {_spell(fault)}" for fault in faults)]
    return Failure(Exit.DIFFERENCE, "\n".join(lines), {"proved": False, "faults": faults})


def _read(file: Path) -> bytes:
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as source:
            return source.read(DOCUMENT_BYTES_MAX)
    except OSError as error:
        raise Failure(Exit.FAILED, f"{file} cannot be read: {error.strerror}.") from None


def _read_key(text: str) -> str:
    """Return the digits of a key: as they are, or from a file with them alone, or with an answer of a gateway."""
    if _parse_key(text) is not None:
        return text
    found = _read(Path(text)).decode(errors="replace").strip()
    try:
        content = msgspec.json.decode(found)
    except msgspec.DecodeError:
        return found
    return str(content.get("public_key")) if isinstance(content, dict) else found


def _parse_key(digits: str) -> bytes | None:
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None
