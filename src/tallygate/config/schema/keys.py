"""What may be said of the API keys of callers."""

from __future__ import annotations

from typing import Literal, cast

from tallygate.config import kinds
from tallygate.config.keys import Key, Section, defaulting
from tallygate.core.keys import KEY_PREFIX, PREFIX


class Keys(Section):
    """The API keys of callers."""

    title = "[keys]"
    prefix = defaulting(
        kinds.Text("3 to 16 small letters, digits, - and _, from a letter to a - or _", PREFIX),
        KEY_PREFIX,
        "How the keys begin that are made from now on. Keys of every earlier prefix go on.",
    )
    calls_under_way = cast(
        "Key[Literal['finish', 'cut']]",
        defaulting(
            kinds.Choice("finish", "cut"),
            "finish",
            "What happens to calls under way when their key is revoked, paused or expires, or their account is "
            'suspended: `"finish"` lets them end; `"cut"` breaks them off, charges what callers have seen of an '
            "answer, and tells them.",
        ),
    )
