"""Tells the operator's webhook of account events, as the Standard Webhooks specification has it.

    webhook-id         the event's id, the same at every try: who receives it twice can tell
    webhook-timestamp  when it was sent, in seconds
    webhook-signature  v1,base64(HMAC-SHA256(secret, "id.timestamp.body"))

One event at a time, in their order, at least once: an event is let go of when the webhook has answered 2xx. Anything
else (another status, a redirect, no answer) is a failure, after which nothing is sent for a while: 5 s, then twice as
long each time, up to 15 minutes. So a webhook that is mended soon has everything, in order, and one that is ill is not
stormed. After a failed try, events older than a day are given up, and so is one that was answered with 410 (gone); the
log tells which.

Nothing here is on the path of a call. The specification: https://www.standardwebhooks.com
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import random
import time
from typing import TYPE_CHECKING, Final

import structlog

from tallygate.core.calendar import DAY_NS
from tallygate.core.errors import StoreUnavailableError
from tallygate.network.client import HttpClient, Timeouts
from tallygate.network.connection_errors import UpstreamConnectionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tallygate.config import WebhookSettings
    from tallygate.network.origin import Origin
    from tallygate.ports import KeptEvent, Outgoings

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  (the prefix that the specification gives to secrets)
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
"""The lengths that the specification allows."""

DELAY_S_MIN: Final = 5.0
DELAY_S_MAX: Final = 900.0
GIVE_UP_NS: Final = DAY_NS

ANSWER_BYTES_MAX: Final = 64 * 1024
"""How much of an answer is read before its connection is closed; what it says does not matter."""

_log = structlog.get_logger()


def decode_secret(text: str) -> bytes:
    """Return the key of a secret as the specification writes it, `whsec_` and base64.

    Raises:
        ValueError: It is not written so, or has not 24 to 64 bytes.
    """
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith(SECRET_PREFIX) or not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise ValueError("not a webhook's secret")
    return key


def sign(key: bytes, event_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of `webhook-signature`."""
    signed = f"{event_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


async def deliver_events(settings: WebhookSettings | None, outgoings: Outgoings) -> None:
    """Deliver the operator's events to the webhook, if there is one; what is left at the end waits in the store."""
    if settings is None or settings.key is None:
        return
    timeout_s = settings.timeout_s
    timeouts = Timeouts(connect_s=timeout_s, first_byte_s=timeout_s, idle_s=timeout_s, total_s=timeout_s)
    client = HttpClient(timeouts=timeouts, connections_max=1)
    try:
        await Webhook(
            origin=settings.origin,
            path=settings.path,
            key=decode_secret(settings.key.reveal()),
            client=client,
            outgoings=outgoings,
            now_ns=time.time_ns,
            wait_s=asyncio.sleep,
            random=random.SystemRandom().random,
        ).run()
    finally:
        await client.close()


class Webhook:
    """The operator's webhook.

    Args:
        origin: Where it is.
        path: The request's target there.
        key: What requests are signed with.
        client: Sends; its timeouts are those of a delivery.
        outgoings: What is to be delivered.
        now_ns: Wall clock in nanoseconds.
        wait_s: Waits for so many seconds.
        random: Returns a number from 0 to 1, so that many gateways do not come back together.
    """

    def __init__(
        self,
        *,
        origin: Origin,
        path: bytes,
        key: bytes,
        client: HttpClient,
        outgoings: Outgoings,
        now_ns: Callable[[], int],
        wait_s: Callable[[float], Awaitable[None]],
        random: Callable[[], float],
    ) -> None:
        self._origin = origin
        self._path = path
        self._key = key
        self._client = client
        self._outgoings = outgoings
        self._now_ns = now_ns
        self._wait_s = wait_s
        self._random = random

    async def run(self) -> None:
        """Deliver what there is and what comes, until cancelled or until the store fails: nothing comes then."""
        failures = 0
        with contextlib.suppress(StoreUnavailableError):
            while True:
                events = await self._outgoings.events()
                for number, event in enumerate(events):
                    status = await self._deliver(event)
                    if 200 <= status < 300:
                        self._outgoings.forget_event(event.id)
                        failures = 0
                        continue
                    failures += 1
                    self._give_up(events[number:], gone=status == 410)
                    await self._wait_s(self._delay_s(failures))
                    break

    async def _deliver(self, event: KeptEvent) -> int:
        """Send one event; return the status of the answer, 0 if there was none."""
        try:
            status, detail = await self._send(event), ""
        except UpstreamConnectionError as error:
            status, detail = 0, f"{type(error).__name__}: {error}"
        if not 200 <= status < 300:
            _log.warning("webhook failed", event_id=event.id, status=status or None, detail=detail or None)
        return status

    async def _send(self, event: KeptEvent) -> int:
        """Send one event; return the status of the answer."""
        body = event.body.encode()
        now_s = self._now_ns() // 10**9
        headers = (
            "Content-Type: application/json\r\n"
            f"webhook-id: {event.id}\r\n"
            f"webhook-timestamp: {now_s}\r\n"
            f"webhook-signature: {sign(self._key, event.id, now_s, body)}\r\n"
        )
        # Events are rare: a connection that was kept since the last one has most likely been closed meanwhile.
        answer = await self._client.post(self._origin, self._path, headers.encode(), body, fresh=True)
        with contextlib.suppress(UpstreamConnectionError):  # the status has said all
            await answer.read_all(ANSWER_BYTES_MAX)
        return answer.status

    def _give_up(self, left: Sequence[KeptEvent], *, gone: bool) -> None:
        """Give up what is too old of the events that are left; and the first, if the webhook says that it is gone."""
        for event in left:
            if self._now_ns() - event.created_ns >= GIVE_UP_NS or (gone and event is left[0]):
                _log.error("event given up", event_id=event.id, body=event.body)
                self._outgoings.forget_event(event.id)

    def _delay_s(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row: up to a quarter less than the schedule says."""
        longest_s = min(DELAY_S_MIN * 2.0 ** min(failures - 1, 20), DELAY_S_MAX)
        return longest_s * (1 - self._random() / 4)
