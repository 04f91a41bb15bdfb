"""The proof: replays everything that was ever written and says what it checked, and what does not add up.

The audit is code of its own, apart from `books`, so that a slip in a rule there is found here. It takes batches from
the first one on (`replay` says how each is checked), or the findings of a `stretch` that somebody else has replayed:
then it compares what the stretch assumed with what it knows itself. `finish` compares the end with the state that
the store keeps for speed, and adds up.

That an inference was not held again after it had ended takes the whole history to see; the stores' audits ask their
own tables for it, and compare those tables with the bytes.

What it shows of the promises: P1 (no hold takes an account below zero, no charge exceeds its hold), P2 (every
entry balances, every book sums to zero, the USD equation, base + fee by the sheet that was in force), P3 (what
crashes have cost, and by which rule), P4 (one hold and one ending for each inference; no writer after its time),
back to the first batch P5 (nothing changed, reordered or missing), P6 (every charge, computed again) and its half of
P7 (what each upstream has billed by node and day).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tallygate.core.audit.problems import P2, P3, P5
from tallygate.core.audit.replay import Balance, Replay, Tip
from tallygate.core.audit.rules import AVAILABLE, BASE, CORRECTIONS, FEE, HELD, WORLD, read_moves
from tallygate.core.ledger.entry import decode_entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from tallygate.core.audit.report import Report
    from tallygate.core.audit.stretch import Amounts, Findings


SpentRow = tuple[str, str, int, int, int, int, int]
"""What a store says that a key has spent."""


class Audit(Replay):
    """Takes the history from its beginning; `finish` gives the report."""

    def join(self, findings: Findings) -> bool:
        """Take over what a stretch has found, if it follows from what is known; else nothing has happened.

        Then the stretch has to be taken batch by batch, which tells what is wrong and where. A stretch cannot tell
        whether an inference that it has a hold of had one before; whoever joins stretches has to know that all
        holds of the history are of different inferences.
        """
        if not (findings.is_clean and self._is_as_assumed(findings)):
            return False
        # A trial, since nothing may have changed if one of them does not fit.
        trial = Replay()
        trial.inferences = self.inferences.copy()
        for entry_bytes in findings.unheld:
            entry = decode_entry(entry_bytes)
            trial.take_inference(entry, entry_bytes, read_moves(entry, trial.problems.add))
        if trial.problems.count:
            return False
        self.inferences = trial.inferences
        self.inferences.take_over(findings.open, findings.new_sheets, self.problems.add)
        self.figures.add(trial.figures)
        self.figures.add(findings.figures)
        for writer, (before, after) in findings.tips.items():
            known = self.tips.get(writer, Tip())
            starts = known.starts + (before.epoch != known.epoch) + after.starts
            self.tips[writer] = after._replace(starts=starts)
        for name, (_, after_amounts) in findings.accounts.items():
            self.balances[name] = Balance(*after_amounts)
        self.references |= findings.references
        return True

    def finish(
        self,
        accounts: Mapping[str, Amounts],
        open_holds: set[str],
        heads: Mapping[bytes, tuple[int, bytes]] | None = None,
        spent: AbstractSet[SpentRow] | None = None,
    ) -> Report:
        """Compare the replay with the state that the store keeps for speed, and close the report.

        Args:
            accounts: Available, held and sequence of each account by its id, as the store has them.
            open_holds: The inferences whose hold the store regards as open.
            heads: Sequence and header hash of each writer's last batch, as the store has them; a lost tail shows here.
            spent: What each key has spent, as the store has it: account, key, its last day, what was spent on it, its
                last month, what was spent in it, and all of it.
        """
        self.compare_heads(heads or {})
        self.compare_accounts(self.balances.keys() | accounts.keys(), accounts)
        open_now = self.inferences.open.keys()
        if open_holds != open_now:
            odd = sorted(open_holds ^ open_now)[:3]
            self.problems.add(P3, f"open holds: the store and the entries disagree on {', '.join(odd)}")
        if spent is not None:
            self._compare_spent(spent)
        self._check_totals()
        return self.report(is_whole=True)

    def _is_as_assumed(self, findings: Findings) -> bool:
        """Return whether a stretch begins where the history before it has ended."""
        for writer, (before, _) in findings.tips.items():
            known = self.tips.get(writer, Tip())
            if before[:2] != known[:2] or before.epoch < known.epoch:
                return False
        for name, (assumed, _) in findings.accounts.items():
            balance = self.balances.get(name)
            known_amounts = (0, 0, 0) if balance is None else (balance.available, balance.held, balance.sequence)
            if assumed != known_amounts:
                return False
        return findings.sheets_before == self.inferences.sheets_digest and self.references.isdisjoint(
            findings.references
        )

    def _compare_spent(self, rows: AbstractSet[SpentRow]) -> None:
        """Compare what the store says that keys have spent, by which their limits are kept."""
        replayed = {
            (*ids, s.day, s.of_day, (s.month[0] - 1970) * 12 + s.month[1] - 1, s.of_month, s.total)
            for ids, s in self.figures.spent.items()
        }
        if odd := sorted(replayed ^ rows)[:3]:
            told = ", ".join(dict.fromkeys(row[1] for row in odd))
            self.problems.add(P5, f"what keys have spent: the store and the entries disagree on {told}")

    def _check_totals(self) -> None:
        totals = self.figures.totals
        books: Counter[str] = Counter()
        for place, amount in totals.items():
            books[place.partition(" ")[0]] += amount
        for book, amount in sorted(books.items()):
            if amount:
                self.problems.add(P2, f"book {book} sums to {amount}, not to zero")
        available = sum(balance.available for balance in self.balances.values())
        held = sum(balance.held for balance in self.balances.values())
        if (totals[AVAILABLE], totals[HELD]) != (available, held):
            self.problems.add(
                P2, f"{totals[AVAILABLE]} and {totals[HELD]} were posted, but accounts have {available}, {held}"
            )
        came_in = -totals[WORLD] - totals[CORRECTIONS]
        charged = totals[BASE] + totals[FEE]
        if came_in != available + held + charged:
            self.problems.add(P2, f"{came_in} came in, but customers have {available + held} and {charged} was charged")
