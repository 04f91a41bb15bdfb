"""What is demanded of a value, and the refusal that names the place where it is not met.

Paths are built only when something is wrong, so the checks of a good request cost no text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tallygate.core.errors import Code, Refusal
from tallygate.core.jsontext import nameable

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME_DEMAND: Final = "a name of 1 to 64 letters, digits, and _ . -"
_is_name = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII).fullmatch


def invalid(param: str, demand: str) -> Refusal:
    """Return the refusal of a value that is not what it must be."""
    return Refusal(Code.INVALID_VALUE, f"{param} must be {demand}.", param=param)


def at(path: str, name: str) -> str:
    """Return the path of a member, without its name if that may be a caller's text."""
    shown = nameable(name)
    return f"{path}.{shown}" if shown else path


def check_text(given: Mapping[str, object], name: str, path: str) -> None:
    """Demand that a member is a string, if it is there."""
    if given.get(name) is not None and not isinstance(given[name], str):
        raise invalid(f"{path}.{name}", "a string")


def check_flag(given: Mapping[str, object], name: str, path: str) -> None:
    """Demand that a member is a boolean, if it is there."""
    if given.get(name) is not None and not isinstance(given[name], bool):
        raise invalid(f"{path}.{name}", "true or false")


def check_name(given: Mapping[str, object], path: str) -> str:
    """Return the `name` of a function or schema: as OpenAI has it, and with the dot that the network takes as well."""
    name = given.get("name")
    if not isinstance(name, str) or _is_name(name) is None:
        raise invalid(f"{path}.name", NAME_DEMAND)
    return name
