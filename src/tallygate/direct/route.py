"""The way of one request to the nodes: in which order they are tried, how each try is signed, and when to stop.

No I/O: a transport sends, and says what came of it. The retry table (`core/retry.py`) is law, as it is for a gateway:
every try has a fresh timestamp and signature; what may have cost something is repeated at most once; a node that may
take no requests is left out, and one that speaks devshard for good; refused signatures and missing funds end it.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.core.retry import Failure, Retry
from tallygate.core.signing import Scheme, sign_request
from tallygate.core.timestamps import RequestTimestamps
from tallygate.direct.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.core.signing import SigningKey
    from tallygate.direct.nodes import Node

TRIES_MAX: Final = 8
"""No request is sent more often than this, however many nodes there are."""

_RANDOM: Final = random.SystemRandom()
_BARRED_S: Final = 60.0
"""Who is left out for longer than this may not take requests; the others are tried if there are none but them."""


def sign_headers(
    wallet: SigningKey, scheme: Scheme, body: bytes, timestamp_ns: int, provider_address: str
) -> dict[str, str]:
    """Return the headers that a node wants of a developer; the ones that only nodes send one another are not there."""
    return {
        "Authorization": sign_request(wallet, scheme, body, timestamp_ns, provider_address),
        "X-Requester-Address": wallet.address,
        "X-Timestamp": str(timestamp_ns),
    }


class Try(NamedTuple):
    """One sending that failed: where to, by which row of the table, and what the node said.

    Attributes:
        node: The node.
        failure: The row.
        status: The HTTP status; None if no answer came.
        said: The node's words.
    """

    node: Node
    failure: Failure
    status: int | None
    said: str


class Route:
    """All nodes that requests may go to, and the wallet that signs them. Safe for threads.

    Args:
        wallet: Signs every sending.
        nodes: At least one.
        scheme: What the nodes take.
        shuffle: Puts a list in random order.
        clock_ns: Nanoseconds since 1970.
        now_s: A monotonic clock.
    """

    def __init__(
        self,
        wallet: SigningKey,
        nodes: Sequence[Node],
        scheme: Scheme = Scheme.HASH,
        *,
        shuffle: Callable[[list[Node]], None] = _RANDOM.shuffle,
        clock_ns: Callable[[], int] = time.time_ns,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if not nodes:
            raise EndpointError("No node is named.")
        self.wallet = wallet
        self.nodes = tuple(nodes)
        self.scheme = scheme
        self._shuffle = shuffle
        self._now_s = now_s
        self._timestamps = RequestTimestamps(clock_ns)
        self._out_until_s: dict[Node, float] = {}
        self._last: dict[Node, Try] = {}
        self._lock = threading.Lock()

    def sign(self, node: Node, body: bytes) -> dict[str, str]:
        """Return the headers of one sending to a node, signed afresh."""
        with self._lock:
            timestamp_ns = self._timestamps.next()
        return sign_headers(self.wallet, self.scheme, body, timestamp_ns, node.address)

    def order(self) -> list[Node]:
        """Return the nodes in the order in which a request tries them: at random, those that have just failed last."""
        nodes = list(self.nodes)
        self._shuffle(nodes)
        now_s = self._now_s()
        with self._lock:
            waits_s = {node: self._out_until_s.get(node, 0.0) - now_s for node in nodes}
        usable = [node for node in nodes if waits_s[node] <= _BARRED_S]
        return sorted(usable, key=lambda node: waits_s[node] > 0)

    def reasons(self) -> list[Try]:
        """Return what each node was left out for, where that is why nobody is left to try."""
        with self._lock:
            return list(self._last.values())

    def report_answer(self, node: Node) -> None:
        """Note that a node has answered."""
        with self._lock:
            self._out_until_s.pop(node, None)
            self._last.pop(node, None)

    def report_failure(self, failed: Try) -> None:
        """Note that a sending failed."""
        if failed.failure.out_for_s > 0:
            with self._lock:
                self._out_until_s[failed.node] = self._now_s() + failed.failure.out_for_s
                self._last[failed.node] = failed


class Course:
    """The tries of one request.

    Attributes:
        failed: Those that failed; where all nodes are left out already, what for.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._nodes = route.order()[:TRIES_MAX]
        self._ended = False
        self._risk_used = False
        self.failed: list[Try] = [] if self._nodes else route.reasons()

    def next(self) -> Node | None:
        """Return where to send now; None if that is not allowed, or nobody is left."""
        return None if self._ended or not self._nodes else self._nodes.pop(0)

    def succeed(self, node: Node) -> None:
        """Note that a node has answered."""
        self._route.report_answer(node)

    def fail(self, node: Node, failure: Failure, status: int | None = None, said: str = "") -> None:
        """Note that a sending failed."""
        failed = Try(node, failure, status, said)
        self._route.report_failure(failed)
        self.failed.append(failed)
        if failure.retry in (Retry.NEVER, Retry.UPSTREAM) or (failure.charged and self._risk_used):
            self._ended = True
        self._risk_used = self._risk_used or failure.charged
