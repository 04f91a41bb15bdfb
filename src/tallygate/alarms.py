"""The alarms that stand: raised and cleared by whoever looks after something, told to the operator once each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallygate.core.alarms import CLEARED, RAISED, Alarm, AlarmKind, event_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tallygate.core.events import OperatorEvent
    from tallygate.core.retry import Failure
    from tallygate.ports.meter import Meter


class Alarms:
    """All alarms of a gateway; none outlives the process, since whatever is still wrong raises its alarm again.

    Args:
        tell: Tells the operator of an event: in the log, and by webhook if there is one.
        now_ns: Wall clock in nanoseconds.
    """

    def __init__(self, tell: Callable[[OperatorEvent], None], now_ns: Callable[[], int]) -> None:
        self._tell = tell
        self._now_ns = now_ns
        self._standing: dict[tuple[AlarmKind, str], Alarm] = {}

    @property
    def standing(self) -> Sequence[Alarm]:
        """The alarms that stand, oldest first."""
        return list(self._standing.values())

    def sound(self, kind: AlarmKind, subject: str, detail: str) -> None:
        """Raise an alarm; one that stands is not told again, and only shows the newer detail."""
        known = self._standing.get((kind, subject))
        if known is not None:
            self._standing[kind, subject] = known._replace(detail=detail)
            return
        now_ns = self._now_ns()
        alarm = self._standing[kind, subject] = Alarm(kind, subject, detail, now_ns)
        self._tell(event_of(alarm, RAISED, now_ns))

    def clear(self, kind: AlarmKind, subject: str) -> None:
        """Say that something is well (again)."""
        alarm = self._standing.pop((kind, subject), None)
        if alarm is not None:
            self._tell(event_of(alarm, CLEARED, self._now_ns()))

    def keep_only(self, kind: AlarmKind, subjects: Mapping[str, str]) -> None:
        """Say what is wrong of one kind, by subject, and that everything else of it is well."""
        for known, subject in list(self._standing):
            if known is kind and subject not in subjects:
                self.clear(kind, subject)
        for subject, detail in subjects.items():
            self.sound(kind, subject, detail)


class AlarmingMeter:
    """A `Meter` that raises an alarm when a sending fails by the operator's mistake, until the same place answers.

    Args:
        meter: Counts.
        alarms: Where they are raised.
    """

    def __init__(self, meter: Meter, alarms: Alarms) -> None:
        self._alarms = alarms
        self._meter = meter
        self._sounded: set[str] = set()
        self.request_answered = meter.request_answered
        self.call_ended = meter.call_ended
        self.batch_taken = meter.batch_taken
        self.batch_durable = meter.batch_durable

    def sending_failed(self, upstream: str, node: str | None, failure: Failure) -> None:
        """Count a failed sending, and raise the alarm that it calls for."""
        self._meter.sending_failed(upstream, node, failure)
        if failure.alarm:
            place = _name(upstream, node)
            self._sounded.add(place)
            self._alarms.sound(AlarmKind.UPSTREAM_MISCONFIGURED, place, failure.detail)

    def sending_answered(self, upstream: str, node: str | None) -> None:
        """Count a sending that was answered: whatever was wrong there is mended."""
        self._meter.sending_answered(upstream, node)
        if self._sounded and (place := _name(upstream, node)) in self._sounded:
            self._sounded.discard(place)
            self._alarms.clear(AlarmKind.UPSTREAM_MISCONFIGURED, place)


def _name(upstream: str, node: str | None) -> str:
    return upstream if node is None else f"{upstream} {node}"
