"""What is wrong around the gateway, with what to do about it; and what pays the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tallygate.api.http import Response, Route
from tallygate.core.errors import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.alarms import Alarms
    from tallygate.api.http import Request
    from tallygate.core.alarms import Alarm
    from tallygate.core.wallets import Wallet
    from tallygate.relay import Sink


class Lookout(NamedTuple):
    """What a running gateway knows of the world around it."""

    alarms: Alarms
    wallets: Callable[[], Sequence[Wallet]]


class AlarmRoutes:
    """The routes under `/admin/v1/alarms` and `/admin/v1/wallets`.

    Args:
        lookout: What is known; None where no gateway runs.
    """

    def __init__(self, lookout: Lookout | None) -> None:
        self._lookout = lookout

    def routes(self) -> Sequence[Route]:
        """Return the table of routes."""
        return (
            Route("GET", "/admin/v1/alarms", self.list_alarms, "What is wrong now, and what to do about it."),
            Route("GET", "/admin/v1/wallets", self.list_wallets, "Wallets and escrows, and what they have."),
        )

    async def list_alarms(self, _: Request, __: Sink) -> Response:
        """List the alarms that stand, oldest first."""
        return Response.json({"data": [describe_alarm(alarm) for alarm in self._known().alarms.standing]})

    async def list_wallets(self, _: Request, __: Sink) -> Response:
        """List what pays the network, as it was last read."""
        return Response.json({"data": [describe_wallet(wallet) for wallet in self._known().wallets()]})

    def _known(self) -> Lookout:
        if self._lookout is None:
            raise Refusal(Code.NOT_FOUND, "Alarms and wallets are known to a running gateway only.")
        return self._lookout


def describe_alarm(alarm: Alarm) -> dict[str, Any]:
    """Return an alarm."""
    return {
        "kind": alarm.kind.value,
        "subject": alarm.subject,
        "detail": alarm.detail,
        "remedy": alarm.remedy,
        "since_ns": alarm.since_ns,
    }


def describe_wallet(wallet: Wallet) -> dict[str, Any]:
    """Return a wallet or an escrow; ngonka as texts, which no program rounds; null where nobody tells."""
    amounts = {state: str(ngonka) for state, ngonka in wallet.amounts.items()}
    return {
        "upstream": wallet.upstream,
        "wallet": wallet.subject,
        "spendable_ngonka": amounts.get("spendable"),
        "escrowed_ngonka": amounts.get("escrowed"),
        "key_published": wallet.is_published,
        "phase": wallet.phase,
        "read_ns": wallet.read_ns or None,
    }
