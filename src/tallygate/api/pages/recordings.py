"""Answers of a gateway in front of the simulated network, to be shown: byte for byte, but for id and time.

A test makes the same calls again and compares; `TALLYGATE_RECORD=1` has it write the files.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORDED: Final[Mapping[str, str]] = {
    "answer": "An unstreamed answer",
    "stream": "A stream: the cost is on the chunk that finishes",
    "stream_include_usage": "A stream with `stream_options.include_usage`: the cost is in a chunk of its own",
    "stream_interrupted": "A stream that the network breaks off: what was charged, and no `[DONE]`",
    "completion_stream": "A stream of `/v1/completions`",
}
"""The recordings by name, with what they show."""


def read_recording(name: str) -> str:
    """Return the body of an answer."""
    return files(__package__).joinpath("recorded", f"{name}.txt").read_text(encoding="utf-8")
