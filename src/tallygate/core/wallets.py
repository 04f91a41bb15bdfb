"""What pays the network: wallets on the chain, and escrows of its gateway program; and when one of them runs low.

A wallet's coins are either spendable, or put into escrow: by calls under way at classic nodes, which give back what
they do not need, or in an escrow that is opened for many calls. What nobody tells is None, and never alarms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tallygate.core.alarms import AlarmKind
from tallygate.core.money import NGONKA_PER_GNK
from tallygate.core.quoting import QuoteError, decode_exactly, find, read_amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DENOMINATION = "ngonka"


class Wallet(NamedTuple):
    """A wallet or an escrow, as it was last read.

    Attributes:
        upstream: Which way to the network it pays for.
        subject: Its address, or `escrow` and its number.
        spendable_ngonka: What of it is free.
        escrowed_ngonka: What of it is in escrow.
        is_published: Whether the network knows its key; None where that is not told, or does not matter.
        phase: What an escrow is at: `active`, `finalizing`, `settlement`.
        read_ns: When it was read.
    """

    upstream: str
    subject: str
    spendable_ngonka: int | None = None
    escrowed_ngonka: int | None = None
    is_published: bool | None = None
    phase: str | None = None
    read_ns: int = 0

    @property
    def amounts(self) -> Mapping[str, int]:
        """What it has, by state, as far as that is told."""
        told = (("spendable", self.spendable_ngonka), ("escrowed", self.escrowed_ngonka))
        return {state: ngonka for state, ngonka in told if ngonka is not None}


class WalletFloors(NamedTuple):
    """Below what a wallet or an escrow runs low, in ngonka."""

    spendable_ngonka: int
    escrowed_ngonka: int


def find_wallet_alarms(wallets: Iterable[Wallet], floors: WalletFloors) -> Mapping[AlarmKind, Mapping[str, str]]:
    """Return what is wrong with wallets: by kind and wallet, in words."""
    low: dict[str, str] = {}
    unpublished: dict[str, str] = {}
    for wallet in wallets:
        for state, floor in (("spendable", floors.spendable_ngonka), ("escrowed", floors.escrowed_ngonka)):
            ngonka = wallet.amounts.get(state)
            if ngonka is not None and ngonka < floor:
                low[wallet.subject] = f"{ngonka} ngonka {state} is below {floor}"
        if wallet.is_published is False:
            unpublished[wallet.subject] = "the network does not know its public key"
    return {AlarmKind.WALLET_LOW: low, AlarmKind.WALLET_UNPUBLISHED: unpublished}


def read_account(status: int, body: bytes) -> tuple[int | None, bool] | None:
    """Return the balance, and whether the key is published, as `/v2/accounts/:address` says; None if it says nothing.

    A wallet without a published key is a 404 there, and so is one that the chain has never seen: what such a wallet
    has, if anything, only the chain's own interface tells.
    """
    try:
        document = decode_exactly(body)
        if status == 404 and _says_unknown(find(document, "/error")):
            return None, False
        if status != 200:
            return None
        return _whole(find(document, "/balance")), bool(find(document, "/pubkey"))
    except QuoteError:
        return None


def read_bank(status: int, body: bytes) -> int | None:
    """Return the balance from the chain's `/cosmos/bank/v1beta1/balances/:address`; None if it says none."""
    try:
        coins = find(decode_exactly(body), "/balances") if status == 200 else None
        if not isinstance(coins, list):
            return None
        return sum(_whole(find(coin, "/amount")) for coin in coins if find(coin, "/denom") == DENOMINATION)
    except QuoteError:
        return None


def read_escrows(upstream: str, body: bytes, now_ns: int) -> list[Wallet]:
    """Return the escrows of the gateway program, from its `/v1/status`: of its one session, or of all of its pool."""
    try:
        status = decode_exactly(body)
    except QuoteError:
        return []
    pool = find(status, "/devshards")
    sessions = pool if isinstance(pool, list) else [status]
    found = []
    for session in sessions:
        number = find(session, "/escrow_id") or find(session, "/id")
        told = find(session, "/balance")
        told = find(session, "/runtime/balance") if told is None else told
        phase = find(session, "/phase") or find(session, "/runtime/phase")
        try:
            balance = _whole(told)
        except QuoteError:
            continue
        if isinstance(number, str) and number.isascii() and number.isalnum() and len(number) <= 32:
            phase = phase if isinstance(phase, str) and phase.isascii() and phase.isalpha() else None
            found.append(Wallet(upstream, f"escrow {number}", None, balance, None, phase and phase[:32], now_ns))
    return found


def _says_unknown(error: object) -> bool:
    said = error.lower() if isinstance(error, str) else ""
    return "pubkey" in said or ("not found" in said and ("account" in said or "pub" in said))


def _whole(value: object) -> int:
    amount = read_amount(value)
    if amount != int(amount) or amount > 10**10 * NGONKA_PER_GNK:
        raise QuoteError("is no amount of ngonka")
    return int(amount)
