"""What customers can prove: the signed state of the books for everybody, receipts and balances for their owners.

A receipt and a balance proof are answered as the documents that they are (`core.ledger.receipt`), so that a caller
can put the body into a file and check it with `tallygate receipt verify`.

Who is suspended can have both all the same: that is when somebody wants to prove what they have paid.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from tallygate.api.http import Access, Response, Route
from tallygate.core.errors import Code, Refusal
from tallygate.core.proofs.checkpoint import decode_checkpoint
from tallygate.core.proofs.receipt import encode_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.callers import Callers
    from tallygate.api.http import Request
    from tallygate.core.proofs.checkpoint import SignedCheckpoint
    from tallygate.core.proofs.receipt import BalanceProof, Receipt
    from tallygate.ports import Ledger, Proofs
    from tallygate.relay import Sink


class ProofApi:
    """The routes under `/v1` that prove something.

    Args:
        ledger: The books, for how far an account has come.
        proofs: What is signed.
        callers: Tells who asks.
    """

    def __init__(self, *, ledger: Ledger, proofs: Proofs, callers: Callers) -> None:
        self._ledger = ledger
        self._proofs = proofs
        self._callers = callers

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        return (
            Route(
                "GET",
                "/v1/checkpoints/latest",
                self.latest,
                "The books as last signed, and the key; for everybody.",
                access=Access.OPEN,
            ),
            Route("GET", "/v1/usage/{inference}", self.receipt, "The receipt of one of the caller's own inferences."),
            Route("GET", "/v1/balance/proof", self.balance, "The proof of the caller's own balance."),
        )

    async def latest(self, _: Request, __: Sink) -> Response:
        """Show the last checkpoint to whoever asks."""
        signed = self._proofs.latest
        if signed is None:
            raise Refusal(Code.NOT_FOUND, "The books have not been signed yet; that happens every minute.")
        return Response.json(describe_checkpoint(signed, self._proofs.public_key))

    async def receipt(self, request: Request, _: Sink) -> Response:
        """Return a receipt; another account's inference is not there."""
        key = self._callers.recognise(request)
        return answer_receipt(await self._proofs.receipt(request.argument, key.account))

    async def balance(self, request: Request, _: Sink) -> Response:
        """Return the proof of the balance that the caller's key draws on."""
        key = self._callers.recognise(request)
        sequence = self._ledger.account(key.account).sequence
        proof = await self._proofs.balance(key.account, sequence)
        if proof is None:
            raise Refusal(Code.NOT_FOUND, "The account is not in the books yet.")
        return _answer(proof)


def answer_receipt(receipt: Receipt | None) -> Response:
    """Return a receipt as an answer; raises `Refusal` (404) for none."""
    if receipt is None:
        raise Refusal(Code.NOT_FOUND, "There is no such inference.")
    return _answer(receipt)


def describe_checkpoint(signed: SignedCheckpoint, public_key: bytes) -> dict[str, Any]:
    """Return a signed checkpoint as JSON: its bytes, and what they say. Only the bytes are signed."""
    checkpoint = decode_checkpoint(signed.body)
    return {
        "body": b64encode(signed.body).decode(),
        "sig": b64encode(signed.sig).decode(),
        "key_id": signed.key_id,
        "public_key": public_key.hex(),
        "checkpoint": {
            "time_ns": checkpoint.time_ns,
            "heads": [
                {
                    "writer": head.writer.hex(),
                    "epoch": head.epoch,
                    "sequence": head.sequence,
                    "header_hash": head.header_hash.hex(),
                    "tree_size": head.tree_size,
                    "tree_root": head.tree_root.hex(),
                }
                for head in checkpoint.heads
            ],
            "totals": [
                {"book": book, "class": name, "total": str(total)} for (book, name), total in checkpoint.sums.items()
            ],
            "accounts_root": checkpoint.accounts_root.hex(),
        },
    }


def _answer(document: Receipt | BalanceProof) -> Response:
    return Response(200, encode_document(document), [(b"content-type", b"application/json")])
