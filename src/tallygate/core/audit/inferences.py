"""The audit's replay of inferences: what was held for each at which prices, what was sent, and how it ended.

Keeps the price sheets and the open holds, and forgets an inference when it has ended; so its memory grows with what
is open, not with the history. It never trusts an entry, and never raises for one: a fault is told in words.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from tallygate.core.audit.figures import PROMPT_CHARGED, VOIDED
from tallygate.core.audit.problems import P1, P3, P4, P6, P7, Tell
from tallygate.core.audit.rules import BASE, FEE, HELD, PAID, UNPAID, is_payable
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Entry, Facts, Flag, entry_id
from tallygate.core.pricing import Price, Sheet
from tallygate.core.quoting import Quote, QuoteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tallygate.core.audit.figures import Figures
from tallygate.core.audit.rules import Moves

TAG_BYTES: Final = 16
"""As the books are written; the proof takes no such word from who writes them."""

_OVERRUN = int(Flag.OVERRUN)
_CHARGED_AFTER_CRASH = int(Flag.CHARGED_AFTER_CRASH)


class Listed(NamedTuple):
    """A price of a sheet, with the fee that goes with it."""

    input_picousd: int
    output_picousd: int
    call_picousd: int
    fee_ppm: int

    def price(self, prompt: int, completion: int) -> tuple[int, int]:
        """Return what so many tokens cost, base and fee; the one rounding, half up, is written here once more."""
        input_picousd, output_picousd, call_picousd, fee_ppm = self
        base = prompt * input_picousd + completion * output_picousd + call_picousd
        return base, (base * fee_ppm + 500_000) // 1_000_000


Attempt = tuple[int | None, int | None]
"""A part and a try."""
Sending = tuple[bytes | None, Facts]
"""A sending that has not ended: the id of the `attempt` that began it (None where the hold did), and that entry."""


class Ended(NamedTuple):
    """How the last sending of a part ended by an `attempt`: its tokens, and who bears its bill."""

    prompt_tokens: int
    completion_tokens: int
    paid: int
    unpaid: int


class OpenHold(msgspec.Struct, gc=False):
    """A hold that has not ended; a struct, since nothing is made more often, and nothing in it points back.

    Attributes:
        id: Of its entry.
        entry: The hold itself.
        held: What it took.
        listed: Its price; None where no known sheet has one.
        most: What its bounds cost, base and fee; None where that is not known.
        changed: The sendings that have not ended; None as long as that is the one that the hold began, as it nearly
            always is to the end.
        ended: By part, the last sending of it that has ended, unless another one has begun since; None as `changed`.
    """

    id: bytes
    entry: Facts
    held: int
    listed: Listed | None
    most: tuple[int, int] | None
    changed: dict[Attempt, Sending] | None = None
    ended: dict[int | None, Ended] | None = None

    @property
    def sendings(self) -> dict[Attempt, Sending]:
        """Those that have not ended, by part and try; may be changed."""
        if self.changed is None:
            self.changed = {(self.entry.part, self.entry.try_): (None, self.entry)}
        return self.changed

    def copy(self) -> OpenHold:
        """Return a copy that can go on by itself."""
        changed = None if self.changed is None else dict(self.changed)
        ended = None if self.ended is None else dict(self.ended)
        return OpenHold(self.id, self.entry, self.held, self.listed, self.most, changed, ended)

    @property
    def layers(self) -> int:
        """How often all that was held may have been used by what is under way: its parts share it."""
        return max(Counter(part for part, _ in self.sendings).values(), default=0)

    def note_end(self, part: int | None, ended: Ended | None, tell: Tell) -> None:
        """Take note of how a sending of a part has ended, or that another one begins."""
        known = self.ended or {}
        before = known.pop(part, None)
        if before is not None and before.paid:
            tell(P7, "a customer paid for a sending of which the part was not served")
        if ended is not None:
            known[part] = ended
        self.ended = known or None

    @property
    def only_sending(self) -> Facts | None:
        """What began the one sending that has not ended; None where there is none, or several."""
        if self.changed is None:
            return self.entry
        if len(self.changed) != 1:
            return None
        ((_, began),) = self.changed.values()
        return began

    def is_sent_only(self, ending: Facts) -> bool:
        """Return whether the one sending that is under way is the one that an ending names."""
        began = self.only_sending
        return (
            began is not None
            and began.upstream == ending.upstream
            and began.try_ == ending.try_
            and began.part == ending.part
        )


class Inferences:
    """Price sheets and open holds, as far as the entries that were taken tell.

    Attributes:
        open: The holds that have not ended, by inference.
        sheets_digest: Stands for all price sheets so far.
        began: Every inference that was held, where somebody wants to know: it grows with the history.
    """

    def __init__(self) -> None:
        self.open: dict[str, OpenHold] = {}
        self.sheets_digest = b""
        self.began: list[str] | None = None
        self._in_force = 0
        self._listed: dict[int | None, dict[str | None, Listed]] = {}
        self._listed_now: dict[str | None, Listed] = {}

    def copy(self) -> Inferences:
        """Return a copy that can go on by itself."""
        other = Inferences()
        other.open = {name: hold.copy() for name, hold in self.open.items()}
        other.sheets_digest, other._in_force = self.sheets_digest, self._in_force
        other._listed = {version: dict(listed) for version, listed in self._listed.items()}
        other._listed_now = other._listed.get(self._in_force, {})
        return other

    def take_over(self, holds: Mapping[str, OpenHold], sheets: Iterable[Entry], tell: Tell) -> None:
        """Go on with the holds that are open, and the sheets that came, after entries that others have taken."""
        self.open.update(holds)
        for sheet in sheets:
            self.take_sheet(sheet, tell)

    def take_sheet(self, entry: Entry, tell: Tell) -> None:
        """Put a price sheet in force."""
        text = entry.reason or ""
        try:
            sheet = Sheet.decode(text)
        except ValueError as error:
            tell(P6, f"not a price sheet: {error}")
            return
        if sheet.version != entry.sheet_version or sheet.version != self._in_force + 1:
            tell(P6, f"sheet version {sheet.version} is out of order")
        self._in_force = sheet.version
        listed = self._listed_now = self._listed.setdefault(sheet.version, {})
        for model, price in sheet.prices.items():
            listed[model] = Listed(price.input, price.output, price.call, sheet.fee_ppm)
        for model, quote in sheet.quotes.items():
            if not _is_made_of(sheet.prices.get(model), quote):
                tell(P6, f"sheet version {sheet.version} has another price of {model} than its quote gives")
        self.sheets_digest = sha256(self.sheets_digest + text.encode()).digest()

    def listed_in_force(self, entry: Facts) -> Listed | None:
        """Return the price that a hold names, if its sheet is the one in force."""
        return self._listed_now.get(entry.model) if entry.sheet_version == self._in_force else None

    def open_hold(
        self, entry: Facts, entry_bytes: bytes, held: int, listed: Listed | None, most: tuple[int, int] | None
    ) -> None:
        """Open a hold, whatever is to be said of it."""
        inference = entry.inference or ""
        self.open[inference] = OpenHold(entry_id(entry_bytes), entry, held, listed, most)
        if self.began is not None:
            self.began.append(inference)

    def take_hold(self, entry: Entry, entry_bytes: bytes, moves: Moves, tell: Tell) -> None:
        """Open a hold, and check it."""
        inference = entry.inference or ""
        if inference in self.open:
            tell(P4, f"inference {inference} has a hold already")
        listed = self._listed.get(entry.sheet_version, {}).get(entry.model)
        most = list_price(listed, entry)
        held = moves.get(HELD, 0)
        self.open_hold(entry, entry_bytes, held, listed, most)
        if entry.tag is not None and len(entry.tag) != TAG_BYTES:
            tell(P4, f"has a tag of {len(entry.tag)} bytes")
        if most is None:
            tell(P6, "names no price on a known sheet")
        elif held != most[0] + most[1]:
            tell(P6, f"does not hold what its bounds cost at sheet {entry.sheet_version}")
        if entry.sheet_version != self._in_force:
            tell(P6, f"is priced by sheet {entry.sheet_version} while sheet {self._in_force} is in force")

    def take_attempt(self, entry: Entry, entry_bytes: bytes, moves: Moves, figures: Figures, tell: Tell) -> None:
        """Begin or end a sending of an open hold."""
        hold = self.open[entry.inference or ""]
        sendings = hold.sendings
        key = (entry.part, entry.try_)
        if entry.completion_tokens is None:
            if key in sendings:
                tell(P7, "begins a sending that is under way")
            if entry.postings or entry.ends is not None:
                tell(P7, "begins a sending, and yet bills or ends one")
            hold.note_end(entry.part, None, tell)
            sendings[key] = (entry_id(entry_bytes), entry)
            return
        sending = sendings.pop(key, None)
        if sending is None or sending[0] != entry.ends or sending[1].upstream != entry.upstream:
            tell(P7, "ends another sending than it names")
        paid, unpaid = moves.get(PAID, 0), moves.get(UNPAID, 0)
        hold.note_end(entry.part, Ended(entry.prompt_tokens or 0, entry.completion_tokens, paid, unpaid), tell)
        figures.count_sent(entry, paid, unpaid)

    def take_ending(self, entry: Entry, moves: Moves, figures: Figures, tell: Tell) -> None:
        """End an open hold; whatever is wrong with how a crash was ended breaks the promise about crashes."""
        if entry.kind == e.EXPIRE:
            tell = _tell_of_crash(tell)
        hold = self.open[entry.inference or ""]
        if hold.id != entry.ends:
            tell(P4, f"inference {entry.inference} has no open hold that this could end")
            return
        del self.open[entry.inference or ""]
        began, held = hold.entry, hold.held
        charged = (moves.get(BASE, 0), moves.get(FEE, 0))
        total = charged[0] + charged[1]
        if entry.account != began.account or moves.get(HELD, 0) != -held:
            tell(P1, "does not release just what its hold took")
        if total > held:
            tell(P1, "charges more than its hold")
        if entry.key_id != began.key_id or entry.model != began.model or entry.sheet_version != began.sheet_version:
            tell(P4, "names another key, model or sheet than its hold")
        if entry.tag != began.tag:
            tell(P4, "has another tag than its hold")
        _check_sendings(entry, hold, tell)
        others = _take_others(entry, hold, tell)
        listed = list_price(hold.listed, entry)
        if entry.kind == e.SETTLE or entry.flags & _CHARGED_AFTER_CRASH:
            _check_charge(charged, listed, hold, tell)
            figures.charged += 1
            figures.charge_max = max(figures.charge_max, total)
        elif total:
            tell(P1, "a voided inference was charged")
        if listed is not None and hold.most is not None:
            _check_memo(entry, moves, hold, others, (listed[0] + listed[1], total), tell)
        figures.count_spent(began, total)
        _count_ending(entry, moves, hold, others, figures)


def _tell_of_crash(tell: Tell) -> Tell:
    """Return what tells the same, as a breach of P3."""

    def tell_of_crash(_: str, problem: str) -> None:
        tell(P3, problem)

    return tell_of_crash


def list_price(listed: Listed | None, entry: Facts) -> tuple[int, int] | None:
    """Return what an entry's tokens cost at a price, base and fee, or None where nobody can tell."""
    prompt, completion = entry.prompt_tokens, entry.completion_tokens
    if listed is None or prompt is None or completion is None or prompt < 0 or completion < 0:
        return None
    return listed.price(prompt, completion)


def _check_charge(charged: tuple[int, int], listed: tuple[int, int] | None, hold: OpenHold, tell: Tell) -> None:
    """Check that a charge is what its tokens cost at the hold's sheet, or the hold where they cost more."""
    if listed is None or hold.most is None:
        tell(P6, "cannot be priced")
        return
    due = listed if listed[0] + listed[1] <= hold.most[0] + hold.most[1] else hold.most
    if charged != due:
        tell(P6, f"charged {charged[0]} + {charged[1]}, sheet {hold.entry.sheet_version} gives {due[0]} + {due[1]}")


def _take_others(entry: Entry, hold: OpenHold, tell: Tell) -> list[Ended]:
    """Return how the other parts ended that a charge is for; nobody pays for a part of what is not charged so."""
    hold.note_end(entry.part, None, tell)  # what became of this part is what the ending says
    others = list((hold.ended or {}).values())
    if entry.kind != e.SETTLE:
        if any(other.paid for other in others):
            tell(P7, "a customer paid for a part of an inference that was not settled")
        return []
    for counted, name in enumerate(("prompt", "completion")):
        of_all = entry.prompt_tokens if name == "prompt" else entry.completion_tokens
        if sum(other[counted] for other in others) > (of_all or 0):
            tell(P7, f"its other parts have more {name} tokens than all of it")
    return others


def _check_memo(
    entry: Entry, moves: Moves, hold: OpenHold, others: Sequence[Ended], due: tuple[int, int], tell: Tell
) -> None:
    """Check overrun and crash loss: their flag, their price on the list, and their share of each part's bill.

    Args:
        entry: The ending.
        moves: What it moves.
        hold: What it ends.
        others: How the other parts ended.
        due: The price of its tokens on the list, and what was charged.
        tell: Is told what is wrong.
    """
    listed, charged = due
    most = sum(hold.most or ())
    unpaid = moves.get(UNPAID, 0)
    over = listed > most and entry.kind == e.SETTLE
    if (entry.flags & _OVERRUN != 0) != over:
        tell(P1, "overrun is not marked as it is")
    ngonka: int | None = None
    picousd: int | None = None
    share = 0
    if over or entry.kind != e.SETTLE:
        billed = unpaid + moves.get(PAID, 0)
        if over:
            picousd = listed - most
            share = ngonka = -(-billed * picousd // listed)
        elif entry.kind == e.EXPIRE:
            whole = most * hold.layers
            picousd = max(whole - charged, 0)
            share = ngonka = -(-billed * picousd // whole) if whole else billed
        else:
            share = billed
    for other in others:
        of_other = -(-(other.paid + other.unpaid) * (picousd or 0) // listed) if listed else 0
        if over:
            ngonka = (ngonka or 0) + of_other
        if other.unpaid != of_other:
            tell(P7, f"leaves {other.unpaid} of another part's bill unpaid, not {of_other}")
    if unpaid != share:
        tell(P7, f"leaves {unpaid} of {unpaid + moves.get(PAID, 0)} ngonka unpaid, not {share}")
    if entry.overrun_ngonka != ngonka or entry.overrun_list_picousd != picousd:
        tell(P1, f"tells another overrun or loss than {(ngonka, picousd)}")


def _check_sendings(entry: Entry, hold: OpenHold, tell: Tell) -> None:
    """Check that an ending ends the last sending, and no other is left; an expiry ends all that it finds."""
    if entry.kind != e.EXPIRE:
        if not hold.is_sent_only(entry):
            tell(P7, "does not end the one sending that is under way")
        return
    last = hold.sendings.get((entry.part, entry.try_))
    if hold.sendings and (last is None or last[1].upstream != entry.upstream):
        tell(P7, "names a sending that is not under way")
    payables = {e.payable_account(began.upstream or "") for _, began in hold.sendings.values()}
    if any(is_payable(name) and name not in payables for _, name, _ in entry.postings):
        tell(P7, "bills an upstream that it was not sent to")


def _count_ending(entry: Entry, moves: Moves, hold: OpenHold, others: Sequence[Ended], figures: Figures) -> None:
    """Count the sendings that an ending ends, and what of the network's bill nobody paid for."""
    if entry.kind != e.EXPIRE:
        counted = sum(other.prompt_tokens for other in others), sum(other.completion_tokens for other in others)
        figures.count_sent(entry, moves.get(PAID, 0), moves.get(UNPAID, 0), counted)
        if entry.flags & _OVERRUN:
            figures.count_overrun(hold.entry, entry)
        return
    figures.count_expired(entry, PROMPT_CHARGED if entry.flags & _CHARGED_AFTER_CRASH else VOIDED)
    # The books have one bill for all sendings to an upstream, and one sum of what of it all nobody paid for.
    unpaid = moves.get(UNPAID, 0)
    for upstream in dict.fromkeys(began.upstream for _, began in hold.sendings.values()):
        began = [began for _, began in hold.sendings.values() if began.upstream == upstream]
        payable = e.payable_account(upstream or "")
        billed = -sum(amount for _, name, amount in entry.postings if name == payable)
        lost = min(billed, unpaid)
        unpaid -= lost
        figures.count_expired_sendings(entry, began, billed - lost, lost)


def _is_made_of(price: Price | None, quote: Quote) -> bool:
    """Return whether a price is what its quote gives, to the pico-dollar."""
    try:
        return price is not None and (price.input, price.output, price.call) == quote.picousd()
    except QuoteError:
        return False
