"""The books against the network, attempt by attempt: after traffic of every kind, each ngonka is explained."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.reconciliation import Attempts, Basis, Bill, Reconciliation, Unreported
from tallygate.core.pricing import UpstreamRate
from tallygate.devnet import DevnetSettings
from tallygate.network.sending import request_of
from tallygate.relay.inquiry import MISSES_MAX, QUESTIONS_MAX, reconcile
from tests.core.ledger.test_reconciliation import attempt
from tests.relay.world import World, open_world, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tallygate.core.ledger.reconciliation import Attempt
    from tallygate.ports import Upstream

FEE = 1000


def booked(world: World) -> Sequence[Attempt]:
    """Return every attempt in the durable books."""
    found = Attempts()
    entries = world.entries(e.HOLD, e.ATTEMPT, *e.ENDINGS)
    attempts = [attempt for entry in entries for attempt in found.take(entry)]
    assert found.under_way == 0
    return attempts


async def ask(world: World) -> Reconciliation:
    """Reconcile the books with the network, once everything has ended on both sides."""
    await until(lambda: not world.gateway.relay.under_way)
    await world.devnet.wait_idle()
    return await reconcile(booked(world), {upstream.name: upstream for upstream in world.gateway.upstreams.upstreams})


async def make_traffic(world: World) -> None:
    """Make calls that end in every way: well, after a retry, rejected, cut, left, unusable, failed."""
    for stream in (False, True):
        assert (await world.chat(stream=stream, max_tokens=40)).status == 200
        for fault in ("500", "hang_up", "503"):
            world.order(fault, host=0)
            await world.chat(stream=stream)
        for fault in ("400", "error_event", "garbage", "cut", "cut_end"):
            world.order(fault)
            await world.chat(stream=stream)
        world.clear_faults()
    for frames in (0, 1, 3):
        await leave_at(world, frames)


async def leave_at(world: World, frames: int) -> None:
    """Make a call, and leave it while its node holds the answer after so many frames."""
    world.order("hold_stream", after_frames=frames)
    begun, others = len(world.devnet.chain.inferences), len(world.server._state.connections)
    caller = await world.send(stream=True, max_tokens=4)
    await until(lambda: len(world.devnet.chain.inferences) > begun)
    if frames:
        await caller.head()
    caller.leave()
    await until(lambda: len(world.server._state.connections) == others)
    world.clear_faults()
    await until(lambda: not world.account.held)


def request_id(attempt: Attempt) -> str:
    """Return the network's id of an attempt, without that of the escrow that paid."""
    return request_of(attempt.reference or "")


def assert_explained(world: World, found: Reconciliation) -> None:
    """Check that what was compared is the chain's own bill, attempt by attempt, and the rest is told by reason."""
    chain = {item.request_id or item.id: item.cost_ngonka for item in world.devnet.chain.inferences.values()}
    attempts = booked(world)
    known = [attempt for attempt in attempts if request_id(attempt) in chain]

    assert set(map(request_id, known)) == chain.keys()  # nothing was billed that the books do not know
    assert found.total.compared == len(known) == len(chain)
    assert found.total.reported_ngonka == sum(chain.values())
    assert found.total.compared_ngonka == sum(attempt.booked_ngonka for attempt in known)
    drifts = [chain[request_id(attempt)] - attempt.booked_ngonka for attempt in known]
    assert found.total.drifting == sum(map(bool, drifts))
    assert found.total.drift_ngonka == sum(drifts) == found.drift_ngonka.total()
    assert {(drift.attempt.reference, drift.ngonka) for drift in found.worst} <= {
        (attempt.reference, chain[request_id(attempt)] - attempt.booked_ngonka) for attempt in known
    }
    assert found.total.booked_ngonka == -sum(
        world.posted_ngonka(e.payable_account(upstream.name)) for upstream in world.gateway.upstreams.upstreams
    )
    assert found.total.booked_ngonka == found.total.compared_ngonka + found.total.unreported_ngonka.total()
    assert found.total.attempts == len(attempts) == sum(row.attempts for row in found.rows.values())


@pytest.mark.parametrize(("kind", "left_drain_s"), [("gonka", 30), ("gonka", 0), ("openai", 30)])
async def test_after_mixed_traffic_every_ngonka_is_explained(kind: str, left_drain_s: int) -> None:
    """What the network billed is what was compared, to the ngonka; all else was refused or never heard of."""
    async with open_world(kind, usd=50, left_drain_s=left_drain_s) as world:
        await make_traffic(world)
        found = await ask(world)

        assert_explained(world, found)
        assert found.total.unreported.keys() <= {Unreported.NOT_KNOWN, Unreported.NO_REFERENCE}
        assert found.drift_ngonka.keys() <= {Basis.COUNTED, Basis.POSSIBLE}


@pytest.mark.parametrize("kind", ["gonka", "openai"])
async def test_calls_that_end_well_do_not_drift(kind: str) -> None:
    """Where answers tell their usage and are read to their end, books and network agree on every attempt."""
    async with open_world(kind) as world:
        for stream in (False, True):
            for _ in range(5):
                await world.chat(stream=stream, max_tokens=40)
        found = await ask(world)

        assert_explained(world, found)
        assert (found.total.compared, found.total.drifting) == (10, 0)
        assert found.total.booked_tokens == found.total.reported_tokens
        nodes = {node for _, node, _ in found.rows}
        assert nodes == ({node.address for node in world.devnet.nodes} if kind == "gonka" else {None})


@pytest.mark.parametrize(("left_drain_s", "drifts"), [(30, False), (0, True)])
async def test_callers_that_leave_drift_only_where_they_are_cut(left_drain_s: int, drifts: bool) -> None:
    """Left at whatever frame, an answer that is read to its end costs what is booked; one that is cut costs more."""
    async with open_world(left_drain_s=left_drain_s) as world:
        for frames in range(8):
            await leave_at(world, frames)
        found = await ask(world)

        assert_explained(world, found)
        assert found.total.compared == 8
        assert bool(found.total.drifting) == drifts
        assert found.drift_ngonka.keys() == ({Basis.COUNTED} if drifts else set())


async def test_a_node_that_lies_drifts() -> None:
    """Usage that can be true and is not is believed when it is booked, and found when the chain is asked."""
    async with open_world() as world:
        truth = (await world.chat(max_tokens=500)).json()["usage"]
        lie = {"prompt_tokens": truth["prompt_tokens"], "completion_tokens": truth["completion_tokens"] + 3}
        world.order("wrong_usage", usage=lie)
        answer = await world.chat(max_tokens=500)
        found = await ask(world)

        assert answer.json()["usage"]["completion_tokens"] == lie["completion_tokens"]
        assert_explained(world, found)
        (drift,) = found.worst
        assert (drift.ngonka, drift.attempt.basis) == (-3, Basis.REPORTED)
        assert drift.attempt.inference == answer.headers["x-inference-id"]
        assert drift.bill.completion_tokens == truth["completion_tokens"]


@pytest.mark.parametrize(("configured", "drift_ngonka"), [(FEE, 0), (0, FEE)])
async def test_a_fee_per_attempt_is_compared(configured: int, drift_ngonka: int) -> None:
    """The gateway says what it pays per nonce: an operator who has not configured that sees it as drift."""
    settings = DevnetSettings(pace_ms=0, attempt_ngonka=FEE)
    async with open_world("openai", devnet=settings) as world:
        upstream = replace(world.upstreams[0], name="priced", priority=-1, rate=UpstreamRate(1, 1, configured))
        await world.add_upstream(upstream)
        assert (await world.chat()).status == 200
        found = await ask(world)

        assert_explained(world, found)
        assert found.total.drift_ngonka == drift_ngonka


async def test_what_is_under_way_at_the_network_is_not_drift() -> None:
    """An attempt whose inference has not finished is told as that, whatever was booked for it."""
    async with open_world() as world:
        world.order("hold_stream", after_frames=2)
        caller = await world.send(stream=True)
        await caller.head()
        (inference,) = world.devnet.chain.inferences
        named = [attempt(inference, booked=5, upstream="signed", node=world.devnet.nodes[0].address)]
        upstreams = {upstream.name: upstream for upstream in world.gateway.upstreams.upstreams}
        found = await reconcile(named, upstreams)

        assert found.total.unreported == Counter({Unreported.NOT_FINISHED: 1})
        assert found.total.drifting == 0
        world.clear_faults()
        await caller.rest()


class Oracle:
    """An upstream that answers as it is told, and counts what it is asked."""

    def __init__(self, *answers: Bill | Unreported) -> None:
        self.name = "u"
        self.asked: list[str] = []
        self.most_at_once = 0
        self._answers = answers
        self._at_once = 0

    async def ask_bill(self, reference: str, node: str | None) -> Bill | Unreported:
        """Answer after a turn of the loop, the last answer for ever."""
        del node
        self.asked.append(reference)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        answer = self._answers[min(len(self.asked), len(self._answers)) - 1]
        await asyncio.sleep(0)
        self._at_once -= 1
        return answer


async def ask_oracle(oracle: Oracle, attempts: Sequence[Attempt]) -> Reconciliation:
    """Reconcile attempts with one upstream of ours."""
    upstreams: dict[str, Upstream] = {"u": oracle}  # type: ignore[dict-item]
    return await reconcile(attempts, upstreams)


@pytest.mark.parametrize("answer", [Unreported.NOT_OFFERED, Unreported.NO_ANSWER])
async def test_an_upstream_that_does_not_report_is_left_in_peace(answer: Unreported) -> None:
    """After the first "not offered", or a few silences, nobody asks any more, and all is told as that."""
    oracle = Oracle(answer)
    found = await ask_oracle(oracle, [attempt(str(number), booked=2) for number in range(100)])

    assert found.total.unreported == Counter({answer: 100})
    assert found.total.unreported_ngonka == Counter({answer: 200})
    assert found.total.drifting == 0
    allowed = 1 if answer is Unreported.NOT_OFFERED else MISSES_MAX
    assert len(oracle.asked) < allowed + QUESTIONS_MAX


async def test_a_silence_now_and_then_is_only_that() -> None:
    """One that gives an answer again is asked on: only silences in a row count."""
    silences: list[Bill | Unreported] = [Unreported.NO_ANSWER] * (MISSES_MAX - 1)
    oracle = Oracle(*[*silences, Bill(1, 1, 0)] * 3, Bill(1, 1, 0))
    found = await ask_oracle(oracle, [attempt(str(number), booked=1) for number in range(50)])

    assert len(oracle.asked) == 50
    assert found.total.compared == 50 - 3 * len(silences)


async def test_few_questions_are_under_way_at_a_time() -> None:
    """However many attempts there are, each is asked about once, and only some at the same time."""
    oracle = Oracle(Bill(1, 1, 0))
    await ask_oracle(oracle, [attempt(str(number), booked=1) for number in range(100)])

    assert sorted(oracle.asked) == sorted(str(number) for number in range(100))
    assert 1 < oracle.most_at_once <= QUESTIONS_MAX


async def test_what_nobody_can_be_asked_about_is_told() -> None:
    """An attempt without a reference, and one at an upstream that is not configured, are not asked about."""
    oracle = Oracle(Bill(1, 1, 0))
    found = await ask_oracle(oracle, [attempt(None, booked=7), attempt("x", booked=8, upstream="gone")])

    assert oracle.asked == []
    assert found.total.unreported_ngonka == Counter({Unreported.NO_REFERENCE: 7, Unreported.NOT_CONFIGURED: 8})


async def test_an_error_of_the_books_comes_through() -> None:
    """When reading on fails, the questions end and the reason is told, not wrapped."""

    def broken() -> object:
        yield attempt("x", booked=1)
        raise LookupError("the file ends here")

    with pytest.raises(LookupError, match="ends here"):
        await ask_oracle(Oracle(Bill(1, 1, 0)), broken())  # type: ignore[arg-type]
