"""What a GNK is worth: fixed by the operator, or read from a source of JSON on the web; the last good rate is kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from tallygate.core.alarms import AlarmKind
from tallygate.core.quoting import QuoteError, decode_exactly, find, read_amount
from tallygate.core.repricing import read_rate
from tallygate.network.asking import look_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from tallygate.alarms import Alarms
    from tallygate.config import RateSourceSettings
    from tallygate.network.client import HttpClient

SUBJECT: Final = "USD per GNK"
_HEADERS: Final = b"Accept: application/json\r\nUser-Agent: tallygate\r\n"
_AHEAD_NS: Final = 300 * 10**9
"""How far a source's clock may be ahead of ours."""


class Rate(Protocol):
    """What a GNK is worth."""

    @property
    def picousd(self) -> int | None:
        """Pico-dollars of 1 GNK; None while no rate that is fresh enough is known."""

    async def refresh(self) -> None:
        """Look whether it has changed; whatever goes wrong is an alarm."""


class FixedRate:
    """A rate that the operator has fixed, or none at all."""

    def __init__(self, picousd: int | None) -> None:
        self.picousd = picousd

    async def refresh(self) -> None:
        """Do nothing."""


class RateSource:
    """A rate that is read.

    Args:
        settings: Where, and what is believed of it.
        client: Asks.
        alarms: Where it is told what goes wrong.
        now_ns: Wall clock in nanoseconds.
        last_picousd: The last good rate, as the price sheet in force knows it: what the first reading is held against.
    """

    def __init__(
        self,
        settings: RateSourceSettings,
        client: HttpClient,
        alarms: Alarms,
        now_ns: Callable[[], int],
        last_picousd: int | None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._alarms = alarms
        self._now_ns = now_ns
        self._last_picousd = last_picousd
        self._good_ns: int | None = None
        self._asked_ns: int | None = None

    @property
    def picousd(self) -> int | None:
        """Pico-dollars of 1 GNK; None while no rate that is fresh enough is known."""
        return self._last_picousd if self._is_fresh(self._good_ns) else None

    async def refresh(self) -> None:
        """Ask the source, if it is time to."""
        now_ns = self._now_ns()
        if self._asked_ns is not None and now_ns - self._asked_ns < self._settings.interval_s * 10**9:
            return
        self._asked_ns = now_ns
        try:
            picousd, since_ns = await self._read()
        except QuoteError as error:
            self._alarms.sound(AlarmKind.RATE_REFUSED, SUBJECT, str(error))
        else:
            self._last_picousd, self._good_ns = picousd, since_ns
            self._alarms.clear(AlarmKind.RATE_REFUSED, SUBJECT)
        if self.picousd is None:
            self._alarms.sound(AlarmKind.RATE_STALE, SUBJECT, "no good rate that is fresh enough is known")
        else:
            self._alarms.clear(AlarmKind.RATE_STALE, SUBJECT)

    async def _read(self) -> tuple[int, int]:
        settings = self._settings
        told = await look_up(self._client, settings.origin, settings.path, _HEADERS)
        if told is None:
            raise QuoteError("gave no answer")
        if told.status != 200:
            raise QuoteError(f"answered with status {told.status}")
        document = decode_exactly(told.body)
        amount = read_amount(find(document, settings.pointer))
        since_ns = self._now_ns()
        if settings.time_pointer is not None:
            since_ns = min(read_time(find(document, settings.time_pointer), since_ns + _AHEAD_NS), since_ns)
            if not self._is_fresh(since_ns):
                raise QuoteError("is stale by its own time")
        return read_rate(amount, self._last_picousd, settings.bounds), since_ns

    def _is_fresh(self, since_ns: int | None) -> bool:
        return since_ns is not None and self._now_ns() - since_ns <= self._settings.stale_s * 10**9


def read_time(told: object, latest_ns: int) -> int:
    """Return a moment in nanoseconds since 1970, of RFC 3339 or a number in whichever unit.

    Raises:
        QuoteError: It is none, or is later than it can be.
    """
    try:
        since_ns = _scale(int(read_amount(told)))
    except QuoteError:
        since_ns = _read_date(told)
    if not 0 < since_ns <= latest_ns:
        raise QuoteError("has a time that cannot be")
    return since_ns


def _scale(number: int) -> int:
    """Return nanoseconds; which unit a number of today is in can be told by its length."""
    for unit_ns, below in ((10**9, 10**11), (10**6, 10**14), (10**3, 10**17)):
        if number < below:
            return number * unit_ns
    return number


def _read_date(told: object) -> int:
    try:
        moment = datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise QuoteError("has no time")
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9
