"""A second, naive bookkeeper: what becomes of a customer's money, as anybody would write it down.

It is written from `docs/books.md` alone and shares no code with the ledger: plain dictionaries, and fractions where
the ledger has integers. It predicts what each act comes to; who uses it compares.

Unlike the ledger it is told no more than happened: it knows nothing of entries, nodes, batches or disks.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

CAP_PICOUSD = 10**18
PROMPT_BYTES_PER_TOKEN = 3
MILLION = 10**6


class Price(NamedTuple):
    """What a model costs: pico-dollars per token in and out and per call, and the fee's parts per million."""

    input: int
    output: int
    call: int
    fee_ppm: int

    def of(self, prompt: int, completion: int) -> tuple[int, int]:
        """Return base and fee of so many tokens; the fee is rounded once, half up."""
        base = prompt * self.input + completion * self.output + self.call
        return base, floor(Fraction(base * self.fee_ppm, MILLION) + Fraction(1, 2))


class Aside(NamedTuple):
    """Money set aside: whose, how much, at which price, for at most how many prompt tokens."""

    account: str
    base: int
    fee: int
    price: Price
    prompt_max: int


class Ended(NamedTuple):
    """What the end of a call comes to: what is charged, and what the operator bears, at list price and in ngonka."""

    base: int = 0
    fee: int = 0
    borne_picousd: int = 0
    borne_ngonka: int = 0


class Bookkeeper:
    """All accounts."""

    def __init__(self) -> None:
        self.free: dict[str, int] = {}
        self.aside: dict[str, int] = {}
        self.open: dict[str, Aside] = {}
        self.prices: dict[str, Price] = {}
        self.references: dict[tuple[str, str], int] = {}
        self.came = self.corrected = self.base = self.fee = self.paid_ngonka = self.borne_ngonka = 0

    def begin(self, account: str) -> None:
        """Open an account with nothing in it."""
        self.free[account] = self.aside[account] = 0

    def deposit(self, account: str, picousd: int, reference: str | None) -> str:
        """Return what becomes of a deposit: booked, replayed, or why it is refused."""
        if picousd <= 0:
            return "invalid_value"
        known = None if reference is None else self.references.get((account, reference))
        if known is not None:
            return "replayed" if known == picousd else "conflict"
        if self.free[account] + self.aside[account] + picousd > CAP_PICOUSD:
            return "invalid_value"
        if reference is not None:
            self.references[account, reference] = picousd
        self.free[account] += picousd
        self.came += picousd
        return "booked"

    def correct(self, account: str, picousd: int) -> str:
        """Return what becomes of a correction: booked, or why not. It alone may leave less than nothing free."""
        after = self.free[account] + self.aside[account] + picousd
        if picousd == 0 or (picousd > 0 and after > CAP_PICOUSD) or (picousd < 0 and after < -CAP_PICOUSD):
            return "invalid_value"
        self.free[account] += picousd
        self.corrected += picousd
        return "booked"

    def hold(self, inference: str, account: str, model: str, prompt: int, completion: int) -> str:
        """Return whether the most that a call can cost is set aside, or why not."""
        price = self.prices[model]
        base, fee = price.of(prompt, completion)
        if base + fee > self.free[account]:
            whole = self.free[account] + self.aside[account]
            return "balance_held" if base + fee <= whole else "insufficient_balance"
        self.free[account] -= base + fee
        self.aside[account] += base + fee
        self.open[inference] = Aside(account, base, fee, price, prompt)
        return "held"

    def retry(self, bill: int) -> None:
        """A sending that failed moves no dollars; what it cost is the operator's."""
        self.borne_ngonka += bill

    def settle(self, inference: str, prompt: int, completion: int, *bills: int) -> Ended:
        """Charge what was used, at the price of the hold, and never more than was set aside; of each part a bill."""
        aside = self.open[inference]
        base, fee = aside.price.of(prompt, completion)
        excess, listed = max(0, base + fee - aside.base - aside.fee), base + fee
        if excess:
            base, fee = aside.base, aside.fee
        borne = sum(ceil(Fraction(bill * excess, listed)) for bill in bills) if excess else 0
        return self._end(inference, Ended(base, fee, excess, borne), sum(bills))

    def void(self, inference: str, bill: int) -> Ended:
        """Charge nothing; what the last sendings cost is the operator's."""
        return self._end(inference, Ended(borne_ngonka=bill), bill)

    def expire(self, inference: str, bill: int, layers: int, *, charge_prompt: bool) -> Ended:
        """End a call that a crash has cut off; all that the hold allowed may have been used so many times."""
        aside, base, fee = self.open[inference], 0, 0
        held = aside.base + aside.fee
        if charge_prompt and layers:
            base, fee = aside.price.of(ceil(Fraction(aside.prompt_max, PROMPT_BYTES_PER_TOKEN)), 0)
            if base + fee > held:
                base, fee = aside.base, aside.fee
        listed = held * layers
        lost = max(0, listed - base - fee)
        borne = ceil(Fraction(bill * lost, listed)) if listed else bill
        return self._end(inference, Ended(base, fee, lost, borne), bill)

    def _end(self, inference: str, ended: Ended, bill: int) -> Ended:
        aside = self.open.pop(inference)
        self.aside[aside.account] -= aside.base + aside.fee
        self.free[aside.account] += aside.base + aside.fee - ended.base - ended.fee
        self.base += ended.base
        self.fee += ended.fee
        self.borne_ngonka += ended.borne_ngonka
        self.paid_ngonka += bill - ended.borne_ngonka
        return ended
