"""Some days of calls on a store, with a naive bookkeeper beside them that foretells every sum."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.calendar import DAY_NS
from tallygate.core.ledger.entry import Flag
from tallygate.core.ledger.records import Sending, SendingEnd
from tallygate.core.pricing import Price, revised
from tallygate.core.tags import name_half
from tallygate.core.usage import Usage
from tests.bookkeeper import Bookkeeper
from tests.bookkeeper import Price as NaivePrice
from tests.contract.world import FIRST, MODEL, RATE, SHEET, USD, Machine, fund, request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.core.ledger.rollup import Key
    from tallygate.storage.embedded import EmbeddedLedger

DAY = 10**18 // DAY_NS
"""The day on which a machine begins."""
OTHER = "other/model"
BROKER = Sending(0, 1, "broker", None)
ALICE, BOB = b"alice---" + bytes(8), b"bob-----" + bytes(8)
RUN = b"alice---run-----"


class Charged(NamedTuple):
    """A call that was charged, as it was foretold."""

    place: dict[str, int | str]
    account: str
    prompt: int
    completion: int
    base: int
    fee: int


class Traffic:
    """Some days of calls, with a naive bookkeeper beside them."""

    def __init__(self) -> None:
        self.keeper = Bookkeeper()
        self.keeper.prices = {MODEL: NaivePrice(100, 300, 7, 100_000), OTHER: NaivePrice(1, 2, 0, 100_000)}
        self.charged: list[Charged] = []
        self.voided: Counter[str] = Counter()
        self.accounts: list[str] = []
        self.count = 0

    async def run(self, machine: Machine) -> EmbeddedLedger:
        """Let three days go by, with a crash after the second."""
        ledger = await machine.start()
        await ledger.publish(revised(SHEET, {OTHER: Price(1, 2)}), "operator")
        self.accounts = [(await fund(ledger)).id for _ in range(2)]
        for account in self.accounts:
            self.keeper.begin(account)
            self.keeper.deposit(account, USD, None)
        for day in range(3):
            for number, account in enumerate(self.accounts * 2):
                await self.call(ledger, day, account, MODEL, ALICE, 50 + number, 20)
                await self.call(ledger, day, account, OTHER, (RUN, BOB, None)[day], 7, 10**6, key="key_2")
                await self.fail(ledger, account)
            if day == 1:
                await ledger.hold(request(f"chatcmpl-lost-{day}", self.accounts[0])._replace(tag=ALICE))
                ledger = await machine.restart()
                await ledger.expire_orphans(lambda _: RATE, charge_prompt=False)
                self.keeper.hold("lost", self.accounts[0], MODEL, 1000, 100)
                self.keeper.expire("lost", RATE.bill(1000, 100), 1, charge_prompt=False)
                self.voided[self.accounts[0]] += 1
            machine.skip(DAY_NS)
        return ledger

    async def call(
        self,
        ledger: EmbeddedLedger,
        day: int,
        account: str,
        model: str,
        tag: bytes | None,
        prompt: int,
        completion: int,
        key: str = "key_1",
    ) -> None:
        """Make a call that is tried twice and charged; a million tokens are an overrun."""
        self.count += 1
        name = f"chatcmpl-{self.count}"
        hold = await ledger.hold(request(name, account)._replace(model=model, tag=tag, key_id=key))
        ledger.end_attempt(hold, SendingEnd(FIRST, 0, 0, 3))
        ledger.begin_attempt(hold, BROKER)
        end = SendingEnd(BROKER, prompt, completion, prompt + completion, "ref")
        await ledger.settle(hold, end, Usage(prompt, completion, Flag(0)))
        self.keeper.hold(name, account, model, 1000, 100)
        self.keeper.retry(3)
        ended = self.keeper.settle(name, prompt, completion, prompt + completion)
        place: dict[str, int | str] = {"day": DAY + day, "model": model, "key": key}
        place |= {"user": name_half("user", tag), "tag": name_half("tag", tag)}
        self.charged.append(Charged(place, account, prompt, completion, ended.base, ended.fee))

    async def fail(self, ledger: EmbeddedLedger, account: str) -> None:
        """Make a call that costs nothing."""
        self.count += 1
        hold = await ledger.hold(request(f"chatcmpl-{self.count}", account))
        await ledger.void(hold, SendingEnd(FIRST, 0, 0, 5), "failed")
        self.keeper.hold(f"{self.count}", account, MODEL, 1000, 100)
        self.keeper.void(f"{self.count}", 5)
        self.voided[account] += 1

    def expect(self, account: str, by: Sequence[str]) -> dict[Key, tuple[int, int, int, int, int]]:
        """Return the sums that a customer would make of the answers: calls, tokens, base and fee."""
        rows: dict[Key, tuple[int, int, int, int, int]] = {}
        for call in self.charged:
            if call.account == account:
                key = tuple(call.place[name] for name in by)
                old = rows.get(key, (0, 0, 0, 0, 0))
                new = (1, call.prompt, call.completion, call.base, call.fee)
                rows[key] = (old[0] + 1, *(a + b for a, b in zip(old[1:], new[1:], strict=True)))  # type: ignore[assignment]
        return rows
