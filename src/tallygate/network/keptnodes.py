"""The nodes that were discovered last, in a file: for a start while the network tells nothing.

They count only for an upstream of the same name that asks the same sources, and only until one of these answers.
Nothing here is secret, and nothing is lost with the file: one that is missing, or is none of ours, says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from tallygate.core.address import is_address
from tallygate.core.nodes import NODES_MAX
from tallygate.network.discovery import FoundNode
from tallygate.network.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_log: Final = structlog.get_logger()


class _Node(msgspec.Struct):
    url: str
    address: str


class _Kept(msgspec.Struct):
    sources: list[str]
    nodes: list[_Node]


class KeptNodes:
    """The file of all upstreams' discovered nodes.

    Args:
        path: Where it is; its folder must be there, it need not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = self._read()

    def nodes(self, upstream: str, sources: Sequence[str]) -> Sequence[FoundNode]:
        """Return whom an upstream found last by these sources."""
        kept = self._kept.get(upstream)
        if kept is None or kept.sources != list(sources):
            return ()
        found = (_place(node) for node in kept.nodes[:NODES_MAX])
        return tuple(node for node in found if node is not None)

    def keep(self, upstream: str, sources: Sequence[str], nodes: Sequence[FoundNode]) -> None:
        """Keep whom an upstream has found; a file that cannot be written is worth a line of the log, and no more."""
        shown = [_Node(f"{node.origin}{node.base_path.decode()}", node.address) for node in nodes]
        kept = _Kept(list(sources), shown)
        if self._kept.get(upstream) == kept:
            return
        self._kept[upstream] = kept
        draft = self._path.with_name(f"{self._path.name}.new")
        try:
            draft.write_bytes(msgspec.json.format(msgspec.json.encode(self._kept, order="sorted"), indent=1))
            draft.replace(self._path)
        except OSError as error:
            _log.warning("the nodes that were discovered cannot be kept", path=str(self._path), detail=error.strerror)

    def _read(self) -> dict[str, _Kept]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, _Kept])
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("the nodes that were kept cannot be read", path=str(self._path), detail=error.strerror)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            _log.warning("the nodes that were kept are none; they are found anew", path=str(self._path))
        return {}


def _place(node: _Node) -> FoundNode | None:
    try:
        origin, base_path = Origin.parse(node.url)
    except ValueError:
        return None
    return FoundNode(origin, base_path, node.address) if is_address(node.address) else None
