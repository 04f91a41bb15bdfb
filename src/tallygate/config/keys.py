"""What a key of the configuration is, and a section of keys: the form of the table in `schema`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tallygate.config import kinds

T = TypeVar("T")


class _Absent:
    """Stands for no default."""


ABSENT: Final = _Absent()


@dataclass(slots=True)
class Key(Generic[T]):
    """One key of a section.

    Attributes:
        kind: How its value is written.
        meaning: What it does, for operators.
        default: What counts when it is missing, as TOML would say it; `ABSENT` for none.
        is_required: Whether it may be missing.
        otherwise: What the reference says in place of a default.
        name: Set by the section that declares it.
    """

    kind: kinds.Kind[T]
    meaning: str
    default: object = ABSENT
    is_required: bool = False
    otherwise: str = ""
    name: str = field(default="", init=False)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def read_default(self) -> T:
        """Return the default as if it had been written."""
        return self.kind.read(self.default)


def required(kind: kinds.Kind[T], meaning: str) -> Key[T]:
    """Return a key that must be there."""
    return Key(kind, meaning, is_required=True)


def defaulting(kind: kinds.Kind[T], default: object, meaning: str) -> Key[T]:
    """Return a key with a default."""
    return Key(kind, meaning, default=default)


def optional(kind: kinds.Kind[T], otherwise: str, meaning: str) -> Key[T | None]:
    """Return a key whose value is None when it is missing."""
    return cast("Key[T | None]", Key(kind, meaning, otherwise=otherwise))


class Section:
    """A table of keys. Its docstring introduces it in the reference.

    Attributes:
        title: How it is written.
        elsewhere: Keys that exist only together with something else, and what that is.
    """

    title: ClassVar[str]
    elsewhere: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def declared(cls) -> Mapping[str, Key[Any]]:
        """Return its keys by name, in the order of their declaration, inherited ones first."""
        classes = reversed(cls.__mro__)
        return {name: key for class_ in classes for name, key in vars(class_).items() if isinstance(key, Key)}
