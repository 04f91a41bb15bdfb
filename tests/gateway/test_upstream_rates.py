"""What the network bills, booked at its price of the day: a whole gateway before a chain whose price moves."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from tallygate.core.ledger import entry as e
from tests.gateway.processes import Installation, installed, served, until_logged

if TYPE_CHECKING:
    from pathlib import Path

FEEDS = """
[prices]
source = "network"
interval_s = 0.05

[gnk]
usd = "0.62"
"""


def configure(installation: Installation) -> None:
    """Let the one model be priced by the chain."""
    text = re.sub(r'(in|out)put_usd_per_1m = ".*"\n', "", installation.config.read_text())
    text = text.replace('kind = "openai"\n', 'kind = "openai"\ntells_prices = false\n')
    models = text.index("[models.")
    installation.config.write_text(text[:models] + FEEDS + text[models:])


def paid_ngonka(installation: Installation) -> int:
    """Return what the books have as paid to the network."""
    settled = installation.entries(e.SETTLE)
    return sum(amount for entry in settled for book, name, amount in entry.postings if (book, name) == PAID)


PAID = (e.NGONKA, e.COST_PAID)


async def test_the_books_follow_the_chains_price(tmp_path: Path) -> None:
    """Calls are booked at the price that the chain has when they begin, to the ngonka, also after a restart."""
    async with installed(tmp_path) as installation:
        configure(installation)
        chain = installation.devnet.chain

        def billed() -> int:
            return sum(inference.cost_ngonka for inference in chain.inferences.values())

        chain.parameters.price_ngonka = 100
        async with served(installation) as gateway:
            await until_logged(gateway, b'"moved"')
            assert (await gateway.chat()).status == 200
            assert paid_ngonka(installation) == billed()
            for version, price in ((3, 140), (4, 120)):
                chain.parameters.price_ngonka = price
                await until_logged(gateway, b'"version":%d' % version)
                assert (await gateway.chat(stream=True)).status == 200
                assert paid_ngonka(installation) == billed()
            assert await gateway.end(signal.SIGTERM) == 0
        async with served(installation) as gateway:
            assert (await gateway.chat()).status == 200
            assert paid_ngonka(installation) == billed() > 0
        assert installation.audit().clean
