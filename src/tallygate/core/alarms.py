"""What is wrong around a gateway, and what its operator can do about it: the kinds of alarms, each with its remedy.

An alarm stands as long as what it tells of is so. It has a kind and a subject, and there is one at a time for both;
so it is told once when it is raised and once when it is over, whatever happens in between.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.core.events import OperatorEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

RAISED: Final = "alarm.raised"
CLEARED: Final = "alarm.cleared"


class AlarmKind(StrEnum):
    """What can be wrong."""

    PRICE_REFUSED = "price_refused"
    PRICES_STALE = "prices_stale"
    MODEL_UNPRICED = "model_unpriced"
    RATE_REFUSED = "rate_refused"
    RATE_STALE = "rate_stale"
    WALLET_LOW = "wallet_low"
    WALLET_UNPUBLISHED = "wallet_unpublished"
    UPSTREAM_MISCONFIGURED = "upstream_misconfigured"


_REMEDIES: Final[Mapping[AlarmKind, str]] = {
    AlarmKind.PRICE_REFUSED: "The price in force stays. See what the upstream asks; if it is right, widen the bounds "
    "in [prices], or set the price with `tallygate prices set`.",
    AlarmKind.PRICES_STALE: "The prices in force stay. See whether it can be reached: `tallygate check --online`.",
    AlarmKind.MODEL_UNPRICED: "Callers cannot use it. Price it in [models], or with `tallygate prices set`.",
    AlarmKind.RATE_REFUSED: "The last good rate counts. See what the source says; if it is right, widen the bounds in "
    "[gnk].",
    AlarmKind.RATE_STALE: "Prices in force stay, and none is made until the source answers. Write a fixed rate in "
    "[gnk], or name another source.",
    AlarmKind.WALLET_LOW: "Send GNK to it, or open the next escrow: when it is empty, the network refuses calls.",
    AlarmKind.WALLET_UNPUBLISHED: "Publish its key, by any transaction from it; until then the network does not know "
    "it.",
}

_BY_DETAIL: Final = (
    (
        "does not accept our credentials",
        "Check its key, or its wallet, scheme and node addresses, in the file.",
    ),
    ("has no funds for us", "Top up what pays there: the balance at the broker, the escrow, or the wallet."),
    (
        "status 30",
        "It has moved: put the new address into base_url, or url, and restart. Redirects are never followed.",
    ),
    ("this node speaks devshard", 'Reach the network with kind = "openai"; signed calls are over on this node.'),
    ("does not know our wallet", "Fund the wallet and publish its key, by any transaction from it."),
    ("refuses us", "Ask whoever runs it whether this gateway may use it."),
)
_OTHERWISE: Final = "See what it answers: `tallygate check --online`."


class Alarm(NamedTuple):
    """Something that is wrong.

    Attributes:
        kind: What.
        subject: Of what: an upstream, a place of one, a model, a wallet.
        detail: How it shows; never a caller's text, nor what a feed has written.
        since_ns: When it was raised.
    """

    kind: AlarmKind
    subject: str
    detail: str
    since_ns: int

    @property
    def remedy(self) -> str:
        """What the operator can do."""
        return _REMEDIES.get(self.kind) or remedy_of(self.detail)


def remedy_of(detail: str) -> str:
    """Return what the operator can do about an upstream that fails like this, in the words of the retry table."""
    return next((remedy for start, remedy in _BY_DETAIL if detail.startswith(start)), _OTHERWISE)


def event_of(alarm: Alarm, type_: str, now_ns: int) -> OperatorEvent:
    """Return what the operator is told when an alarm is raised, or over."""
    data = {"kind": alarm.kind.value, "subject": alarm.subject, "detail": alarm.detail, "remedy": alarm.remedy}
    return OperatorEvent(type_, now_ns, data, "error" if type_ == RAISED else "info")
