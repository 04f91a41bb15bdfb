"""A receipt and a balance proof as committed documents: what whoever writes a verifier of their own tests it with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tallygate.core.proofs.receipt import decode_document, encode_document, prove_balance
from tallygate.core.proofs.verdict import judge
from tests.core.audit.forgery import make_world
from tests.core.proofs.proving import KEY, commit_to_balances, make_receipt, sign
from tests.core.proofs.verifier import read_balance, read_receipt

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "proofs.json").read_text())
PUBLIC = bytes.fromhex(VECTORS["public_key"])
RECEIPT, BALANCE = (json.dumps(VECTORS[name]).encode() for name in ("receipt", "balance"))
BATCHES = make_world().batches()


def test_documents_are_what_they_were() -> None:
    """The same books and key give the very documents that were committed: a change here breaks others' verifiers."""
    proof = prove_balance(commit_to_balances(BATCHES), "a", sign(BATCHES), KEY.public)
    assert proof is not None

    assert KEY.public == PUBLIC
    assert json.loads(encode_document(make_receipt(BATCHES, "i-1"))) == VECTORS["receipt"]
    assert json.loads(encode_document(proof)) == VECTORS["balance"]


def test_documents_prove_what_is_said() -> None:
    """Our check and one that shares nothing with it read the same from them."""
    told = VECTORS["balance_proves"]

    assert [judge(decode_document(document), PUBLIC).faults for document in (RECEIPT, BALANCE)] == [[], []]
    assert read_receipt(RECEIPT, PUBLIC) == VECTORS["receipt_proves"]
    assert read_balance(BALANCE, PUBLIC) == (told["account"], told["available"], told["held"])
