"""Reads what wallets and escrows have, regularly, and tells when one of them runs low."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from tallygate.core.wallets import Wallet, find_wallet_alarms, read_account, read_bank, read_escrows
from tallygate.network.asking import look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.alarms import Alarms
    from tallygate.config import BearerAccess, GonkaAccess, UpstreamSettings, WalletSettings
    from tallygate.network.client import HttpClient
    from tallygate.network.origin import Origin


class Purse(Protocol):
    """What pays one upstream."""

    @property
    def upstream(self) -> str:
        """Its configured name."""

    async def look(self, now_ns: int) -> Sequence[Wallet] | None:
        """Return its wallets and escrows as far as anybody tells; None if nobody does."""


class NodePurse:
    """The wallets of a signed upstream; any node tells what they have."""

    def __init__(self, settings: UpstreamSettings, access: GonkaAccess, client: HttpClient) -> None:
        self.upstream = settings.name
        self._addresses = [wallet.address for wallet in access.wallets]
        self._tellers = access.tellers
        self._client = client

    async def look(self, now_ns: int) -> Sequence[Wallet]:
        """Return the wallets."""
        return await asyncio.gather(*(self._look(address, now_ns) for address in self._addresses))

    async def _look(self, address: str, now_ns: int) -> Wallet:
        for origin, base_path in self._tellers:
            balance, is_published = await self._ask(origin, base_path, address)
            if balance is not None or is_published is not None:
                return Wallet(self.upstream, address, balance, None, is_published, None, now_ns)
        return Wallet(self.upstream, address)

    async def _ask(self, origin: Origin, base_path: bytes, address: str) -> tuple[int | None, bool | None]:
        told = await look_up(self._client, origin, base_path + f"/v2/accounts/{address}".encode())
        if told is None:
            return None, None
        account = read_account(told.status, told.body)
        balance, is_published = (None, None) if account is None else account
        if balance is None:
            path = f"/chain-api/cosmos/bank/v1beta1/balances/{address}"
            told = await look_up(self._client, origin, base_path + path.encode())
            balance = None if told is None else read_bank(told.status, told.body)
        return balance, is_published


class EscrowPurse:
    """The escrows that the network's gateway program pays from."""

    def __init__(self, settings: UpstreamSettings, access: BearerAccess, client: HttpClient) -> None:
        self.upstream = settings.name
        self._access = access
        self._client = client

    async def look(self, now_ns: int) -> Sequence[Wallet] | None:
        """Return the escrows; its status is public, so no key is shown."""
        told = await look_up(self._client, self._access.origin, self._access.base_path + b"/status")
        return read_escrows(self.upstream, told.body, now_ns) if told is not None and told.status == 200 else None


class WalletWatch:
    """All that pays the network, as it was last read.

    Args:
        settings: How often it is read, and when it is low.
        purses: What there is.
        alarms: Where it is told what runs low.
        now_ns: Wall clock in nanoseconds.
    """

    def __init__(
        self, settings: WalletSettings, purses: Sequence[Purse], alarms: Alarms, now_ns: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._purses = purses
        self._alarms = alarms
        self._now_ns = now_ns
        self.wallets: Sequence[Wallet] = ()

    async def run(self) -> None:
        """Look for as long as the gateway runs, beginning at once; where nothing pays, there is nothing to do."""
        while self._purses:
            await self.refresh()
            await asyncio.sleep(self._settings.interval_s)

    async def refresh(self) -> None:
        """Read everything once; what could not be read is as it was."""
        now_ns = self._now_ns()
        found = await asyncio.gather(*(purse.look(now_ns) for purse in self._purses))
        now: list[Wallet] = []
        for purse, looked in zip(self._purses, found, strict=True):
            before = {wallet.subject: wallet for wallet in self.wallets if wallet.upstream == purse.upstream}
            if looked is None:
                now += before.values()
            else:
                now += [wallet if wallet.read_ns else before.get(wallet.subject, wallet) for wallet in looked]
        self.wallets = now
        for kind, subjects in find_wallet_alarms(now, self._settings.floors).items():
            self._alarms.keep_only(kind, subjects)
