"""Which of the nodes take part in which epoch.

Who joins or leaves does so with the next epoch, when its participants take over; until then nothing changes. Whoever
is put out of an epoch that has begun is excluded, which is another matter (`parameters`).
"""


class Membership:
    """Who stays out of which epoch; all nodes take part until somebody says otherwise."""

    def __init__(self) -> None:
        self._absent: list[tuple[int, frozenset[str]]] = []

    def announce(self, absent: frozenset[str], first_epoch: int) -> None:
        """Keeps addresses out from an epoch on, and lets all others in."""
        self._absent = [known for known in self._absent if known[0] < first_epoch]
        self._absent.append((first_epoch, absent))

    def absent_from(self, epoch: int) -> frozenset[str]:
        """Gives who stays out of an epoch."""
        return next((absent for first, absent in reversed(self._absent) if first <= epoch), frozenset())

    @property
    def announced(self) -> frozenset[str]:
        """Who stays out of the last epoch that anything was said of."""
        return self._absent[-1][1] if self._absent else frozenset()
