"""Who may be served at all, and how much: the doors of a transfer agent that are not about signatures.

Rows 3, 6, 14 and 15 of a node's checks, in the words of a node. The chain's parameters say what holds now.
"""

from collections import deque

from tallygate.devnet.chain import Chain
from tallygate.devnet.verification import RefusedError

# The chain's estimate of an inference's traffic, in ten-thousandths of a KB per token (bandwidth_limits_params).
PROMPT_KB = 23
COMPLETION_KB = 6400
PER_KB = 10_000
LIFESPAN_BLOCKS = 10  # over how many blocks a request is taken to be spread


def check_transfer_agent(chain: Chain, address: str) -> None:
    """Refuses a node that may not take requests (row 3); an empty list allows all.

    Raises:
        RefusedError: 403 when there is a list and the node is not in it.
    """
    allowed = chain.parameters.allowed_transfer_addresses
    if allowed and address not in allowed:
        raise RefusedError(403, "Transfer Agent not allowed")


def check_developer(chain: Chain, requester: str) -> None:
    """Refuses a developer for as long as only some are served (row 6).

    Raises:
        RefusedError: 403 before the height that the chain's parameters name.
    """
    parameters = chain.parameters
    height = parameters.restricted_until_height
    if chain.clock.latest().height < height and requester not in parameters.allowed_developers:
        raise RefusedError(403, f"inference requests are restricted until block height {height}")


def check_executors(chain: Chain, transfer_agent: str) -> None:
    """Refuses when nobody is there to run an inference (row 15): in a quiet window, or where the node itself is out.

    Raises:
        RefusedError: 503.
    """
    if chain.is_quiet or transfer_agent in chain.parameters.excluded or chain.stays_out(transfer_agent):
        raise RefusedError(503, "no executors available for model")


class Bandwidth:
    """What one node has taken in over the last blocks, by the chain's estimate (row 14)."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._taken: deque[tuple[int, int]] = deque()  # height and size, in ten-thousandths of a KB

    def take(self, prompt_tokens: int, max_tokens: int, node_url: str) -> None:
        """Takes a request in, if the average of its lifespan allows it.

        Raises:
            RefusedError: 429 when the node has its fill.
        """
        limit = self._chain.parameters.kb_per_block
        if limit is None:
            return
        height = self._chain.clock.latest().height
        while self._taken and self._taken[0][0] <= height - LIFESPAN_BLOCKS:
            self._taken.popleft()
        size = prompt_tokens * PROMPT_KB + max_tokens * COMPLETION_KB
        if sum(taken for _, taken in self._taken) + size > limit * LIFESPAN_BLOCKS * PER_KB:
            where = f"{node_url}/v1/epochs/current/participants"
            raise RefusedError(429, f"Transfer Agent capacity reached. Try another TA from {where}")
        self._taken.append((height, size))
