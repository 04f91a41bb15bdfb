"""The books themselves: signed, replayed, receipted; and the events that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.api.descriptions import describe_event
from tallygate.api.http import Response, Route
from tallygate.api.proofs import answer_receipt, describe_checkpoint
from tallygate.api.verification import describe_report
from tallygate.core.errors import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.api.http import Request
    from tallygate.ports import Ledger, Proofs
    from tallygate.relay import Sink


class ProofRoutes:
    """What the operator can have signed, proved and looked up.

    Args:
        ledger: The books.
        proofs: What signs checkpoints; None where nothing does.
    """

    def __init__(self, ledger: Ledger, proofs: Proofs | None) -> None:
        self._ledger = ledger
        self._proofs = proofs

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        receipt = "/admin/v1/receipts/{inference}"
        return (
            Route(
                "GET", "/admin/v1/events", self.list_events, "Events that the webhook does not have yet, oldest first."
            ),
            Route("POST", "/admin/v1/checkpoints", self.checkpoint, "Sign the books as they are now."),
            Route("GET", receipt, self.show_receipt, "The receipt of any inference."),
            Route("POST", "/admin/v1/verify", self.verify, "Replay the books and say what was checked."),
        )

    async def list_events(self, _: Request, __: Sink) -> Response:
        """List what the operator's webhook does not have yet."""
        return Response.json({"data": [describe_event(event) for event in self._ledger.kept_events]})

    async def checkpoint(self, _: Request, __: Sink) -> Response:
        """Sign the books as they are now."""
        proofs = self._need_proofs()
        return Response.json(describe_checkpoint(await proofs.checkpoint(), proofs.public_key), 201)

    async def show_receipt(self, request: Request, _: Sink) -> Response:
        """Return the receipt of an inference, whoever it belongs to."""
        return answer_receipt(await self._need_proofs().receipt(request.argument))

    async def verify(self, _: Request, __: Sink) -> Response:
        """Replay the books."""
        report = await self._ledger.audit()
        return Response.json(describe_report(report, None if self._proofs is None else await self._proofs.audit()))

    def _need_proofs(self) -> Proofs:
        if self._proofs is None:
            raise Refusal(Code.NOT_FOUND, "No checkpoints are made of these books.")
        return self._proofs
