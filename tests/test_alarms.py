"""Alarms: raised once, cleared once, each with what to do; and sendings that fail by the operator's mistake."""

from __future__ import annotations

import pytest

from tallygate.alarms import AlarmingMeter
from tallygate.core.alarms import Alarm, AlarmKind
from tallygate.core.retry import Failure, judge_status
from tallygate.metrics import Metrics
from tests.network.feeds.web import START_NS, World


def test_an_alarm_is_told_once_and_once_when_it_is_over() -> None:
    """While an alarm stands it is not told again, though its detail is kept up to date."""
    world = World()
    for detail in ("5 left", "4 left"):
        world.alarms.sound(AlarmKind.WALLET_LOW, "gonka1x", detail)
        world.pass_s(1)
    assert world.alarms.standing == [Alarm(AlarmKind.WALLET_LOW, "gonka1x", "4 left", START_NS)]
    world.alarms.clear(AlarmKind.WALLET_LOW, "gonka1x")
    world.alarms.clear(AlarmKind.WALLET_LOW, "gonka1x")
    assert [(event.type, event.level, event.data["detail"]) for event in world.told] == [
        ("alarm.raised", "error", "5 left"),
        ("alarm.cleared", "info", "4 left"),
    ]
    assert "Send GNK" in world.told[0].data["remedy"]


def test_of_one_kind_only_what_is_wrong_stays() -> None:
    """Saying what is wrong of a kind ends the other alarms of it, and of no other."""
    world = World()
    world.alarms.sound(AlarmKind.RATE_STALE, "a", "x")
    world.alarms.keep_only(AlarmKind.WALLET_LOW, {"a": "x", "b": "x"})
    world.alarms.keep_only(AlarmKind.WALLET_LOW, {"b": "y"})
    assert [(kind, subject) for kind, subject, _ in world.wrong] == [("rate_stale", "a"), ("wallet_low", "b")]


@pytest.mark.parametrize(
    ("status", "body", "signed", "remedy"),
    [
        (401, b"", False, "Check its key"),
        (402, b"", False, "Top up"),
        (429, b'{"error":{"code":"insufficient_quota"}}', False, "Top up"),
        (308, b'{"status":308,"new_url":"https://x/"}', False, "It has moved"),
        (302, b"", True, "It has moved"),
        (410, b'{"error":"deprecated"}', True, 'kind = "openai"'),
        (500, b'{"error":"rpc error: code = NotFound desc = account not found"}', True, "publish its key"),
        (403, b"", False, "Ask whoever runs it"),
        (405, b"", False, "tallygate check --online"),
    ],
)
def test_a_mistake_of_the_operators(status: int, body: bytes, signed: bool, remedy: str) -> None:
    """What only the operator can mend raises an alarm that says how, until the same place answers."""
    world = World()
    meter = AlarmingMeter(Metrics(), world.alarms)
    failure = judge_status(status, {}, body, signed=signed)
    for _ in range(3):
        meter.sending_failed("up", "gonka1a", failure)
    (alarm,) = world.alarms.standing
    assert (alarm.kind, alarm.subject) == (AlarmKind.UPSTREAM_MISCONFIGURED, "up gonka1a")
    assert remedy in alarm.remedy
    meter.sending_answered("up", "gonka1b")
    assert world.alarms.standing
    meter.sending_answered("up", "gonka1a")
    assert not world.alarms.standing
    assert len(world.told) == 2


def test_what_passes_by_itself_is_no_alarm() -> None:
    """A place that is full, slow or broken for now is none of the operator's business."""
    world = World()
    meter = AlarmingMeter(Metrics(), world.alarms)
    failures: list[Failure] = [judge_status(status, {}, b"", signed=True) for status in (404, 422, 429, 500, 502, 503)]
    for failure in failures:
        meter.sending_failed("up", None, failure)
    assert not world.told
