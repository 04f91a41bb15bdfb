"""One past inference, as its entries tell it: what was held, where it was sent, how it ended, and who bore what.

Reads entries and believes them; whether they are true is for the audit to say. An inference may have any number of
parts and tries; one that is under way has no ending yet.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import entry_id, read_entry
from tallygate.core.ledger.margin import find_bills
from tallygate.core.ledger.rollup import CALL_DIMENSIONS
from tallygate.core.pricing import Cost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tallygate.core.ledger.entry import Entry

OPEN: Final = "open"
STATES: Final[Mapping[str, str]] = {e.SETTLE: "settled", e.VOID: "voided", e.EXPIRE: "expired"}
"""What an inference is after each ending."""


class PastSending(NamedTuple):
    """One sending.

    Attributes:
        began: The hold or the `attempt` that began it.
        ended: The `attempt` or the ending of the inference that ended it; None while it is under way.
    """

    began: Entry
    ended: Entry | None


class PastCall(NamedTuple):
    """One inference.

    Attributes:
        number: Of its hold, among the entries that were looked through.
        entries: All of them in their order, each behind its id.
        hold: The first.
        ending: The last, if it has ended.
        sendings: In the order in which they began.
    """

    number: int
    entries: Sequence[tuple[bytes, Entry]]
    hold: Entry
    ending: Entry | None
    sendings: Sequence[PastSending]

    @property
    def state(self) -> str:
        """What has become of it."""
        return OPEN if self.ending is None else STATES[self.ending.kind]

    @property
    def flags(self) -> int:
        """What was special about its ending."""
        return 0 if self.ending is None else self.ending.flags

    @property
    def held(self) -> int:
        """What was set aside for it."""
        return e.amount_of(self.hold, e.USD, e.held_account(self.hold.account or ""))

    @property
    def cost(self) -> Cost:
        """What was charged."""
        entry = self.ending or self.hold
        return Cost(e.amount_of(entry, e.USD, e.INCOME_BASE), e.amount_of(entry, e.USD, e.INCOME_FEE))

    @property
    def bills(self) -> Mapping[str, tuple[int, int]]:
        """What each upstream has billed for all of its sendings, and how much of that nobody paid for, in ngonka."""
        billed: Counter[str] = Counter()
        unpaid: Counter[str] = Counter()
        for _, entry in self.entries:
            for upstream, amount, lost in find_bills(entry):
                billed[upstream] += amount
                unpaid[upstream] += lost
        return {upstream: (amount, unpaid[upstream]) for upstream, amount in billed.items()}

    def tokens_of(self, sending: PastSending) -> tuple[int, int] | None:
        """Return the prompt and completion tokens of one sending; None where nobody can tell.

        A charge has the tokens of all parts together, so those of its own part are what the last tries of the others
        leave of them.
        """
        ended = sending.ended
        if ended is None or ended.kind == e.EXPIRE:
            return None
        prompt, completion = ended.prompt_tokens or 0, ended.completion_tokens or 0
        if ended.kind == e.SETTLE:
            last_tries = {other.began.part: other.ended for other in self.sendings if other.ended is not ended}
            for part, other in last_tries.items():
                if other is not None and part != ended.part:
                    prompt -= other.prompt_tokens or 0
                    completion -= other.completion_tokens or 0
        return prompt, completion


class Wanted(NamedTuple):
    """Which inferences are looked for; None takes all.

    Attributes:
        account, key, model, user, tag: As the hold has them.
        state: What has become of it.
        upstream, node: One to which it was sent, be it in vain.
        flags: All that must be so of its ending.
        start_ns: The hold was taken then or later.
        end_ns: The hold was taken before.
    """

    account: str | None = None
    key: str | None = None
    model: str | None = None
    user: str | None = None
    tag: str | None = None
    state: str | None = None
    upstream: str | None = None
    node: str | None = None
    flags: int = 0
    start_ns: int | None = None
    end_ns: int | None = None

    def admits_hold(self, hold: Entry) -> bool:
        """Return whether an inference can be one of them, by its hold alone."""
        return all(
            getattr(self, name) in (None, read(hold)) for name, read in CALL_DIMENSIONS.items()
        ) and self.account in (None, hold.account)

    def admits(self, call: PastCall) -> bool:
        """Return whether an inference is one of them, given that its hold can be."""
        return (
            self.state in (None, call.state)
            and call.flags & self.flags == self.flags
            and (self.upstream is None or any(s.began.upstream == self.upstream for s in call.sendings))
            and (self.node is None or any(s.began.node == self.node for s in call.sendings))
        )


class CallPage(NamedTuple):
    """Inferences, newest first, and before which number to go on; None where there are no older ones."""

    calls: Sequence[PastCall]
    next: int | None


def read_call(number: int, raws: Sequence[bytes]) -> PastCall:
    """Return the inference that has these entries, given in their order; the first is its hold."""
    entries = [(entry_id(raw), read_entry(raw)) for raw in raws]
    hold = entries[0][1]
    ending = entries[-1][1] if entries[-1][1].kind in e.ENDINGS else None
    sendings = {(hold.part, hold.try_): PastSending(hold, None)}
    for _, entry in entries[1:]:
        place = (entry.part, entry.try_)
        if entry.kind == e.ATTEMPT and entry.completion_tokens is None:
            sendings[place] = PastSending(entry, None)
        elif entry.kind == e.ATTEMPT:
            sendings[place] = sendings.get(place, PastSending(entry, None))._replace(ended=entry)
    if ending is not None:  # it ends all that is left: that is one, unless a start found more
        sendings = {place: s if s.ended else s._replace(ended=ending) for place, s in sendings.items()}
    return PastCall(number, entries, hold, ending, list(sendings.values()))
