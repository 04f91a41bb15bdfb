"""Replays batches in the order of their commits and checks everything that is in them.

Trusts nothing but the bytes of headers and entries. What is here seals, counts and balances; `rules` looks at one
entry by itself, `inferences` follows holds to their endings, `figures` adds up. Memory goes with the accounts, the
open holds and the deposits' references, never with the history.

A replay meets what it has not seen before: a writer's first batch, an account's first entry, the ending of a hold
that it does not know. What that means depends on where it began: for an `Audit` nothing came before it, a `Stretch`
takes the word of the entry and has it checked later. Those three answers are all that the two differ in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.core.audit.figures import Figures
from tallygate.core.audit.inferences import Inferences
from tallygate.core.audit.plain import Plain
from tallygate.core.audit.problems import P1, P2, P4, P5, Problems
from tallygate.core.audit.report import Report
from tallygate.core.audit.rules import AVAILABLE, HELD, Moves, read_moves
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.batch import (
    GENESIS,
    Header,
    MalformedHeaderError,
    decode_header,
    header_hash,
)
from tallygate.core.ledger.entry import Entry, MalformedEntryError, decode_entry
from tallygate.core.ledger.merkle import leaf_hashes, merkle_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tallygate.core.ledger.entry import Facts


class Tip(NamedTuple):
    """Where a writer's chain ends: hash, sequence and epoch of its last header, and how many epochs have written."""

    head: bytes = GENESIS
    sequence: int = 0
    epoch: int = 0
    starts: int = 0


@dataclass(slots=True)
class Balance:
    """An account as the replay has it, in pico-dollars."""

    available: int = 0
    held: int = 0
    sequence: int = 0


class Replay:
    """Takes batches; what it finds is in its attributes.

    Attributes:
        sequence: What the header of the last batch says of its place; None if it is no header.
        head: The hash of the last header that is one.
        plain: Takes the ordinary entries.
    """

    def __init__(self) -> None:
        self.problems = Problems()
        self._figures = Figures()
        self.plain = Plain()
        self.balances: dict[str, Balance] = {}
        self.tips: dict[bytes, Tip] = {}
        self.references: set[tuple[str, str]] = set()
        self.inferences = Inferences()
        self.sequence: int | None = None
        self.head = GENESIS
        self._header: Header | None = None
        self._number = 0
        self._kind = ""

    @property
    def figures(self) -> Figures:
        """What has been counted."""
        self.plain.pour(self._figures)
        return self._figures

    # --- what has not been seen before; a replay from the beginning knows that there was nothing -----------------

    def meet_writer(self, header: Header) -> Tip:  # noqa: ARG002
        """Return where the chain of a writer was before its first batch."""
        return Tip()

    def meet_account(self, entry: Facts, available: int, held: int) -> Balance:  # noqa: ARG002
        """Return what an account had before its first entry, which adds this."""
        return Balance()

    def meet_unheld(self, entry: Entry, entry_bytes: bytes) -> None:  # noqa: ARG002
        """Take an attempt or an ending of an inference that is not open."""
        could = "" if entry.kind == e.ATTEMPT else " that this could end"
        self._tell(P4, f"inference {entry.inference} has no open hold{could}")

    # --- what is checked -----------------------------------------------------------------------------------------

    def take(self, header_bytes: bytes, entries: Sequence[bytes]) -> Sequence[Facts | None]:
        """Check one batch and everything in it; return its entries, None for what is none."""
        figures, problems = self._figures, self.problems
        figures.batches += 1
        try:
            header = decode_header(header_bytes)
        except MalformedHeaderError as error:
            self.sequence = None
            problems.add(P5, f"batch {figures.batches}: {error}")
            return [None] * len(entries)
        self.sequence = header.sequence
        self._header = header
        self._check_chain(header, header_bytes)
        if header.entry_count != len(entries) or not entries:
            problems.add(P5, f"{self._where}: the header counts {header.entry_count} entries, there are {len(entries)}")
        elif merkle_root(leaf_hashes(entries)) != header.root:
            problems.add(
                P5, f"{self._where}: the entries do not have the sealed root: one was changed, moved or replaced"
            )
        figures.entries += len(entries)
        take_plain, take_other = self.plain.take, self._take_other
        return [
            take_plain(entry_bytes, header, self) or take_other(number, entry_bytes, header)
            for number, entry_bytes in enumerate(entries)
        ]

    def _take_other(self, number: int, entry_bytes: bytes, header: Header) -> Entry | None:
        """Take an entry that is not ordinary, if it is one at all."""
        try:
            entry = decode_entry(entry_bytes)
        except MalformedEntryError as error:
            self.problems.add(P5, f"{self._where}, entry {number}: {error}")
            return None
        self._number = number
        self.take_closely(entry, entry_bytes, header)
        return entry

    def take_closely(self, entry: Entry, entry_bytes: bytes, header: Header) -> None:
        """Check everything that there is to an entry, and tell what is wrong."""
        self._kind = entry.kind
        if entry.epoch != header.epoch or entry.writer != header.writer:
            self._tell(P5, "carries another writer or epoch than its batch")
        self._figures.kinds[entry.kind] += 1
        moves = read_moves(entry, self._tell)
        for place, amount in moves.items():
            self._figures.totals[place] += amount
        if entry.account is not None:
            self._check_account(entry, entry.account, moves)
        self.take_inference(entry, entry_bytes, moves)
        if entry.reference is not None:
            self._check_reference(entry, entry.reference)

    def take_inference(self, entry: Entry, entry_bytes: bytes, moves: Moves) -> None:
        """Follow an inference by one more entry."""
        inferences, kind = self.inferences, entry.kind
        if kind == e.HOLD:
            inferences.take_hold(entry, entry_bytes, moves, self._tell)
        elif kind in _OF_INFERENCES:
            if entry.inference not in inferences.open:
                self.meet_unheld(entry, entry_bytes)
            elif kind == e.ATTEMPT:
                inferences.take_attempt(entry, entry_bytes, moves, self._figures, self._tell)
            else:
                inferences.take_ending(entry, moves, self._figures, self._tell)
        elif kind == e.SHEET:
            inferences.take_sheet(entry, self._tell)

    def compare_heads(self, heads: Mapping[bytes, tuple[int, bytes]]) -> None:
        """Compare sequence and header hash of each writer's last batch with what the store says; a lost tail shows."""
        for writer, (sequence, head) in heads.items():
            tip = self.tips.get(writer, Tip())
            if (tip.sequence, tip.head) != (sequence, head):
                self.problems.add(
                    P5,
                    f"writer {writer.hex()[:8]}: the batches end with {tip.sequence}, the store says {sequence}: "
                    "the last ones are missing or changed",
                )

    def compare_accounts(self, names: Iterable[str], accounts: Mapping[str, tuple[int, int, int]]) -> None:
        """Compare accounts with what the store says they have: available, held, sequence."""
        for name in sorted(names):
            balance = self.balances.get(name)
            replayed = None if balance is None else (balance.available, balance.held, balance.sequence)
            if replayed != accounts.get(name):
                told = f"the entries give {replayed}, the store has {accounts.get(name)}"
                self.problems.add(P5, f"account {name}: {told}")

    def report(self, *, is_whole: bool) -> Report:
        """Return what was checked and what was found."""
        return Report(
            is_whole=is_whole,
            figures=self.figures,
            tips=self.tips,
            accounts=len(self.balances),
            open_holds=len(self.inferences.open),
            references=len(self.references),
            broken=self.problems.by_promise,
            problems=self.problems.listed,
        )

    @property
    def _where(self) -> str:
        header = self._header
        return "" if header is None else f"batch {header.sequence} of writer {header.writer.hex()[:8]}"

    def _tell(self, promise: str, problem: str) -> None:
        """Tell a problem of the entry that is being checked."""
        self.problems.add(promise, f"{self._where}, entry {self._number} ({self._kind}): {problem}")

    def _check_chain(self, header: Header, header_bytes: bytes) -> None:
        tip = self.tips.get(header.writer)
        if tip is None:
            tip = self.meet_writer(header)
        if header.previous != tip.head:
            self.problems.add(
                P5, f"{self._where}: does not follow the batch before it: one is missing, moved or changed"
            )
        if header.sequence != tip.sequence + 1:
            self.problems.add(P5, f"{self._where}: follows batch {tip.sequence}")
        if header.epoch < tip.epoch:
            self.problems.add(P4, f"{self._where}: written under epoch {header.epoch} after epoch {tip.epoch}")
        starts = tip.starts + (header.epoch != tip.epoch)
        self.head = header_hash(header_bytes)
        self.tips[header.writer] = Tip(self.head, header.sequence, header.epoch, starts)

    def _check_account(self, entry: Entry, account: str, moves: Moves) -> None:
        more, more_held = moves.get(AVAILABLE, 0), moves.get(HELD, 0)
        balance = self.balances.get(account)
        if balance is None:
            balance = self.balances[account] = self.meet_account(entry, more, more_held)
        available, held = balance.available + more, balance.held + more_held
        sequence = balance.sequence + 1
        if entry.account_sequence != sequence:
            self._tell(P2, f"account {account} has entry {entry.account_sequence} after {sequence - 1}")
            sequence = entry.account_sequence or sequence
        balance.available, balance.held, balance.sequence = available, held, sequence
        if entry.available_after != available or entry.held_after != held:
            self._tell(P2, f"account {account} should have {available} available, {held} held")
        if held < 0 or (available < 0 and entry.kind == e.HOLD):  # a correction may, and then whatever gives back may
            self._tell(P1, f"takes account {account} below zero")
        if entry.kind in _TAKING:
            self._figures.note_lowest(entry.kind, available)

    def _check_reference(self, entry: Entry, reference: str) -> None:
        key = (entry.account or "", reference)
        if key in self.references:
            self._tell(P4, "the deposit's reference was booked before")
        self.references.add(key)


_TAKING: Final = frozenset({e.HOLD, e.CORRECTION})
"""Kinds that can lower what is available."""
_OF_INFERENCES: Final = frozenset({e.ATTEMPT, *e.ENDINGS})
