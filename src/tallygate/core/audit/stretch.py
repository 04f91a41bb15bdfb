"""A part of the history, replayed by itself: so that many processes can share the work of one proof.

A stretch does not know what came before it, so it takes the first word of each: where the chain was by its first
header, what an account had by its first entry. What it assumed, and the attempts and endings of holds that it has not
seen, are among its findings, for the audit to compare with what the stretches before have proved. A stretch with
any fault in it, or with an assumption that does not hold, is replayed again by the audit itself, which knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.audit.problems import P3
from tallygate.core.audit.replay import Balance, Replay, Tip
from tallygate.core.ledger import entry as e

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tallygate.core.audit.figures import Figures
    from tallygate.core.audit.inferences import OpenHold
    from tallygate.core.audit.report import Report
    from tallygate.core.audit.rules import Moves
    from tallygate.core.ledger.batch import Header
    from tallygate.core.ledger.entry import Entry, Facts

Amounts = tuple[int, int, int]
"""Available, held and sequence of an account."""


class Findings(NamedTuple):
    """What a stretch has found, as it goes from one process to another.

    Attributes:
        is_clean: Whether nothing in it contradicts anything else in it.
        tips: By writer, where its chain was assumed to be before, and is after.
        accounts: The same of each account.
        sheets_before: Digest of the price sheets that were taken to be in force before.
        new_sheets: The entries of those that came in it.
        unheld: Attempts and endings of holds from before, in their order.
        open: Holds that are open at its end.
        references: Of its deposits.
    """

    is_clean: bool
    figures: Figures
    tips: dict[bytes, tuple[Tip, Tip]]
    accounts: dict[str, tuple[Amounts, Amounts]]
    sheets_before: bytes
    new_sheets: list[Entry]
    unheld: list[bytes]
    open: dict[str, OpenHold]
    references: set[tuple[str, str]]


@dataclass(slots=True)
class _Before:
    tips: dict[bytes, Tip]
    accounts: dict[str, Amounts]
    sheets: bytes


class Stretch(Replay):
    """Takes the batches of a part of the history; `finish` gives the findings, `close` the report on a last one.

    Args:
        sheets: The price sheets that came before it, to all appearances; they are compared later.
        is_last: Whether it will be closed: then every inference that it has a hold of is kept in mind.
    """

    def __init__(self, sheets: Iterable[Entry], *, is_last: bool = False) -> None:
        super().__init__()
        for sheet in sheets:
            self.inferences.take_sheet(sheet, self.problems.add)
        self._before = _Before({}, {}, self.inferences.sheets_digest)
        self._unheld: list[bytes] = []
        self._began: list[str] = []
        if is_last:
            self.inferences.began = self._began
        self._sheets: list[Entry] = []

    def meet_writer(self, header: Header) -> Tip:
        """Take a header's word for where its chain was."""
        tip = self._before.tips[header.writer] = Tip(header.previous, header.sequence - 1, header.epoch)
        return tip

    def meet_account(self, entry: Facts, available: int, held: int) -> Balance:
        """Take an entry's word for what its account had."""
        before = (
            (entry.available_after or 0) - available,
            (entry.held_after or 0) - held,
            (entry.account_sequence or 0) - 1,
        )
        self._before.accounts[entry.account or ""] = before
        return Balance(*before)

    def meet_unheld(self, entry: Entry, entry_bytes: bytes) -> None:  # noqa: ARG002
        """Leave it to the audit, which knows what is open."""
        self._unheld.append(entry_bytes)

    def take_inference(self, entry: Entry, entry_bytes: bytes, moves: Moves) -> None:
        """Follow an inference by one more entry, and note price sheets."""
        super().take_inference(entry, entry_bytes, moves)
        if entry.kind == e.SHEET:
            self._sheets.append(entry)

    def close(
        self, accounts: Mapping[str, Amounts], open_holds: set[str], heads: Mapping[bytes, tuple[int, bytes]]
    ) -> Report:
        """Compare the last stretch of a history with the state of its store, as far as the stretch can tell.

        Args:
            accounts: Available, held and sequence of each account by its id, as the store has them.
            open_holds: The inferences whose hold the store regards as open.
            heads: Sequence and header hash of each writer's last batch, as the store has them.
        """
        self.compare_heads(heads)
        self.compare_accounts(self.balances, accounts)
        for inference in self._began:
            if (inference in self.inferences.open) != (inference in open_holds):
                self.problems.add(P3, f"open holds: the store and the entries disagree on {inference}")
        return self.report(is_whole=False)

    def finish(self) -> Findings:
        """Return what was found and what was assumed."""
        before = self._before
        return Findings(
            is_clean=not self.problems.count,
            figures=self.figures,
            tips={writer: (before.tips[writer], tip) for writer, tip in self.tips.items()},
            accounts={
                name: (before.accounts[name], (after.available, after.held, after.sequence))
                for name, after in self.balances.items()
            },
            sheets_before=before.sheets,
            new_sheets=self._sheets,
            unheld=self._unheld,
            open=self.inferences.open,
            references=self.references,
        )
