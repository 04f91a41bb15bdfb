"""Holds what callers saw against what nodes did, and both against the books, call by call and token by token.

Nothing is believed because it is plausible. A failure is accepted only where the retry table permits no further sending
after what the nodes did to that very call, by their own record. Every token that the chain has a record of is found in
one of three sums: charged to a caller; billed for a stream that broke, beyond what came of it; billed for an answer of
which nobody was served. `tallygate reconcile` must find the same, by asking the nodes.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.reconciliation import Attempts, Basis, Bill
from tallygate.relay.inquiry import reconcile
from tests.ordeal.record import Row
from tests.ordeal.trials import STREAM, WHOLE
from tests.relay.world import charged, cost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tallygate.core.ledger.reconciliation import Attempt, Reconciliation, Unreported
    from tallygate.ports import Upstream
    from tests.ordeal.record import Arrival, Record
    from tests.ordeal.trials import Trial
    from tests.relay.caller import Answer
    from tests.relay.world import World


@dataclass
class Outcome:
    """What came of an ordeal; `problems` is empty if all held.

    Attributes:
        seconds: How long it took.
        asked: How many calls each node has been asked for.
        foreign: How many connections the host has had that redirects point to.
        seen: How calls ended for their callers: 200, or a code of the contract.
        served: All tokens that the chain has a record of; the next three are its parts.
        charged: Those that callers were charged for.
        cut, cuts: Those that nodes billed for broken streams beyond what came of them, and how many streams.
        lost, losses: Those that nodes billed for answers that nobody was charged for, and how many answers.
        paid, unpaid: What the ngonka book has for sendings that a caller paid for, and for all others, at most.
        reported: What the nodes say that all their records cost, as `tallygate reconcile` has asked them.
        drift: What they say more than was booked, by where the booked amount comes from.
    """

    seconds: float
    asked: list[int]
    foreign: int
    seen: Counter[str] = field(default_factory=Counter)
    served: int = 0
    charged: int = 0
    cut: int = 0
    cuts: int = 0
    lost: int = 0
    losses: int = 0
    paid: int = 0
    unpaid: int = 0
    reported: int = 0
    drift: Counter[Basis] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


class Audit:
    """Of one ordeal."""

    def __init__(
        self,
        world: World,
        trial: Trial,
        wrong: Sequence[int],
        answers: Mapping[int, Answer],
        record: Record,
        outcome: Outcome,
    ) -> None:
        self._world = world
        self._trial = trial
        self._wrong = wrong
        self._answers = answers
        self._record = record
        self._outcome = outcome
        self._chain = world.devnet.chain.inferences
        self._endings = {entry.inference: entry for entry in world.entries(*e.ENDINGS)}
        self._explained: Counter[Basis] = Counter()
        self._twice = 0  # calls that two nodes have failed, each perhaps after taking it

    async def run(self, callers: int) -> None:
        """Look at everything."""
        holds = [entry.inference for entry in self._world.entries(e.HOLD)]
        endings = [entry.inference for entry in self._world.entries(*e.ENDINGS)]
        self._expect(len(set(holds)) == len(holds) == len(self._answers), "a call has not exactly one hold")
        self._expect(sorted(map(str, holds)) == sorted(map(str, endings)), "a hold has not exactly one ending")
        for number, answer in self._answers.items():
            self._judge(number, answer)
        self._add_up(await self._reconcile())
        self._look_at_choice(callers)

    def _expect(self, holds: bool, problem: str) -> None:
        if not holds:
            self._outcome.problems.append(problem)

    # --- what callers saw ----------------------------------------------------------------------------------------

    def _judge(self, number: int, answer: Answer) -> None:
        """Look at one call: was it answered wherever that was permitted, and charged once for what was served?"""
        arrivals = self._record.of_call[number]
        rows = [self._row(arrival) for arrival in arrivals]
        error = error_of(answer)
        self._outcome.seen[error or "200"] += 1
        told = f"call {number} ({error or 200}, {[row.name for row in rows]})"
        entry = self._endings.get(answer.headers.get("x-inference-id"))
        if entry is None or not rows:
            self._outcome.problems.append(f"{told} has no ending, or was never sent")
            return
        self._expect(may_follow(rows), f"{told} was sent again where that is not permitted")
        self._expect((error is None) == (rows[-1] is Row.SERVED), f"{told} was not told what its node did")
        self._expect(
            error is None or is_unavoidable(rows), f"{told} failed, and a permitted retry could have avoided it"
        )
        self._twice += rows[-1] is Row.ONCE
        self._hold_against_chain(told, answer, entry, arrivals)

    def _row(self, arrival: Arrival) -> Row:
        form = STREAM if arrival.streamed else WHOLE
        row = arrival.row(is_spoilt=arrival.host in self._wrong and form in self._trial.spoils)
        if row is Row.NEVER and self._trial.may_lose and arrival is not self._record.of_call[arrival.number][-1]:
            return Row.ONCE  # what was sent has been lost with the connection, or nothing would have followed
        return row

    # --- what it cost ----------------------------------------------------------------------------------------

    def _hold_against_chain(self, told: str, answer: Answer, entry: e.Entry, arrivals: Sequence[Arrival]) -> None:
        """Find all that the chain has billed for a call in its charge, its cut stream, or its lost answers."""
        outcome, last = self._outcome, arrivals[-1]
        booked = entry.prompt_tokens or 0, entry.completion_tokens or 0
        for arrival in arrivals:
            record = self._chain.get(arrival.signature)
            if record is None:
                continue
            served = record.prompt_tokens, record.completion_tokens
            outcome.served += sum(served)
            if arrival is not last or entry.kind != e.SETTLE:
                outcome.lost += sum(served)
                outcome.losses += 1
                continue
            outcome.charged += sum(booked)
            self._expect(entry.upstream_reference == arrival.signature, f"{told} is charged for another sending")
            self._expect(charged(entry) == cost(*booked).total, f"{told} is charged {charged(entry)} for {booked}")
            if entry.flags & Flag.CUT:
                self._judge_cut(told, arrival, booked, served)
            else:
                self._expect(booked == served, f"{told} is charged for {booked}, and was served {served}")
                usage = answer.usage
                self._expect((usage["prompt_tokens"], usage["completion_tokens"]) == booked, f"{told}: another usage")
        if entry.kind != e.SETTLE:
            self._expect(charged(entry) == 0, f"{told} is charged though nothing was settled")
        broken = last.shown() if last.streamed and self._row(last) is Row.NEVER and last.status == 200 else None
        if self._row(last) is not Row.SERVED and not self._trial.may_lose:
            self._expect((entry.kind == e.SETTLE) == (broken is not None), f"{told} ended as {entry.kind}")

    def _judge_cut(self, told: str, arrival: Arrival, booked: tuple[int, int], served: tuple[int, int]) -> None:
        """A broken stream is charged for what its node has sent of it, and what it billed besides is drift."""
        outcome, shown = self._outcome, arrival.shown() or 0
        beyond = sum(served) - sum(booked)
        outcome.cuts += 1
        outcome.cut += beyond
        self._explained[Basis.COUNTED] += beyond
        came = booked[1] <= shown if self._trial.may_lose else booked[1] == shown
        self._expect(booked[0] == served[0] and came, f"{told} is charged for {booked}, and was sent {shown}")

    # --- what both books hold ------------------------------------------------------------------------------------

    async def _reconcile(self) -> Reconciliation:
        """Reconcile as `tallygate reconcile` does, and hold each answer against the chain."""
        attempts: list[Attempt] = []
        finder = Attempts()
        for entry in self._world.entries(e.HOLD, e.ATTEMPT, *e.ENDINGS):
            attempts += finder.take(entry)
        asked = {upstream.name: _Asked(upstream) for upstream in self._world.gateway.upstreams.upstreams}
        found = await reconcile(attempts, asked)  # type: ignore[arg-type]
        told = {signature: answer for one in asked.values() for signature, answer in one.answers.items()}
        bills = {signature: answer for signature, answer in told.items() if isinstance(answer, Bill)}
        records = {
            name: Bill(record.tokens_ngonka, record.prompt_tokens, record.completion_tokens)
            for name, record in self._chain.items()
        }
        self._expect(bills == records, "the chain has records that our books know no attempt of, or others than told")
        for attempt in attempts:
            if attempt.basis is Basis.POSSIBLE and (bill := bills.get(attempt.reference or "")) is not None:
                self._expect(bill.ngonka <= attempt.booked_ngonka, f"{attempt.inference} cost more than was possible")
                self._explained[Basis.POSSIBLE] += bill.ngonka - attempt.booked_ngonka
        return found

    def _add_up(self, found: Reconciliation) -> None:
        """A token costs one ngonka here, so that all sums can be compared."""
        outcome, total = self._outcome, found.total
        outcome.paid = self._world.posted_ngonka(e.COST_PAID)
        outcome.unpaid = self._world.posted_ngonka(e.COST_UNPAID)
        outcome.reported, outcome.drift = total.reported_ngonka, found.drift_ngonka
        unknown = sum(total.unreported_ngonka.values())
        self._expect(outcome.served == self._world.billed_ngonka == total.reported_ngonka, "served is not reported")
        self._expect(outcome.served == outcome.charged + outcome.cut + outcome.lost, "served is not explained")
        self._expect(outcome.paid == outcome.charged, f"{outcome.paid} are paid, and {outcome.charged} were charged")
        self._expect(outcome.paid + outcome.unpaid == total.booked_ngonka, "the ngonka book has more than its attempts")
        self._expect(+self._explained == +found.drift_ngonka, f"drift {found.drift_ngonka}, not {self._explained}")
        self._expect(-self._explained == -found.drift_ngonka, f"drift {found.drift_ngonka}, not {self._explained}")
        self._expect(
            total.reported_ngonka == outcome.paid + outcome.unpaid - unknown + total.drift_ngonka, "the books disagree"
        )

    # --- who was asked -------------------------------------------------------------------------------------------

    def _look_at_choice(self, callers: int) -> None:
        """Who goes wrong is left out; and no retry is risked there once that is known."""
        outcome, budget = self._outcome, self._world.gateway.upstreams._budget
        assert budget is not None
        self._expect(budget.refused == 0, "the budget has refused retries that the table permits")
        self._expect(outcome.foreign == 0, "a redirect was followed")
        if self._trial.out_after is not None:
            wrong_max = self._trial.wrong_max(callers, outcome.seconds)
            wrong = [self._count_wrong(host) for host in self._wrong]
            self._expect(max(wrong) <= wrong_max, f"nodes have gone wrong {wrong} times, not {wrong_max}")
            # Two nodes can fail a call only if it was under way before the first time that the second one failed.
            self._expect(self._twice <= callers, f"{self._twice} calls were failed by two nodes")

    def _count_wrong(self, host: int) -> int:
        """Return how often a node has gone wrong: each time, but for one that spoils answers of one form only."""
        if len(self._trial.spoils) != 1:
            return self._outcome.asked[host]
        arrivals = [arrival for call in self._record.of_call.values() for arrival in call if arrival.host == host]
        return sum(self._row(arrival) is not Row.SERVED for arrival in arrivals)


class _Asked:
    """An upstream that is asked for bills, and what it said."""

    def __init__(self, upstream: Upstream) -> None:
        self.answers: dict[str, Bill | Unreported] = {}
        self._upstream = upstream

    async def ask_bill(self, reference: str, node: str | None) -> Bill | Unreported:
        """Ask, and remember the answer."""
        self.answers[reference] = answer = await self._upstream.ask_bill(reference, node)
        return answer


def may_follow(rows: Sequence[Row]) -> bool:
    """Return whether each sending but the first was permitted by the one before."""
    before = rows[:-1]
    return all(row in (Row.FREE, Row.ONCE) for row in before) and before.count(Row.ONCE) <= 1


def is_unavoidable(rows: Sequence[Row]) -> bool:
    """Return whether no further sending was permitted after these, though there were nodes left."""
    return rows[-1] is Row.NEVER or (rows[-1] is Row.ONCE and Row.ONCE in rows[:-1])


def error_of(answer: Answer) -> str | None:
    """Return the code of the failure that a caller saw, None if there was none."""
    if answer.status != 200:
        return answer.code
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        for event in answer.events:
            if event != b"[DONE]" and "error" in (found := json.loads(event)):
                return str(found["error"]["code"])
        return None if answer.events[-1:] == [b"[DONE]"] else "cut"
    return None
