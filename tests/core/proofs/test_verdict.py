"""Receipts and balance proofs: what they prove, and that no forged one proves anything."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tallygate.core.proofs.receipt import (
    BalanceProof,
    MalformedDocumentError,
    Receipt,
    decode_document,
    encode_document,
    prove_balance,
)
from tallygate.core.proofs.verdict import judge
from tests.core.audit.forgery import make_world
from tests.core.ledger.world import USD, seal
from tests.core.proofs.proving import KEY, OTHER_KEY, commit_to_balances, make_checkpoint, make_receipt, sign
from tests.core.proofs.verifier import read_balance, read_receipt

if TYPE_CHECKING:
    from collections.abc import Iterator

WORLD = make_world()
BATCHES = WORLD.batches()
RECEIPT = make_receipt(BATCHES, "i-2")
INFERENCES = [f"i-{number}" for number in range(1, 8)]


SETTLED = (
    "$0.000000012108 was charged: $0.000000011007 base cost and $0.000000001101 platform fee; the rest of the hold was "
    "given back"
)


def prove(account: str = "a") -> BalanceProof:
    """Return the proof of a balance."""
    proof = prove_balance(commit_to_balances(BATCHES), account, sign(BATCHES), KEY.public)
    assert proof is not None
    return proof


@pytest.mark.parametrize("sheet", [True, False])
@pytest.mark.parametrize("inference", INFERENCES)
def test_receipt_of_every_kind_of_ending_proves_it(inference: str, sheet: bool) -> None:
    """Settled, voided, expired, charged after a crash, free or open: a true receipt has no fault and facts."""
    verdict = judge(decode_document(encode_document(make_receipt(BATCHES, inference, sheet=sheet))), KEY.public)

    assert verdict.faults == []
    assert verdict.is_proof
    assert verdict.subject == f"inference {inference}"
    assert len(verdict.facts) >= 4


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_receipt_does_not_depend_on_how_entries_were_batched(size: int) -> None:
    """Alone in their batches or all in one, entries are proved."""
    assert judge(make_receipt(WORLD.batches(size), "i-2"), KEY.public).faults == []


def test_receipt_tells_tokens_sheet_and_amounts() -> None:
    """The facts are what the entries say, to the last pico-dollar."""
    assert judge(make_receipt(BATCHES, "i-1"), KEY.public).facts == [
        "account a asked for model Qwen/Qwen3, priced by sheet 1",
        "$0.000000143008 was held, for at most 1000 prompt and 100 completion tokens",
        "it was sent 1 time",
        "it ended (settle) with 50 prompt and 20 completion tokens, as the network reported them",
        SETTLED,
        "that charge is what the price sheet gives for those tokens, and no more than was held",
    ]
    assert judge(make_receipt(BATCHES, "i-2"), KEY.public).facts[2] == "it was sent 2 times"
    assert judge(make_receipt(BATCHES, "i-3"), KEY.public).facts[3].startswith("it ended (void) and cost nothing")
    assert judge(make_receipt(BATCHES, "i-5"), KEY.public).facts[3].endswith("counted by the gateway")
    assert judge(make_receipt(BATCHES, "i-7"), KEY.public).facts[3] == "it had not ended yet"


@pytest.mark.parametrize("inference", INFERENCES[:6])
def test_another_program_reads_the_same_from_a_receipt(inference: str) -> None:
    """A verifier that shares no code with ours agrees on tokens and charge."""
    read = read_receipt(encode_document(make_receipt(BATCHES, inference)), KEY.public)
    ending = next(w.entry for w in reversed(WORLD.entries) if w.entry.inference == inference)
    charge = sum(amount for _, name, amount in ending.postings if name.startswith("income/"))

    assert read == {"prompt": ending.prompt_tokens, "completion": ending.completion_tokens, "charge": charge}


def test_balance_proof_tells_what_the_account_had() -> None:
    """A true proof has no fault, tells the balance, and another program reads the same."""
    proof = prove("b")
    account = WORLD.books.accounts["b"]
    verdict = judge(decode_document(encode_document(proof)), KEY.public)

    assert verdict.faults == []
    assert verdict.subject == "balance of account b"
    assert f"after {account.sequence} entries" in verdict.facts[0]
    assert read_balance(encode_document(proof), KEY.public) == ("b", account.available, account.held)
    assert prove_balance(commit_to_balances(BATCHES), "nobody", sign(BATCHES), KEY.public) is None


def flips(document: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield, for every byte of every base64 member of a JSON document, where it is and the member with it changed."""
    for name, value in document.items() if isinstance(document, dict) else enumerate(document):
        if isinstance(value, (dict, list)):
            yield from flips(value, (*place, name))
        elif isinstance(name, int) or name in {"entry", "header", "body", "sig", "leaf"}:
            yield from (((*place, name), forged) for forged in flip_each(value))


def flip_each(text: str) -> Iterator[str]:
    """Yield base64 of the same bytes with one bit of one byte changed, for each byte."""
    raw = base64.b64decode(text)
    for number in range(len(raw)):
        forged = bytearray(raw)
        forged[number] ^= 1 << number % 8
        yield base64.b64encode(forged).decode()


@pytest.mark.parametrize("document", [RECEIPT, prove("a"), prove("b")], ids=["receipt", "a", "b"])
def test_document_with_any_byte_changed_proves_nothing(document: Receipt | BalanceProof) -> None:
    """Entries, headers, paths, leaf, checkpoint, signature: whichever byte is changed, a fault is told."""
    text = encode_document(document)
    count = 0
    for (*place, last), forged in flips(json.loads(text)):
        changed = json.loads(text)
        holder = changed
        for step in place:
            holder = holder[step]
        holder[last] = forged
        count += 1

        assert judge(decode_document(json.dumps(changed).encode()), KEY.public).faults, (place, last)
    assert count > 300


@pytest.mark.parametrize("change", [1, -1, 2**70])
@pytest.mark.parametrize("field", ["index", "size"])
def test_leaf_at_another_place_proves_nothing(field: str, change: int) -> None:
    """A path is for one place in a tree of one size."""
    proof = prove()

    assert judge(replace(proof, **{field: getattr(proof, field) + change}), KEY.public).faults == [
        "the balance is not under the checkpoint's accounts root"
    ]


def test_signature_of_somebody_else_proves_nothing() -> None:
    """Whoever signs with another key, also one that the document itself names, has proved nothing to us."""
    forged = replace(RECEIPT, checkpoint=OTHER_KEY.sign(make_checkpoint(BATCHES)), public_key=OTHER_KEY.public.hex())

    assert judge(forged, KEY.public).faults == ["the checkpoint is not signed with this public key"]
    assert judge(RECEIPT, OTHER_KEY.public).faults == ["the checkpoint is not signed with this public key"]


def test_entries_of_other_books_prove_nothing() -> None:
    """A receipt made from books that say otherwise does not lead to the checkpoint of these."""
    raws = [written.raw for written in WORLD.entries]
    others = seal([raws[:3], raws[3:5], raws[5:9], raws[9:]])
    forged = replace(make_receipt(others, "i-2"), checkpoint=sign(BATCHES))

    assert "entry 0: is not under its batch's root" not in judge(forged, KEY.public).faults
    assert any("its batch is not under the checkpoint" in fault for fault in judge(forged, KEY.public).faults)


@pytest.mark.parametrize(
    ("keep", "fault"),
    [
        ([], "there is no hold: this is no inference"),
        ([0], "there is no hold: this is no inference"),
        ([0, 4], "entry 1 (settle): has no place in the life of an inference"),
        ([1, 1, 4], "entry 1: is not in the order of the books"),
        ([0, 0, 1, 4], "entry 1: is not in the order of the books"),
        ([1, 0, 4], "entry 1: is not in the order of the books"),
        ([1, 4, 2], "entry 2: is not in the order of the books"),
    ],
)
def test_true_entries_in_a_false_order_prove_nothing(keep: list[int], fault: str) -> None:
    """Entries that are all in the books make no receipt if one is missing that must be there, doubled or moved."""
    assert fault in judge(replace(RECEIPT, entries=[RECEIPT.entries[number] for number in keep]), KEY.public).faults


def test_entries_of_another_inference_have_no_place() -> None:
    """Whose receipt it is, is said by the entries; a stranger's do not count."""
    mixed = replace(RECEIPT, entries=[*RECEIPT.entries, *make_receipt(BATCHES, "i-3", sheet=False).entries])

    assert "entry 5 (hold): belongs to another inference" in judge(mixed, KEY.public).faults
    assert judge(replace(RECEIPT, inference="i-9"), KEY.public).faults[0].endswith("belongs to another inference")


def test_checkpoint_that_does_not_balance_proves_nothing() -> None:
    """Even one that is signed is refused when its books do not sum to zero."""
    checkpoint = make_checkpoint(BATCHES)
    totals = [(book, name, total + 1 if name == "world" else total) for book, name, total in checkpoint.totals]  # type: ignore[operator]
    signed = KEY.sign(msgspec.structs.replace(checkpoint, totals=tuple(totals)))

    assert judge(replace(RECEIPT, checkpoint=signed), KEY.public).faults == [
        "the checkpoint's USD book sums to 1, not to zero"
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b'{"form":"tallygate-receipt-2"}',
        encode_document(RECEIPT)[:-1],
        encode_document(RECEIPT).replace(b'"index"', b'"place"'),
        encode_document(RECEIPT).replace(b'{"form"', b'{"more":1,"form"'),
        encode_document(RECEIPT).replace(b'"entry":"', b'"entry":"!'),
        b"[" * 100_000,
    ],
)
def test_text_that_is_no_document_is_malformed(text: bytes) -> None:
    """Another form, a member too many or too few, or no base64, is told as what it is."""
    with pytest.raises(MalformedDocumentError):
        decode_document(text)


@given(st.binary(max_size=60))
def test_garbage_for_a_checkpoint_is_a_fault(garbage: bytes) -> None:
    """Whatever stands in a checkpoint's place, the verdict is told and nothing is raised."""
    verdict = judge(replace(RECEIPT, checkpoint=replace(RECEIPT.checkpoint, body=garbage)), KEY.public)

    assert not verdict.is_proof
    assert verdict.facts == []


def test_balance_of_the_books_is_what_was_deposited_and_spent() -> None:
    """The proved balances are the books' own."""
    account = WORLD.books.accounts["a"]

    assert read_balance(encode_document(prove("a")), KEY.public) == ("a", account.available, account.held)
    assert 0 < account.available < USD
