"""What is drawn for a world before it begins: its machine room, its callers, and the order of what goes wrong.

One seed, one plan. Worlds differ in temper, so that rare things come together often enough: some are calm, some have
a bad network, some a bad disk, some are killed again and again, and some have it all.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Literal

from tallygate.core.pricing import Price
from tests.sim.callers import Ask

MODEL = "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8"
STEPS_OF_A_CALL = 260
"""About how many steps a call takes: who leaves does so at any of them, or shortly after."""

NETWORK_FAULTS = (
    *("refuse", "hang_up", "stall_headers", "400", "401", "403", "422", "429", "500", "502", "503"),
    *("cut", "stall_stream", "error_event", "wrong_usage", "truncate", "garbage"),
)
USAGES: tuple[dict[str, Any] | None, ...] = (
    None,
    {"prompt_tokens": 5, "completion_tokens": 10**6, "total_tokens": 10**6 + 5},
    {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    {"prompt_tokens": -1, "completion_tokens": 2.5, "total_tokens": 1},
    {"prompt_tokens": 40, "completion_tokens": 9, "total_tokens": 49},
)


class Kind(Enum):
    """What can happen to a world."""

    NETWORK_FAULT = auto()
    NO_CONNECTION = auto()
    SILENT_CONNECTION = auto()
    KILL = auto()
    POWER_LOSS = auto()
    KILL_IN_SYSCALL = auto()
    POWER_LOSS_IN_SYSCALL = auto()
    WRITE_ERROR = auto()
    NO_SPACE = auto()
    RESTART = auto()
    TAKE_OVER = auto()
    DEPOSIT = auto()
    CORRECTION = auto()
    PRICES = auto()
    VERIFY = auto()


ADMIN = (Kind.DEPOSIT, Kind.CORRECTION, Kind.PRICES, Kind.VERIFY)
IN_SYSCALLS = (Kind.KILL_IN_SYSCALL, Kind.POWER_LOSS_IN_SYSCALL, Kind.WRITE_ERROR, Kind.NO_SPACE)
TEMPERS: dict[str, tuple[Kind, ...]] = {
    "calm": (*ADMIN, Kind.RESTART),
    "bad network": (Kind.NETWORK_FAULT,) * 8 + (Kind.NO_CONNECTION, Kind.SILENT_CONNECTION, Kind.DEPOSIT),
    "killed": (Kind.KILL, Kind.POWER_LOSS, Kind.KILL_IN_SYSCALL, Kind.POWER_LOSS_IN_SYSCALL, *ADMIN),
    "bad disk": (Kind.WRITE_ERROR, Kind.NO_SPACE, Kind.POWER_LOSS, Kind.DEPOSIT, Kind.RESTART),
    "taken over": (Kind.TAKE_OVER, Kind.TAKE_OVER, Kind.DEPOSIT, Kind.KILL, Kind.RESTART),
    "everything": tuple(Kind),
}


@dataclass(frozen=True)
class Blow:
    """Something that happens: what, and after how many steps of the loop."""

    kind: Kind
    steps: int
    number: int


@dataclass
class Plan:
    """A world before it begins.

    Attributes:
        nodes: How many signed nodes there are.
        bearer: Whether there is a Bearer gateway too, and its priority relative to the nodes.
        makes_store: Whether the first start makes the store; else it finds one with nothing in it.
        balances: What each account has at first, in pico-dollars.
    """

    seed: int
    temper: str
    nodes: int
    bearer: int | None
    makes_store: bool
    balances: list[int]
    price: Price
    fee_ppm: int
    after_crash: Literal["void", "charge_prompt"]
    hold_durability: Literal["wait", "async"]
    pace_ms: int
    asks: list[Ask] = field(default_factory=list)
    blows: list[Blow] = field(default_factory=list)

    @property
    def keyed(self) -> bool:
        """Whether callers and the operator use idempotency keys: in every other world."""
        return self.seed % 2 == 0


def draw_plan(seed: int, calls_max: int) -> Plan:
    """Draw the plan of a seed, for at most so many callers."""
    draw = random.Random(f"plan {seed}")
    temper = draw.choice(list(TEMPERS))
    plan = Plan(
        seed=seed,
        temper=temper,
        nodes=draw.choice((1, 1, 2, 3)),
        bearer=draw.choice((None, None, -1, 1)),
        makes_store=draw.random() < 0.1,
        balances=[draw.choice((60_000, 150_000, 400_000, 10**7)) for _ in range(draw.randint(1, 2))],
        price=draw.choice((Price(353, 1411), Price(1, 1), Price(100, 300, 7), Price(7, 0, 5))),
        fee_ppm=draw.choice((0, 1, 100_000, 333_333)),
        after_crash="charge_prompt" if draw.random() < 0.5 else "void",
        hold_durability="async" if draw.random() < 0.3 else "wait",
        pace_ms=draw.choice((0, 0, 0, 5, 200)),
    )
    crowded = draw.random() < 0.5
    plan.asks = [_draw_ask(draw, number, plan, crowded=crowded) for number in range(draw.randint(2, calls_max))]
    if plan.keyed:
        _give_keys(plan, random.Random(f"keys {seed}"))
    steps = 60 * len(plan.asks)
    kinds = TEMPERS[temper]
    plan.blows = [
        Blow(draw.choice(kinds), draw.randint(1, max(steps, 300)), number)
        for number in range(draw.randint(1, max(6, calls_max // 3)))
    ]
    return plan


def _draw_ask(draw: random.Random, number: int, plan: Plan, *, crowded: bool) -> Ask:
    streamed = draw.random() < 0.65
    fields: dict[str, Any] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"What is a ledger? {number}"}],
        "max_tokens": draw.choice((1, 2, 3, 5, 8)),
        "stream": streamed,
    }
    if streamed and draw.random() < 0.7:
        fields["stream_options"] = {"include_usage": True}
    if draw.random() < 0.15:
        fields["n"] = 2
    leaves = draw.random() < 0.33
    ask = Ask(
        number=number,
        account=draw.randrange(len(plan.balances)),
        body=json.dumps(fields).encode(),
        streamed=streamed,
        at_s=0.0 if crowded else draw.random() * 2,
        leaves_after=draw.randint(1, STEPS_OF_A_CALL) if leaves else None,
        slow=draw.random() < 0.2,
    )
    return _ask_for_text(ask, fields, plan.seed)


def _ask_for_text(ask: Ask, fields: dict[str, Any], seed: int) -> Ask:
    """Make legacy completions of half of the calls of every third world; the others are what they always were."""
    draw = random.Random(f"text {seed} {ask.number}")
    if seed % 3 != 1 or draw.random() < 0.5:
        return ask
    asked = {name: value for name, value in fields.items() if name != "messages"}
    asked["prompt"] = [f"What is a ledger? {ask.number} {part}" for part in range(draw.randint(1, 4))]
    return replace(ask, body=json.dumps(asked).encode(), path="/v1/completions")


def _give_keys(plan: Plan, draw: random.Random) -> None:
    """Give most callers a key, few enough that many have the same one: to ask the same with, or something else.

    The same text is used on both routes and by both customers, whose keys have nothing to do with each other.
    """
    first: dict[tuple[int, str, str], Ask] = {}
    for number, ask in enumerate(plan.asks):
        if draw.random() < 0.2:
            continue
        key = f"key-{draw.randrange(1 + len(plan.asks) // 5)}"
        keyed = replace(ask, key=key, meaning=_mean(json.loads(ask.body)))
        before = first.setdefault(keyed.claim, keyed)
        if before is not keyed and draw.random() < 0.85:
            keyed = _ask_again(keyed, before, draw)
        plan.asks[number] = keyed


def _ask_again(ask: Ask, before: Ask, draw: random.Random) -> Ask:
    """Ask what somebody has asked before, perhaps in other words: at the same time, or some time later."""
    fields = json.loads(before.body)
    members = list(fields.items())
    draw.shuffle(members)
    body = json.dumps({**dict(members), "seed": None}, indent=draw.choice((None, 1))).encode()
    at_s = before.at_s if draw.random() < 0.5 else before.at_s + draw.random() * 3
    body = before.body if draw.random() < 0.5 else body
    return replace(ask, body=body, streamed=before.streamed, at_s=at_s, meaning=before.meaning)


def _mean(fields: dict[str, Any]) -> str:
    """Return what is asked, whatever the order of its members."""
    return json.dumps(fields, sort_keys=True)
