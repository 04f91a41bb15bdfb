"""What is charged for a stream some of whose frames have come twice."""

from __future__ import annotations

import json

import pytest

from tallygate.core.ledger.entry import Flag
from tallygate.core.streaming import Relayed
from tallygate.core.usage import Tally, Usage

WORDS = (" A", " led", "ger", " is", " a", " book")


def frame(text: str, tokens: int = 1, **members: object) -> bytes:
    """Return a frame of a node that lists its tokens."""
    choice = {"index": 0, "delta": {"content": text}, "token_ids": list(range(tokens)), "finish_reason": None}
    return json.dumps({"id": "x", "choices": [choice], **members}).encode()


def charge(frames: list[bytes], reported: object) -> Usage:
    """Return what is charged for a stream of such frames, after which a usage is reported."""
    tally = Tally(prompt_bytes=30, prompt_tokens_max=99, completion_tokens_max=8, prompt_tokens=7)
    relayed = Relayed("ours", "model", 0, 1, include_usage=False, tally=tally)
    relayed.feed([*frames, json.dumps({"choices": [], "usage": reported}).encode(), b"[DONE]"])
    assert relayed.done
    return tally.usage()


def usage(completion: int) -> dict[str, int]:
    """Return a usage object."""
    return {"prompt_tokens": 7, "completion_tokens": completion}


@pytest.mark.parametrize("first", range(6))
@pytest.mark.parametrize("last", range(1, 7))
def test_frames_that_come_twice_are_charged_once(first: int, last: int) -> None:
    """Whichever frames are replayed, and after whichever, a report of what was served is charged to the token."""
    frames = [frame(word) for word in WORDS]
    replayed = [*frames[:last], *frames[first:last], *frames[last:]]

    assert charge(replayed, usage(6)) == Usage(7, 6, Flag(0))


def test_frames_count_by_the_tokens_that_they_tell() -> None:
    """A frame of several tokens that comes twice leaves as many in doubt, and no more."""
    frames = [frame(" a", 2), frame(" b", 3), frame(" b", 3)]

    assert [charge(frames, usage(told)).estimated for told in (4, 5, 8)] == [True, False, False]


@pytest.mark.parametrize("told", [1, 2, 3])
def test_a_token_that_is_said_again_is_no_replay(told: int) -> None:
    """The same token said three times cannot be told from a replay: any report between one and three can be true."""
    assert charge([frame(" ha")] * 3, usage(told)) == Usage(7, told, Flag(0))


@pytest.mark.parametrize("told", [0, 5, 9])
def test_no_replay_makes_a_lie_of_other_tokens_true(told: int) -> None:
    """Below the tokens of all different frames, or above those of all frames, a report is replaced by our own count."""
    frames = [frame(word) for word in WORDS]
    counted = charge([*frames[:2], *frames], usage(told))

    assert counted == Usage(7, 8, Flag.ESTIMATED | Flag.USAGE_IMPLAUSIBLE, "node")


def test_a_frame_that_differs_anywhere_is_another_one() -> None:
    """The same token with other log probabilities is another token, which no report may leave out."""
    assert charge([frame(" ha", logprobs=None), frame(" ha", logprobs=1)], usage(1)).estimated
