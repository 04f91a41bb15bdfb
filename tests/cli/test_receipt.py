"""Receipts, checkpoints and lost tails, as the operator and a customer meet them on the command line."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from tallygate.cli import main
from tallygate.cli.operator import RemoteOperator
from tallygate.core.ledger.entry import decode_entry
from tallygate.core.proofs.balances import BalanceTree
from tallygate.core.proofs.checkpoint import CheckpointKey
from tallygate.core.proofs.receipt import encode_document, prove_balance
from tests.cli.installation import ADMIN_KEY, Installation, Outcome, Program
from tests.core.audit.forgery import make_world
from tests.core.proofs.proving import (
    KEY,
    OTHER_KEY,
    TIME_NS,
    commit_to_balances,
    make_checkpoint,
    make_receipt,
    sign,
)

BATCHES = make_world().batches()
RECEIPT = encode_document(make_receipt(BATCHES, "i-1"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A receipt in a file."""
    path = tmp_path / "receipt.json"
    path.write_bytes(RECEIPT)
    return path


def verify(*arguments: object) -> int:
    """Run the check where there is no configuration."""
    return main(["receipt", "verify", *map(str, arguments)])


def test_receipt_is_checked_offline_with_the_published_key(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the key as digits, in a file, or in a gateway's answer, the facts are told, and what is not proved."""
    digits, answer = file.with_name("key"), file.with_name("latest.json")
    digits.write_text(KEY.public.hex() + "\n")
    answer.write_text(json.dumps({"body": "", "public_key": KEY.public.hex()}))
    for key in (KEY.public.hex(), digits, answer):
        assert verify(file, "--public-key", key) == 0
        said = capsys.readouterr().out
        assert "This is a proof: inference i-1." in said
        assert "$0.000000012108 was charged" in said
        assert "cannot prove" in said
        assert "names itself" not in said


def test_receipt_without_a_published_key_is_checked_and_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the key that it names itself a receipt is checked, too; the reader is told what that is worth."""
    assert verify(file) == 0
    assert "names itself" in capsys.readouterr().out
    assert main(["--json", "receipt", "verify", str(file)]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["proved"], content["key_was_given"], content["key_id"]) == (True, False, KEY.id)


def test_words_of_a_forger_are_spelt_out(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a document calls an account, it hides nothing, adds no line, and is no markup."""
    name = "acct_1\x1b[8m[/x] [bold]\nIt is signed by the operator.\u202e"
    tree = BalanceTree(KEY.secret, TIME_NS, [(name, 1, 0, 1)])
    checkpoint = replace(make_checkpoint(BATCHES), accounts_root=tree.root)
    proof = prove_balance(tree, name, KEY.sign(checkpoint), KEY.public)
    assert proof is not None
    file.write_bytes(encode_document(proof))
    assert verify(file) == 0
    said = capsys.readouterr().out

    assert r"acct_1\x1b[8m[/x] [bold]\nIt is signed by the operator.\u202e" in said
    assert "names itself" in said


def test_receipt_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A dash reads what another program has fetched."""
    path = tmp_path / "receipt.json"
    path.write_bytes(RECEIPT)
    with path.open() as source:
        monkeypatch.setattr(sys, "stdin", source)
        assert verify("-") == 0


def test_balance_proof_is_checked_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command takes a balance proof."""
    proof = prove_balance(commit_to_balances(BATCHES), "b", sign(BATCHES), KEY.public)
    assert proof is not None
    path = tmp_path / "balance.json"
    path.write_bytes(encode_document(proof))

    assert verify(path, "--public-key", KEY.public.hex()) == 0
    assert "account b had $" in capsys.readouterr().out


def test_forged_receipt_ends_with_a_difference(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed byte, another key, or a text that is no receipt: exit code 7, and what is wrong."""
    assert verify(file, "--public-key", OTHER_KEY.public.hex()) == 7
    assert "not signed with this public key" in capsys.readouterr().err
    content = json.loads(RECEIPT)
    raw = bytearray(b64decode(content["entries"][1]["entry"]))
    raw[40] ^= 1
    content["entries"][1]["entry"] = b64encode(raw).decode()
    file.write_text(json.dumps(content))
    assert main(["--json", "receipt", "verify", str(file)]) == 7
    assert json.loads(capsys.readouterr().out)["proved"] is False
    for text in ("", "{}", json.dumps({**json.loads(RECEIPT), "public_key": "none"})):
        file.write_text(text)
        assert verify(file) == 7


def test_what_is_no_key_is_a_mistake_of_usage(file: Path) -> None:
    """A file that names no key is told as such, and one that is not there by its name."""
    assert verify(file, "--public-key", file) == 0  # a receipt names one
    (file.parent / "nothing").write_text("{}")
    assert verify(file, "--public-key", file.parent / "nothing") == 2
    assert verify(file, "--public-key", file.parent / "missing") == 1
    assert verify(file.parent / "missing") == 1


def test_checkpoint_key_is_made_once_and_shown(installation: Installation) -> None:
    """`init` makes a key that only its owner reads; `check` shows the public half, and a later start keeps it."""
    path = installation.store.with_suffix(".checkpoint-key")
    shown = installation.ask("check")["checkpoint_key"]

    assert path.stat().st_mode & 0o777 == 0o600
    assert CheckpointKey(bytes.fromhex(path.read_text())).public.hex() == shown
    installation.ask("accounts", "create", "Ann")
    assert installation.ask("check")["checkpoint_key"] == shown


def test_every_command_that_changes_the_books_anchors_them(installation: Installation) -> None:
    """A command on the store leaves an anchor of what it did; one that changes nothing leaves none."""
    anchors = installation.store.parent / "anchors.jsonl"
    account = installation.ask("accounts", "create", "Ann")["id"]
    assert len(anchors.read_text().splitlines()) == 1
    installation.ask("accounts", "list")
    assert len(anchors.read_text().splitlines()) == 1
    installation.ask("credit", account, "5")
    assert len(anchors.read_text().splitlines()) == 2


def test_receipt_of_nothing_is_not_found(either: Installation) -> None:
    """An inference that is not in the books has no receipt."""
    assert either.run("receipt", "show", "chatcmpl-none").code == 5


def try_to_serve(installation: Installation, *options: str) -> Outcome:
    """Start a gateway that will not come up, in a process of its own, and return how it ended."""
    arguments = [sys.executable, "-m", "tallygate", "serve", "--config", str(installation.config), *options]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=180)
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def copy_store(installation: Installation, name: str) -> Path:
    """Put a copy of the store aside."""
    copy = installation.folder / name
    shutil.copy(installation.store, copy)
    return copy


def put_back(installation: Installation, copy: Path) -> None:
    """Put a copy in the place of the store."""
    for path in installation.store.parent.glob("tallygate.db*"):
        path.unlink()
    shutil.copy(copy, installation.store)


def test_old_copy_of_the_store_is_refused_until_its_loss_is_accepted(installation: Installation) -> None:
    """A restored old backup is recognised by every command; `--accept-lost-tail` goes on, and the books say so."""
    account = installation.ask("accounts", "create", "Ann")["id"]
    installation.ask("credit", account, "5")
    copy = copy_store(installation, "backup.db")
    installation.ask("credit", account, "7")
    put_back(installation, copy)
    refused = installation.run("accounts", "list")
    served = try_to_serve(installation)

    proved = installation.run("verify")
    assert proved.code == 7
    assert "the store ends with" in proved.out
    for outcome in (refused, served):
        assert outcome.code == 1
        assert "its last batch is" in outcome.err
        assert "--accept-lost-tail" in outcome.err
    arguments = ["serve", "--config", str(installation.config), "--accept-lost-tail"]
    with Program(arguments, installation.folder) as program:
        program.wait_line("Tallygate ")
        assert program.end().code == 0
    db = apsw.Connection(str(installation.store))
    entries = [decode_entry(raw) for (raw,) in db.execute("SELECT bytes FROM entries WHERE kind = 'note'")]
    db.close()
    assert [entry.actor for entry in entries if (entry.reason or "").startswith("lost tail accepted")] == ["operator"]
    report = installation.ask("verify")
    assert report["clean"]
    assert report["promises"]["P5"]["anchors"]["accepted_as_lost"] == 1
    assert installation.ask("accounts", "show", account)["balance_usd"] == "5"


def test_books_that_went_on_from_an_old_copy_are_refused_by_any_means(installation: Installation) -> None:
    """A store with another batch than was anchored is not opened, whatever is accepted."""
    account = installation.ask("accounts", "create", "Ann")["id"]
    anchors = installation.store.parent / "anchors.jsonl"
    copy = copy_store(installation, "backup.db")
    installation.ask("credit", account, "5")
    kept = anchors.read_bytes()
    put_back(installation, copy)
    anchors.unlink()
    installation.ask("credit", account, "7")
    installation.ask("credit", account, "8")
    anchors.write_bytes(kept)

    outcomes = [installation.run("accounts", "list")]
    outcomes += (try_to_serve(installation, *options) for options in ([], ["--accept-lost-tail"]))
    for outcome in outcomes:
        assert outcome.code == 1
        assert "rewritten" in outcome.err


def test_verify_holds_the_books_against_their_anchors(either: Installation) -> None:
    """`verify` says how many anchors there are and how old the last one is, and finds a forged one."""
    either.ask("accounts", "create", "Ann")
    account = either.ask("accounts", "create", "Bob")["id"]
    either.ask("credit", account, "5")
    if "no anchors" in either.run("verify").out:  # beside a gateway, when the first minute is not over
        with contextlib.closing(RemoteOperator("127.0.0.1", either.port + 1, ADMIN_KEY)) as operator:
            operator.request("POST", "/admin/v1/checkpoints")
    anchors = either.store.parent / "anchors.jsonl"
    shown = either.run("verify")
    assert shown.code == 0
    assert re.search(r"1 anchor|\d+ anchors", shown.out)
    assert re.search(r"\d+ seconds? old", shown.out)
    report = either.ask("verify")["promises"]["P5"]["anchors"]
    lines = anchors.read_text().splitlines(keepends=True)
    assert report["count"] == len(lines)
    forged = json.loads(lines[0])
    signature = bytearray(b64decode(forged["sig"]))
    signature[5] ^= 1
    forged["sig"] = b64encode(signature).decode()
    anchors.write_text("".join([json.dumps(forged) + "\n", *lines[1:]]))
    outcome = either.run("verify")

    assert outcome.code == 7
    assert "anchor 1: is not signed with the checkpoint key" in outcome.out


def test_lost_store_is_not_replaced_by_a_new_one(installation: Installation) -> None:
    """Where the anchors know of a store and there is none, no empty one is put in its place."""
    installation.ask("accounts", "create", "Ann")
    for path in installation.store.parent.glob("tallygate.db*"):
        path.unlink()
    for options in ([], ["--accept-lost-tail"]):
        outcome = try_to_serve(installation, *options)
        assert outcome.code == 1
        assert "knows of one, which had 1 batches" in outcome.err
    for arguments in (["init"], ["accounts", "create", "Bob"]):
        assert installation.run(*arguments).code == 1

    assert not installation.store.exists()


def test_lost_checkpoint_key_is_not_made_anew(installation: Installation) -> None:
    """A key that has signed anchors is missed, and another one in its place is told apart."""
    installation.ask("accounts", "create", "Ann")
    key = installation.store.with_suffix(".checkpoint-key")
    kept = key.read_text()
    key.unlink()
    assert "checkpoint-key" in installation.run("accounts", "list").err
    assert not key.exists()
    descriptor = os.open(key, os.O_CREAT | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("ab" * 32)
    assert "not signed with its checkpoint key" in installation.run("accounts", "list").err
    key.write_text(kept)
    installation.ask("accounts", "list")
