"""A request read at a glance: one of a plain form that has come whole, by itself, with a body of a stated length.

It is for whoever has just shown a key that is none, and most likely shows the next one now: one regular expression
takes a sixth of the parser's time, which calls us for each header. Whatever is in the least unusual is left to the
parser, which alone says what HTTP is: nothing may be read here that it would have read differently.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_PLAIN: Final = re.compile(
    rb"""
    (GET|POST|PUT|PATCH|DELETE) [ ] (/[A-Za-z0-9._~/-]{0,2000}) [ ] HTTP/1\.1
    (?:\r\n (?:
        [Hh]ost:[ ]               (?(3)(?!) | ([\w.-]+ (?::[0-9]{1,5})?) )
      | [Aa]uthorization:[ ]      (?(4)(?!) | ([!-~]+ [ ] [!-~]+) )
      | [Cc]ontent-[Ll]ength:[ ]  (?(5)(?!) | ([0-9]{1,5}) )
      | [Cc]onnection:[ ]         keep-alive
      | (?:[Cc]ontent-[Tt]ype|[Aa]ccept|[Aa]ccept-[Ee]ncoding|[Uu]ser-[Aa]gent|[Xx]-[A-Za-z-]+):[ ] [!-~][ -~]*
    ))+
    \r\n\r\n
    """,
    re.VERBOSE | re.ASCII,
)
"""`(?(3)(?!)|…)` fails where group 3 has matched before: what says whose request it is may be there only once."""


class Plain(NamedTuple):
    """A request of a plain form.

    Attributes:
        method: Upper case.
        path: Its target, which has no query and nothing to decode.
        authorization: What it shows, if anything.
    """

    method: str
    path: str
    authorization: bytes | None


def read_plain(data: bytes) -> Plain | None:
    """Return the request that these bytes are, no more and no less, if it is of the plain form."""
    match = _PLAIN.match(data)
    if match is None:
        return None
    method, path, host, authorization, length = match.groups()
    if host is None or len(data) - match.end() != (0 if length is None else int(length)):
        return None
    return Plain(method.decode(), path.decode(), authorization)
