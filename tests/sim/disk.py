"""A disk for SQLite, kept in memory, that does what real ones do: late, torn, full, broken, without power.

Every file is two images: what a reader sees (the page cache), and what has reached the platter. A sync takes the
writes so far to the platter; a power failure keeps of the others any sectors it likes. A sync that fails has dropped
what it could not write, and a later one says nothing about it, as Linux does. `kill -9` loses nothing of the cache.

Only bytes are simulated: locks and shared memory are the system's own, on empty files in a folder that is itself in
memory, so that two processes of a simulation meet on the store as two real ones would.
"""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from tests.sim.loop import Process, current_process

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

SECTOR_BYTES = 512
POWERSAFE_OVERWRITE = apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

_NUMBERS = itertools.count()


class File:
    """One file's two images.

    Attributes:
        seen: What reading gives.
        kept: What is on the platter.
        unsynced: Writes that are not, in their order: offset and bytes, or a new length.
    """

    def __init__(self, kept: bytes = b"") -> None:
        self.seen = bytearray(kept)
        self.kept = bytearray(kept)
        self.unsynced: list[tuple[int, bytes | None]] = []
        self.named = bool(kept)  # whether its directory entry is on the platter

    def write(self, offset: int, data: bytes) -> None:
        """Write into the cache."""
        _apply(self.seen, offset, data)
        self.unsynced.append((offset, data))

    def truncate(self, size: int) -> None:
        """Cut it in the cache."""
        _apply(self.seen, size, None)
        self.unsynced.append((size, None))

    def sync(self) -> None:
        """Take everything to the platter."""
        for offset, data in self.unsynced:
            _apply(self.kept, offset, data)
        self.unsynced.clear()

    def drop(self, draw: random.Random) -> None:
        """Fail to sync: some of the writes reach the platter, the others never will, though they can be read."""
        self.tear(draw)
        self.unsynced.clear()

    def tear(self, draw: random.Random) -> None:
        """Take any sectors of the unsynced writes to the platter."""
        share = draw.choice((0.0, 0.5, 0.9, 1.0))
        for offset, data in self.unsynced:
            if data is None:
                if draw.random() < share:
                    _apply(self.kept, offset, None)
                continue
            for start, end in _sectors(offset, len(data)):
                if draw.random() < share:
                    _apply(self.kept, offset + start, data[start:end])


class Disk:
    """A machine's disk; registered with SQLite as a VFS of its own while it is used.

    Args:
        draw: Where random choices come from.

    Attributes:
        files: By path.
        full: Whether there is no room for another byte.
        struck: How often something has gone wrong, by name.
        syncs: How many syncs there have been.
    """

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.files: dict[str, File] = {}
        self.full = False
        self.struck: Counter[str] = Counter()
        self.syncs = 0
        self.vfs = f"simulated-{next(_NUMBERS)}"
        self._blows: list[tuple[int, str, Callable[[], None]]] = []
        self._operations = 0
        self._deleted: dict[str, File] = {}
        self._registered = SimVfs(self)

    def close(self) -> None:
        """Let SQLite forget it."""
        self._registered.unregister()

    def lose_power(self) -> None:
        """Keep what is on the platter, and of the rest any sectors at all; a deletion may not have got there."""
        for name, file in self._deleted.items():
            if file.named and name not in self.files and self.draw.random() < 0.5:
                self.files[name] = file
                Path(name).touch()
        self._deleted.clear()
        for name, file in tuple(self.files.items()):
            file.tear(self.draw)
            if file.named or self.draw.random() < 0.5:
                self.files[name] = File(bytes(file.kept))
            else:
                del self.files[name]

    def open(self, name: str) -> File:
        """Return a file; a new one if there is none."""
        if name not in self.files:
            self.files[name] = File()
            self._deleted.pop(name, None)
        return self.files[name]

    def delete(self, name: str) -> None:
        """Delete a file; it may come back if the power fails before the next sync."""
        file = self.files.pop(name, None)
        if file is not None:
            self._deleted[name] = file

    def took_names(self) -> None:
        """Note that a sync has taken every earlier change of a name along, as journaling file systems do."""
        self.syncs += 1
        self._deleted.clear()
        for file in self.files.values():
            file.named = True

    def snapshot(self) -> dict[str, bytes]:
        """Return what every file reads as now."""
        return {name: bytes(file.seen) for name, file in self.files.items()}

    def break_later(self, operations: int, name: str, blow: Callable[[], None] = lambda: None) -> None:
        """Have something go wrong in a write, cut or sync that many operations from now.

        Args:
            operations: 1 is the next one.
            name: `full`, or `error`: the operation fails, and what it was to sync is lost; or another name.
            blow: Done at that moment, before the operation fails.
        """
        self._blows.append((self._operations + operations, name, blow))

    def mend(self) -> None:
        """Nothing more goes wrong, and there is room again."""
        self._blows.clear()
        self.full = False

    def step(self, file: File) -> None:
        """Count an operation that changes something, and let go wrong what has to."""
        self._operations += 1
        due = [planned for planned in self._blows if planned[0] <= self._operations]
        for planned in due:
            self._blows.remove(planned)
            _, name, blow = planned
            self.struck[name] += 1
            blow()
            if name == "full":
                self.full = True
            elif name == "error":
                file.drop(self.draw)
                raise apsw.IOError("input/output error")
            else:
                raise apsw.IOError("the process is dead")


class SimVfs(apsw.VFS):
    """SQLite's way to the disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.vfs, "unix")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        """Open a file, or make it."""
        return SimFile(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        """Delete a file."""
        _check_alive(current_process())
        self._disk.delete(filename)
        super().xDelete(filename, syncdir)

    def xSleep(self, microseconds: int) -> int:  # noqa: N802
        """Wait for somebody's lock: in no time, for there is nobody who could let go of it meanwhile."""
        return microseconds


class SimFile(apsw.VFSFile):
    """An open file."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        path = name if isinstance(name, str) or name is None else name.filename()
        self._disk = disk
        self._process = current_process()
        self._file = File() if path is None else disk.open(path)
        super().__init__("unix", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        """Read from the cache."""
        return bytes(self._file.seen[offset : offset + amount])

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        """Write into the cache, unless the disk is full or broken."""
        _check_alive(self._process)
        self._disk.step(self._file)
        if self._disk.full and offset + len(data) > len(self._file.seen):
            raise apsw.FullError("no space left on the device")
        self._file.write(offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        """Cut it."""
        _check_alive(self._process)
        self._disk.step(self._file)
        self._file.truncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Take everything to the platter."""
        del flags
        _check_alive(self._process)
        self._disk.step(self._file)
        self._file.sync()
        self._disk.took_names()

    def xFileSize(self) -> int:  # noqa: N802
        """Return its length."""
        return len(self._file.seen)

    def xSectorSize(self) -> int:  # noqa: N802
        """Return what is written at once."""
        return SECTOR_BYTES

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        """Say what Linux file systems promise: a torn write harms nothing beside it."""
        return POWERSAFE_OVERWRITE


def _check_alive(process: Process | None) -> None:
    """Refuse what a dead process would still do while its last call unwinds."""
    if process is not None and not process.alive:
        raise apsw.IOError("the process is dead")


def _apply(image: bytearray, offset: int, data: bytes | None) -> None:
    """Write into an image, or cut it."""
    if data is None:
        del image[offset:]
        image.extend(bytes(offset - len(image)))
        return
    if offset > len(image):
        image.extend(bytes(offset - len(image)))
    image[offset : offset + len(data)] = data


def _sectors(offset: int, size: int) -> list[tuple[int, int]]:
    """Return where the sectors of a write begin and end, within it."""
    first = SECTOR_BYTES - offset % SECTOR_BYTES
    cuts = [0, *range(first, size, SECTOR_BYTES), size]
    return list(itertools.pairwise(cuts))
