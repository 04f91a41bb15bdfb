"""The ways in which two of five nodes go wrong: each of devnet's faults that a call can meet, by its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tallygate.core.retry import AVOID_S
from tallygate.core.standing import ODD_MAX, OUT_S_MAX

STREAM, WHOLE = "stream", "whole"
BOTH = frozenset({STREAM, WHOLE})


@dataclass(frozen=True)
class Trial:
    """One way of going wrong.

    Attributes:
        spoils: Answers of which form cannot be used, once they have begun.
        out_after: After how many calls in a row a node that does so is left out; None where nothing is held against
            it: who only lacks a model, says things twice, or cuts frames oddly has served its callers.
        share: How many of the calls are sent in our tests, where each takes long.
        may_lose: Whether what was sent can be lost on its way, with the connection.
    """

    name: str
    fault: str
    spoils: frozenset[str] = frozenset()
    out_after: int | None = 1
    fields: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0
    may_lose: bool = False

    def wrong_max(self, callers: int, seconds: float) -> int:
        """Return how often a node can go wrong, if the design's rules hold.

        Until it is left out: in the calls after which it is, and in all that were under way then. Left out, it is asked
        by one call at a time, each time after twice as long as the time before. One that serves a call of the other
        form then is back, for all that are under way until it has gone wrong once more.
        """
        assert self.out_after is not None
        probes, out_s, back_s = 0, AVOID_S, AVOID_S
        while back_s <= seconds:
            probes += 1
            out_s = min(out_s * 2, OUT_S_MAX)
            back_s += out_s
        return self.out_after - 1 + callers + probes * (callers if len(self.spoils) == 1 else 1)


def usage(prompt: object, completion: object) -> dict[str, Any]:
    """Return a fault's fields that show a usage."""
    return {"usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": 0}}


TRIALS = [
    Trial("refused", "refuse"),
    Trial("closed without an answer", "hang_up"),
    Trial("silent before headers", "stall_headers"),
    Trial("down", "down"),
    Trial("slow TLS", "slow_tls", fields={"delay_ms": 600_000}),
    Trial("panic", "500"),
    Trial("bad gateway", "502"),
    Trial("gateway timeout", "504"),
    Trial("burst of 429", "429"),
    Trial("no executor", "503"),
    Trial("not allowed", "403"),
    Trial("speaks devshard", "410"),
    Trial("clock skew", "clock_skew"),
    Trial("no such model", "404", out_after=None),
    Trial("key refused", "401"),
    Trial("no funds", "402"),
    Trial("redirects", "redirect"),
    Trial("cut mid-stream", "cut", BOTH),
    Trial("silent mid-stream", "stall_stream", BOTH),
    Trial("error event", "error_event", BOTH),
    Trial("truncated", "truncate", frozenset({WHOLE})),
    Trial("garbage", "garbage", frozenset({WHOLE})),
    Trial("reset mid-stream", "reset", BOTH, may_lose=True),
    Trial("cut before the end", "cut_end", frozenset({WHOLE})),
    Trial("garbage frame", "garbage_frame", frozenset({STREAM})),
    Trial("huge frame", "huge_frame", frozenset({STREAM})),
    Trial("gzip", "gzip", BOTH),
    Trial("replayed frames", "repeat_frames", out_after=None),
    Trial("frames split and joined", "split_frames", out_after=None),
    Trial("drip", "drip", out_after=None, fields={"delay_ms": 1}, share=0.1),
    Trial("usage absent", "usage_absent", out_after=ODD_MAX),
    Trial("usage low", "usage_low", out_after=ODD_MAX),
    Trial("usage high", "usage_high", out_after=ODD_MAX),
    Trial("usage far too high", "wrong_usage", out_after=ODD_MAX, fields=usage(5, 90_000)),
    Trial("usage negative", "usage_negative", out_after=ODD_MAX),
    Trial("usage float", "usage_float", out_after=ODD_MAX),
    Trial("usage twice", "usage_twice", out_after=None),
]
