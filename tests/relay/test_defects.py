"""Defects of ours, put in on purpose: the caller gets a 500 in our shape, and the books stay in order."""

from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from tallygate.core.ledger import entry as e
from tests.relay.world import chat_body, open_world

CANARY = "canary-that-sings-of-nothing"
MESSAGES = [{"role": "user", "content": CANARY}]


class Defect(Exception):  # noqa: N818  (what it is)
    """Something that we did not think of."""


def break_down(*_: Any, **__: Any) -> NoReturn:
    """Do what no code of ours should."""
    raise Defect(CANARY)


@pytest.mark.parametrize(
    ("broken", "stream"),
    [
        ("tallygate.core.forms.Completion", False),
        ("tallygate.core.forms.Relayed", True),
        ("tallygate.core.streaming.Relayed.feed", True),
        ("tallygate.relay.dispatch.judge_status", False),
        ("tallygate.relay.reply.Reply.keep_alive", True),
    ],
)
async def test_a_defect_before_the_answer_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, broken: str, stream: bool
) -> None:
    """What breaks in us before a byte of answer is a 500 that is logged under its request id, and void."""
    async with open_world() as world:
        monkeypatch.setattr(broken, break_down)
        world.order("400" if "judge" in broken else "wrong_usage")
        with capture_logs() as logs:
            answer = await world.chat(stream=stream, messages=MESSAGES)

        assert (answer.status, answer.code) == (500, "internal_error")
        (defect,) = [line for line in logs if line["event"] == "defect"]
        assert answer.headers["x-request-id"] == defect["request_id"]
        assert defect["error"] == "Defect"
        assert "break_down" in defect["where"][-1]
        assert CANARY not in repr(logs)
        assert world.ending().kind == e.VOID
        assert world.account.held == 0


async def test_a_defect_amid_a_stream_breaks_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks in us amid a stream ends the connection without a proper end; what had come is charged."""
    async with open_world() as world:
        monkeypatch.setattr("tallygate.relay.life.render_usage", break_down)
        with capture_logs() as logs:
            answer = await world.chat(stream=True, messages=MESSAGES)

        assert answer.status == 200
        assert not answer.complete
        assert b"[DONE]" not in answer.body
        assert [line["event"] for line in logs].count("defect") == 1
        assert world.ending().kind == e.SETTLE


async def test_a_defect_before_the_hold_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks in us before the hold is a 500, and the books know nothing of it."""
    async with open_world() as world:
        monkeypatch.setattr("tallygate.api.public.parse_chat_request", break_down)
        with capture_logs():
            caller = await world.connect()
            await caller.request("POST", "/v1/chat/completions", world.headers(), chat_body())
            answer = await caller.answer()

        assert (answer.status, answer.code) == (500, "internal_error")
        assert world.entries(e.HOLD) == []
        assert world.upstream_calls == 0
