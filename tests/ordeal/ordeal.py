"""An ordeal: five nodes of which two go wrong in one way, many calls, and what callers, nodes and books say of it.

Nothing is believed because it is plausible: each call's answer is held against its entries, and each charge against the
chain's own record of the inference, token by token. What a permitted retry could have avoided is read from the retry
table's classes below, and from the sendings that the books have of a call that failed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from tallygate.core.ledger import entry as e
from tallygate.core.ledger.entry import Flag
from tallygate.devnet import DevnetSettings
from tallygate.devnet.settings import NodeSettings
from tallygate.network.client import Timeouts
from tests.relay.world import MODEL, World, open_world

if TYPE_CHECKING:
    from tests.relay.caller import Answer, Caller

NODES = 5
WRONG = (1, 3)
"""The nodes that misbehave, by their place."""

TIMEOUTS = Timeouts(connect_s=30, first_byte_s=3, idle_s=3, total_s=60)


class Kind(Enum):
    """What of a fault's failures callers may see."""

    NONE = "none: a free retry avoids all"
    TWICE = "only where two nodes have failed riskily: one retry is permitted, and was used"
    BEGUN = "only of answers that had begun, or that the table never repeats"
    CHARGED_RIGHT = "none, and the charge is the truth all the same"
    CHARGED_AS_SEEN = "none; the node has shown more tokens than it counts, and these are charged, as estimated"


@dataclass(frozen=True)
class Trial:
    """One way of going wrong.

    Attributes:
        is_left_out: Whether nodes that do so are asked little: who only lacks a model, or cuts frames oddly, is not.
        share: How many of the calls are sent, where each takes long.
    """

    name: str
    fault: str
    kind: Kind
    fields: dict[str, Any] = field(default_factory=dict)
    is_left_out: bool = True
    share: float = 1.0


def usage(prompt: object, completion: object) -> dict[str, Any]:
    """Return a fault's fields that show a usage."""
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": 0}}


TRIALS = [
    Trial("refused", "refuse", Kind.TWICE),
    Trial("closed without an answer", "hang_up", Kind.TWICE),
    Trial("silent before headers", "stall_headers", Kind.TWICE),
    Trial("panic", "500", Kind.TWICE),
    Trial("bad gateway", "502", Kind.TWICE),
    Trial("gateway timeout", "504", Kind.TWICE),
    Trial("burst of 429", "429", Kind.NONE),
    Trial("no executor", "503", Kind.NONE),
    Trial("not allowed", "403", Kind.NONE),
    Trial("speaks devshard", "410", Kind.NONE),
    Trial("clock skew", "clock_skew", Kind.NONE),
    Trial("no such model", "404", Kind.NONE, is_left_out=False),
    Trial("key refused", "401", Kind.BEGUN),
    Trial("no funds", "402", Kind.BEGUN),
    Trial("redirects", "redirect", Kind.BEGUN),
    Trial("cut mid-stream", "cut", Kind.BEGUN),
    Trial("silent mid-stream", "stall_stream", Kind.BEGUN),
    Trial("error event", "error_event", Kind.BEGUN),
    Trial("truncated", "truncate", Kind.BEGUN),
    Trial("garbage", "garbage", Kind.BEGUN),
    Trial("reset mid-stream", "reset", Kind.BEGUN),
    Trial("cut before the end", "cut_end", Kind.BEGUN),
    Trial("garbage frame", "garbage_frame", Kind.BEGUN),
    Trial("huge frame", "huge_frame", Kind.BEGUN),
    Trial("gzip", "gzip", Kind.BEGUN),
    Trial("replayed frames", "repeat_frames", Kind.CHARGED_AS_SEEN, is_left_out=False),
    Trial("frames split and joined", "split_frames", Kind.CHARGED_RIGHT, is_left_out=False),
    Trial("drip", "drip", Kind.CHARGED_RIGHT, {"delay_ms": 1}, is_left_out=False, share=0.1),
    Trial("usage absent", "usage_absent", Kind.CHARGED_RIGHT),
    Trial("usage low", "usage_low", Kind.CHARGED_RIGHT),
    Trial("usage high", "usage_high", Kind.CHARGED_RIGHT),
    Trial("usage far too high", "wrong_usage", Kind.CHARGED_RIGHT, usage(5, 90_000)),
    Trial("usage negative", "usage_negative", Kind.CHARGED_RIGHT),
    Trial("usage float", "usage_float", Kind.CHARGED_RIGHT),
    Trial("usage twice", "usage_twice", Kind.CHARGED_RIGHT, is_left_out=False),
]


@dataclass
class Outcome:
    """What came of an ordeal; `problems` is empty if all held.

    Attributes:
        seen: How calls ended for their callers: 200, or a code of the contract.
        asked: How many calls each node has been asked for.
        tokens: The tokens of all charges, which the chain's records have as well.
    """

    seen: Counter[str] = field(default_factory=Counter)
    asked: list[int] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


async def undergo(trial: Trial, calls: int, callers: int = 8) -> Outcome:
    """Send so many calls, half of them streamed, while two nodes of five go wrong; return what came of it."""
    devnet = DevnetSettings(pace_ms=0, nodes=(NodeSettings(),) * NODES)
    outcome = Outcome()
    async with open_world(devnet=devnet, timeouts=TIMEOUTS, usd=50) as world:
        for host in WRONG:
            world.order(trial.fault, host=host, times=None, **trial.fields)
        numbers, answers = iter(range(int(calls * trial.share))), []
        begun_s = time.monotonic()

        async def call_on() -> None:
            caller = None
            for number in numbers:
                caller = caller or await world.connect()
                answer = await ask(world, caller, number)
                answers.append(answer)
                if not answer.complete or answer.headers.get("connection") == "close":
                    caller = None

        await asyncio.gather(*(call_on() for _ in range(callers)))
        outcome.seconds = time.monotonic() - begun_s
        world.clear_faults()
        await world.settle_down()
        outcome.asked = [len(host.calls) for host in world.hosts[:NODES]]
        Audit(world, trial, answers, outcome).run()
    return outcome


async def ask(world: World, caller: Caller, number: int) -> Answer:
    """Send one call and return its answer."""
    await world.send(caller, model=MODEL, max_tokens=4 + number % 5, stream=number % 2 == 0)
    return await caller.answer()


class Audit:
    """Holds what callers saw against the books, and the books against the chain."""

    def __init__(self, world: World, trial: Trial, answers: list[Answer], outcome: Outcome) -> None:
        self._world = world
        self._trial = trial
        self._answers = answers
        self._outcome = outcome
        self._drift = 0  # what nodes have billed beyond what came of broken streams, which `tallygate reconcile` finds
        self._endings = {entry.inference: entry for entry in world.entries(*e.ENDINGS)}

    def run(self) -> None:
        """Look at everything."""
        holds = [entry.inference for entry in self._world.entries(e.HOLD)]
        endings = [entry.inference for entry in self._world.entries(*e.ENDINGS)]
        self._expect(len(set(holds)) == len(holds) == len(self._answers), "a call has not exactly one hold")
        self._expect(sorted(map(str, holds)) == sorted(map(str, endings)), "a hold has not exactly one ending")
        for answer in self._answers:
            self._judge(answer)
        for entry in self._endings.values():
            if entry.kind == e.SETTLE:
                self._hold_against_chain(entry)
        paid = self._world.posted_ngonka(e.COST_PAID)
        unpaid = self._world.posted_ngonka(e.COST_UNPAID)
        billed = self._world.billed_ngonka
        known = paid + unpaid + self._drift
        self._expect(billed <= known, f"the chain has billed {billed}, and the books have {paid} + {unpaid}")

    def _expect(self, holds: bool, problem: str) -> None:
        if not holds:
            self._outcome.problems.append(problem)

    def _judge(self, answer: Answer) -> None:
        """Look at what one caller saw: an answer with one charge, or a failure that nothing permitted could avoid."""
        inference = answer.headers.get("x-inference-id")
        entry = self._endings.get(inference)
        error = _error_of(answer)
        self._outcome.seen[error or "200"] += 1
        if entry is None:
            self._outcome.problems.append(f"an answer has no ending: {answer.status} {error}")
            return
        if error is None:
            self._expect(entry.kind == e.SETTLE, f"{inference} was answered and not charged")
            told = answer.usage["prompt_tokens"], answer.usage["completion_tokens"]
            self._expect(told == (entry.prompt_tokens, entry.completion_tokens), f"{inference} was told another usage")
            return
        kind = self._trial.kind
        if kind is Kind.TWICE:
            self._expect(entry.try_ == 1, f"{inference} failed after {entry.try_} retries: {error}")
        elif kind is not Kind.BEGUN:
            self._outcome.problems.append(f"{inference} failed: {error}")

    def _hold_against_chain(self, entry: e.Entry) -> None:
        """A charge is for what the node has served: to the token if its answer came whole, else no more than that."""
        record = self._world.devnet.chain.inferences.get(entry.upstream_reference or "")
        if record is None:
            self._outcome.problems.append(f"{entry.inference} is charged for what no node has served")
            return
        booked = (entry.prompt_tokens or 0, entry.completion_tokens or 0)
        served = (record.prompt_tokens, record.completion_tokens)
        self._outcome.tokens += sum(booked)
        if entry.flags & Flag.CUT:
            self._drift += sum(served) - sum(booked)
            self._expect(booked[1] <= served[1], f"{entry.inference} is charged {booked}, and was served {served}")
        elif self._trial.kind is Kind.CHARGED_AS_SEEN and booked != served:
            self._expect(bool(entry.flags & Flag.ESTIMATED), f"{entry.inference} is charged {booked} without a mark")
        else:
            self._expect(booked == served, f"{entry.inference} is charged {booked}, and was served {served}")


def _error_of(answer: Answer) -> str | None:
    """Return the code of the failure that a caller saw, None if there was none."""
    if answer.status != 200:
        return answer.code
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        for event in answer.events:
            if event != b"[DONE]" and "error" in (found := json.loads(event)):
                return str(found["error"]["code"])
        return None if answer.events[-1:] == [b"[DONE]"] else "cut"
    return None
