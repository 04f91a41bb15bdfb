"""Whether a stream has ended as answers do, with `[DONE]`: one that just stops is half an answer."""

from __future__ import annotations

import re
from typing import Final

TAIL_BYTES: Final = 64
"""How much of the end is enough to see."""

_ENDS_WELL: Final = re.compile(rb"(?:\A|\n)data: ?\[DONE\]\s*\Z")


def ends_well(tail: bytes) -> bool:
    """Say whether these are the last bytes of a whole stream; no text of an answer can look like that."""
    return _ENDS_WELL.search(tail) is not None
