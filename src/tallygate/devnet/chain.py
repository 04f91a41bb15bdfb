"""The simulated chain: accounts, balances in ngonka, blocks, and the record of every inference.

It knows nothing of HTTP. One chain is shared by all nodes of a devnet. Invariants: no balance is
ever below zero; what an inference cost was taken from its requester's balance once: its tokens at its finish, the
fee of an attempt (where there is one) at its start.

Escrow at start and refunds are not simulated: tokens cost nothing until an inference finishes. One that has not
finished after 20 blocks is shown as expired; if it does finish later, it is billed all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tallygate.devnet.identity import derive_address

NS_PER_S = 1_000_000_000
FIRST_HEIGHT = 5_000_000  # of the order of mainnet's heights, so that logs look alike
EXPIRATION_BLOCKS = 20  # the chain's own parameter


@dataclass(frozen=True, slots=True)
class Block:
    """The latest block: its height and its own time."""

    height: int
    time_ns: int


class BlockClock:
    """Block times: a new block at every interval of the injected clock, unless the chain stalls."""

    def __init__(self, now_ns: Callable[[], int], interval_ns: int) -> None:
        self._now_ns = now_ns
        self._interval_ns = interval_ns
        self._start = Block(FIRST_HEIGHT, now_ns())
        self._stalled_at: Block | None = None
        self._offset_ns = 0

    @property
    def stalled(self) -> bool:
        """Whether the chain makes no blocks."""
        return self._stalled_at is not None

    @property
    def offset_s(self) -> int:
        """How far block times are ahead of the injected clock, by a test's wish."""
        return self._offset_ns // NS_PER_S

    def latest(self) -> Block:
        """Gives the latest block."""
        block = self._stalled_at or self._count_blocks()
        return Block(block.height, block.time_ns + self._offset_ns)

    def stall(self) -> None:
        """Stops making blocks; the latest one stays the latest."""
        self._stalled_at = self._stalled_at or self._count_blocks()

    def resume(self) -> None:
        """Makes blocks again, the first one now."""
        if self._stalled_at is not None:
            self._start = Block(self._stalled_at.height + 1, self._now_ns())
            self._stalled_at = None

    def shift(self, offset_s: int) -> None:
        """Moves block times by whole seconds from the injected clock, forwards or backwards."""
        self._offset_ns = offset_s * NS_PER_S

    def _count_blocks(self) -> Block:
        blocks = max(0, self._now_ns() - self._start.time_ns) // self._interval_ns
        return Block(self._start.height + blocks, self._start.time_ns + blocks * self._interval_ns)


@dataclass(slots=True)
class Account:
    """An account of the chain; `public_key` is None until it is published."""

    address: str
    balance_ngonka: int = 0
    public_key: bytes | None = None


class InferenceStatus(StrEnum):
    """How far the chain has come with an inference."""

    STARTED = "STARTED"
    FINISHED = "FINISHED"
    EXPIRED = "EXPIRED"


@dataclass(slots=True)
class Inference:
    """The chain's record of one inference; counts are 0 until it has finished.

    Attributes:
        price_ngonka: The price of one token, locked at the start.
        started: The block in which it began.
        ended: The block in which it finished.
        fee_ngonka: What was debited for the attempt itself.
        cost_ngonka: All that was debited for it, the fee included.
        max_tokens: The most tokens of its answer.
        input_bytes: The length of the request's body.
        request_id: The Bearer gateway's id of the request, where it came through one.
    """

    id: str
    requester: str
    node_address: str
    model: str
    price_ngonka: int
    started: Block
    ended: Block | None = None
    fee_ngonka: int = 0
    cost_ngonka: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    max_tokens: int = 0
    input_bytes: int = 0
    request_id: str | None = None

    @property
    def tokens_ngonka(self) -> int:
        """What was debited for its tokens."""
        return self.cost_ngonka - self.fee_ngonka


class Chain:
    """Everything that all nodes of a devnet agree on."""

    def __init__(self, clock: BlockClock, price_ngonka: int) -> None:
        self.clock = clock
        self.price_ngonka = price_ngonka
        self.accounts: dict[str, Account] = {}
        self.inferences: dict[str, Inference] = {}

    def find_account(self, address: str) -> Account | None:
        """Gives an account, or None when the chain does not know it."""
        return self.accounts.get(address)

    def open_account(self, address: str) -> Account:
        """Gives an account, making it known first if it was not."""
        return self.accounts.setdefault(address, Account(address))

    def fund(self, public_key: bytes, balance_ngonka: int) -> Account:
        """Sets the balance of a key's account and publishes the key."""
        account = self.open_account(derive_address(public_key))
        account.public_key = public_key
        account.balance_ngonka = balance_ngonka
        return account

    def start(
        self, inference_id: str, requester: str, node_address: str, model: str, *, fee_ngonka: int = 0
    ) -> Inference:
        """Records an inference that begins, at the price of now, and debits the fee of the attempt."""
        inference = Inference(
            inference_id, requester, node_address, model, self.price_ngonka, started=self.clock.latest()
        )
        inference.fee_ngonka = self._debit(inference, fee_ngonka)
        self.inferences[inference_id] = inference
        return inference

    def finish(self, inference: Inference, prompt_tokens: int, completion_tokens: int) -> None:
        """Records what an inference took and debits its requester, never below zero."""
        if inference.ended is not None:
            raise RuntimeError(f"inference {inference.id} has already finished")
        self._debit(inference, (prompt_tokens + completion_tokens) * inference.price_ngonka)
        inference.prompt_tokens = prompt_tokens
        inference.completion_tokens = completion_tokens
        inference.ended = self.clock.latest()

    def status_of(self, inference: Inference) -> InferenceStatus:
        """Says how far an inference has come by the latest block."""
        if inference.ended is not None:
            return InferenceStatus.FINISHED
        age_blocks = self.clock.latest().height - inference.started.height
        return InferenceStatus.EXPIRED if age_blocks > EXPIRATION_BLOCKS else InferenceStatus.STARTED

    def _debit(self, inference: Inference, ngonka: int) -> int:
        """Takes an amount, or what there is of it, and gives what was taken."""
        account = self.open_account(inference.requester)
        taken = min(ngonka, account.balance_ngonka)
        account.balance_ngonka -= taken
        inference.cost_ngonka += taken
        return taken
