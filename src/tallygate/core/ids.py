"""The ids that we mint, and the form of models' ids.

An inference's id begins with its time, so that ids which are made together lie together in every index; the rest is
random. It has the prefix that OpenAI's clients know.
"""

from __future__ import annotations

import re
from typing import Final

MODEL_ID: Final = re.compile(r"[A-Za-z0-9._:/@+-]{1,128}")
"""An id of ours: it stands in URLs, in tables and in the books."""

THEIR_MODEL_ID: Final = re.compile(r"[!-~]{1,256}")
"""What an upstream calls a model."""


def inference_id(time_ms: int, entropy10: bytes) -> str:
    """Return the id of an inference: 12 hexadecimal digits of time, then 80 random bits."""
    return f"chatcmpl-{time_ms:012x}{entropy10.hex()}"


def request_id(entropy12: bytes) -> str:
    """Return the id of a request, as every answer and log line carries it."""
    return f"req_{entropy12.hex()}"
