"""What the world outside was told, and whether the books say the same: the storm's own judgement, beside `verify`.

It reads the entries from the file and works with its own arithmetic (prices, fee and rounding are written down here
again), so that a slip in the product's proof does not hide in this one. A violation is a sentence.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import apsw

from tallygate.core.ledger.entry import Entry, decode_entry
from tests.storm.acts import check_acts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.storm.acts import Act
    from tests.storm.calls import Told

INPUT_PICOUSD: Final = 353
OUTPUT_PICOUSD: Final = 1411
ENDINGS: Final = ("settle", "void", "expire")
UNDER_WAY: Final = "409 idempotency_in_progress"
"""Tells of another's call, which need not be on the disk yet."""


class Books(NamedTuple):
    """The entries of a store, as bytes and decoded."""

    raws: Sequence[bytes]
    entries: Sequence[Entry]

    @classmethod
    def read(cls, path: Path) -> Books:
        """Read a store's file, whoever has it open."""
        with contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
            raws = [raw for (raw,) in db.execute("SELECT bytes FROM entries ORDER BY position")]
        return cls(raws, [decode_entry(raw) for raw in raws])

    @property
    def open_holds(self) -> dict[str, Entry]:
        """The holds without an ending."""
        ended = {entry.inference for entry in self.entries if entry.kind in ENDINGS}
        holds = (entry for entry in self.entries if entry.kind == "hold")
        return {hold.inference or "": hold for hold in holds if hold.inference not in ended}

    def balance(self, account: str) -> tuple[int | None, int | None]:
        """Return what an account's last entry says: available and held, in pico-dollars."""
        last = [entry for entry in self.entries if entry.account == account][-1]
        return last.available_after, last.held_after


class Witness:
    """Hears what callers and the operator are told, and compares it with the books.

    Args:
        charge_prompt: Whether a crash charges for the prompt (`after_crash`).
        holds_wait: Whether a hold is durable before its call is sent (`hold_durability`); else a crash can lose it.
    """

    def __init__(self, *, charge_prompt: bool, holds_wait: bool = True) -> None:
        self._charge_prompt = charge_prompt
        self._holds_wait = holds_wait
        self._charges: set[tuple[str, int]] = set()
        self._named: set[str] = set()
        self._acts: set[Act] = set()
        self._known: Sequence[bytes] = ()
        self._heard: list[str] = []

    def hear(self, told: Told) -> None:
        """Take what a caller saw."""
        if told.oddity is not None:
            self._heard.append(f"a caller {told.oddity} ({told.inference})")
        if told.inference is not None and told.ending != UNDER_WAY:
            self._named.add(told.inference)
            if told.picousd is not None:
                self._charges.add((told.inference, told.picousd))

    def hear_act(self, act: Act) -> None:
        """Take an act of the operator's that was acknowledged."""
        self._acts.add(act)

    @property
    def charges_heard(self) -> int:
        """How many callers were told a charge."""
        return len(self._charges)

    def check(self, books: Books) -> list[str]:
        """Return everything in which books differ from what was heard, or break a promise; then keep their entries."""
        found = [*self._heard]
        self._heard.clear()
        if list(books.raws[: len(self._known)]) != list(self._known):
            found.append("what was committed before is not there any more")
        self._known = books.raws
        found += self._check_told(books)
        found += check_acts(self._acts, books)
        found += _check_accounts(books)
        found += _check_sums(books)
        found += self._check_inferences(books)
        return found

    def check_start(self, before: Books, after: Books) -> list[str]:
        """Return what a start has not ended as it should: each hold that was open once, by the rule, and no other."""
        found = []
        opened = before.open_holds
        new = after.entries[len(before.entries) :]
        ended = Counter(entry.inference for entry in new if entry.kind in ENDINGS)
        if ended != Counter(dict.fromkeys(opened, 1)):
            found.append(f"a start ended {dict(ended)} where {sorted(opened)} were open")
        found += [
            f"a start ended {entry.inference} with {entry.kind} in epoch {entry.epoch}"
            for entry in new
            if entry.kind in ENDINGS and (entry.kind != "expire" or entry.epoch <= opened_epoch(opened, entry))
        ]
        held = {entry.account: entry.held_after for entry in after.entries if entry.account is not None}
        found += [f"{account} has {left} held after a start" for account, left in held.items() if left]
        return found

    def _check_told(self, books: Books) -> Iterator[str]:
        settled = defaultdict(list)
        for entry in books.entries:
            if entry.kind == "settle" or charge_of(entry):
                settled[entry.inference].append(charge_of(entry))
        for inference, picousd in self._charges:
            if settled[inference] != [picousd]:
                yield f"a caller was charged {picousd} for {inference}, the books say {settled[inference]}"
        held = {entry.inference for entry in books.entries if entry.kind == "hold"}
        if self._holds_wait:
            yield from (f"{inference} was told to a caller and never held" for inference in self._named - held)

    def _check_inferences(self, books: Books) -> Iterator[str]:
        holds: dict[str | None, Entry] = {}
        ended: Counter[str | None] = Counter()
        for entry in books.entries:
            if entry.kind == "hold":
                if entry.inference in holds:
                    yield f"{entry.inference} was held twice"
                holds[entry.inference] = entry
            elif entry.kind in ENDINGS:
                ended[entry.inference] += 1
                if entry.inference not in holds or ended[entry.inference] > 1:
                    yield f"{entry.inference} ended without a hold, or twice"
                else:
                    yield from self._check_charge(holds[entry.inference], entry)

    def _check_charge(self, hold: Entry, ending: Entry) -> Iterator[str]:
        charged = charge_of(ending)
        most = price(hold.prompt_tokens or 0, hold.completion_tokens or 0)
        due = 0
        if ending.kind == "settle":
            due = price(ending.prompt_tokens or 0, ending.completion_tokens or 0)
        elif ending.kind == "expire" and self._charge_prompt and is_under_way(ending):
            due = price(-(-(hold.prompt_tokens or 0) // 3), 0)  # three bytes of a prompt are a token
        if charged != min(due, most):
            yield f"{hold.inference} ({ending.kind}) was charged {charged}, not {min(due, most)}"


def is_under_way(ending: Entry) -> bool:
    """Return whether an expiry found a sending that had not failed."""
    return any(name.startswith("upstream/") for _, name, _ in ending.postings)


def opened_epoch(opened: dict[str, Entry], ending: Entry) -> int:
    """Return the epoch in which an inference was held."""
    hold = opened.get(ending.inference or "")
    return -1 if hold is None else hold.epoch


def price(prompt_tokens: int, completion_tokens: int) -> int:
    """Return what so many tokens cost: the base and a fee of 10 %, rounded half up."""
    base = prompt_tokens * INPUT_PICOUSD + completion_tokens * OUTPUT_PICOUSD
    return base + (base + 5) // 10


def charge_of(entry: Entry) -> int:
    """Return what an entry charged."""
    return sum(amount for _, name, amount in entry.postings if name.startswith("income/"))


def _check_accounts(books: Books) -> Iterator[str]:
    available: Counter[str] = Counter()
    held: Counter[str] = Counter()
    sequence: Counter[str] = Counter()
    for entry in books.entries:
        if entry.account is None:
            continue
        account = entry.account
        for _, name, amount in entry.postings:
            if name == f"account/{account}/available":
                available[account] += amount
            elif name == f"account/{account}/held":
                held[account] += amount
        sequence[account] += 1
        if (entry.available_after, entry.held_after, entry.account_sequence) != (
            available[account],
            held[account],
            sequence[account],
        ):
            yield f"entry {sequence[account]} of {account} says another balance than its postings add up to"
        if available[account] < 0 or held[account] < 0:
            yield f"{account} is below zero at entry {sequence[account]}"


def _check_sums(books: Books) -> Iterator[str]:
    sums: Counter[str] = Counter()
    classes: Counter[str] = Counter()
    for entry in books.entries:
        for book, name, amount in entry.postings:
            sums[book] += amount
            classes[name.rpartition("/")[2] if name.startswith("account/") else name] += amount
    yield from (f"book {book} sums to {left}" for book, left in sums.items() if left)
    right = classes["available"] + classes["held"] + classes["income/base"] + classes["income/fee"]
    if -classes["world"] - classes["corrections"] != right:
        yield f"{-classes['world']} was paid in, {right} is there"
