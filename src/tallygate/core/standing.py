"""How one place has done lately, and what follows for the choice: is it left out, and how heavily is it loaded?

A place that fails is left out for as long as the retry table says, and for twice as long each time that it fails again
before it has been well for a while: one that spoils some answers and not others would else be back at once, each time.
When that time is over it is *probed*: one call at a time, until one has shown that it works. A place that only starts
answers and does not finish them has to finish one. Besides, each place has a load, by which one of two is chosen: the
calls under way there, times how long its first bytes take, times what it has been blamed for lately. All of these fade,
so that a place which was slow or wrong is tried again, and nobody has to forgive it.

What may not live here: which places there are, who decides between two of them (`choosing`), clocks (one is passed in).
Nothing here is near money, so times and loads are floats.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from tallygate.core.errors import Code
from tallygate.core.retry import AVOID_S, BUSY, INFINITY_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tallygate.core.retry import Failure

FLOOR_S: Final = 0.05
"""First bytes that come sooner are alike: between places on one continent, that much is the network's own doing."""

FADE_S: Final = 30.0
"""After so long, half of what is known of a place's speed, or blamed on it, is forgotten; and while it is well, one of
the times that it was left out."""

SHARE: Final = 0.3
"""How much of the average the latest first byte makes."""

OUT_S_MAX: Final = 120.0
"""However often it has failed, a place is probed again after this time."""

ODD_MAX: Final = 3
"""After so many answers in a row whose reported usage cannot be true, a place is left out."""

RECENT: Final = 10
"""How many failures are kept for the operator to see."""


class State(Enum):
    """Whether a place is in the choice."""

    OK = "ok"
    OUT = "out"
    PROBING = "probing"
    OUT_FOR_GOOD = "out for good"


class End(Enum):
    """How an answer ended that had begun, as far as its place is to be blamed."""

    WHOLE = "whole"
    CUT = "stream was cut"
    UNUSABLE = "answer is not usable"


class Blame(NamedTuple):
    """A failure that the operator can see: what happened, and when by the monotonic clock."""

    at_s: float
    kind: str


class Sent:
    """One call on its way to a place, or being answered there; `marks` is how often it had been left out before."""

    __slots__ = ("began_s", "is_done", "marks", "streams")

    def __init__(self, began_s: float, marks: int, *, streams: bool) -> None:
        self.began_s = began_s
        self.marks = marks
        self.streams = streams
        self.is_done = False


class Standing:
    """How one place stands.

    Args:
        now_s: A monotonic clock in seconds.
        races: Whether the place races nodes by itself: then its next answer comes from another one, and it is blamed
            for a broken answer, but not left out.

    Attributes:
        in_flight: Calls under way there.
        reason: Why it is left out, or was last.
        moved_to: Where it says that it has moved to.
        answers: Answers that have ended there, one way or the other.
        odd: Of these, those whose reported usage could not be true.
        reported_tokens, counted_tokens: Completion tokens of whole answers as reported, and as we count them.
    """

    __slots__ = (
        "_back_s",
        "_blame",
        "_blame_s",
        "_blames",
        "_marks",
        "_must_finish",
        "_now_s",
        "_odd_in_a_row",
        "_out_until_s",
        "_probe",
        "_races",
        "_strikes",
        "_ttft_at_s",
        "_ttft_s",
        "_waiting",
        "answers",
        "counted_tokens",
        "in_flight",
        "moved_to",
        "odd",
        "reason",
        "reported_tokens",
    )

    def __init__(self, now_s: Callable[[], float], *, races: bool = False) -> None:
        self.in_flight = 0
        self.reason: str | None = None
        self.moved_to: str | None = None
        self.answers = self.odd = self.reported_tokens = self.counted_tokens = 0
        self._now_s = now_s
        self._races = races
        self._out_until_s = 0.0
        self._marks = 0
        self._strikes = 0
        self._back_s = 0.0
        self._must_finish = False
        self._probe: Sent | None = None
        self._ttft_s: float | None = None
        self._ttft_at_s = 0.0
        self._blame = 0.0
        self._blame_s = 0.0
        self._odd_in_a_row = 0
        self._waiting: dict[Sent, None] = {}  # for a first byte of a stream, the longest wait first
        self._blames: deque[Blame] = deque(maxlen=RECENT)

    # --- the choice ----------------------------------------------------------------------------------------------

    @property
    def is_out(self) -> bool:
        """Whether it is left out now; while it is probed, for all calls but one."""
        if self._out_until_s == 0:
            return False
        return self._probe is not None or self._now_s() < self._out_until_s

    @property
    def is_marked(self) -> bool:
        """Whether it has been left out, and has not shown since that it works."""
        return self._out_until_s > 0

    @property
    def is_out_for_good(self) -> bool:
        """Whether it will not come back by itself."""
        return self._out_until_s == INFINITY_S

    @property
    def load(self) -> float:
        """How heavily it is loaded: the lower of two is chosen."""
        first_byte_s, known_s = FLOOR_S, self._ttft_s
        now_s = self._now_s()
        if known_s is not None and known_s > FLOOR_S:
            first_byte_s = max(first_byte_s, known_s * 0.5 ** ((now_s - self._ttft_at_s) / FADE_S))
        for sent in self._waiting:  # one that says nothing any more is slower than all that it has said
            first_byte_s = max(first_byte_s, now_s - sent.began_s)
            break
        blame = self._blame and self._blame * 0.5 ** ((now_s - self._blame_s) / FADE_S)
        return (self.in_flight + 1) * first_byte_s * (1 + blame)

    # --- what the operator sees ----------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Whether it is in the choice."""
        if self._out_until_s == 0:
            return State.OK
        if self.is_out_for_good:
            return State.OUT_FOR_GOOD
        return State.OUT if self._now_s() < self._out_until_s else State.PROBING

    @property
    def out_for_s(self) -> float:
        """For how long it is still left out, infinity for good."""
        return max(self._out_until_s - self._now_s(), 0.0) if self._out_until_s else 0.0

    @property
    def ttft_s(self) -> float | None:
        """The moving average of the time to a stream's first byte; None before the first."""
        return self._ttft_s

    @property
    def recent(self) -> Sequence[tuple[float, str]]:
        """The last failures: how long ago, and what; the latest last."""
        now_s = self._now_s()
        return [(now_s - blame.at_s, blame.kind) for blame in self._blames]

    # --- what happens --------------------------------------------------------------------------------------------

    def begin(self, *, streams: bool = False) -> Sent:
        """Take note of a call that goes there; one to a place that has been left out, after its time, probes it."""
        now_s = self._now_s()
        sent = Sent(now_s, self._marks, streams=streams)
        self.in_flight += 1
        if streams:
            self._waiting[sent] = None
        if self._out_until_s and self._probe is None and now_s >= self._out_until_s:
            self._probe = sent
        return sent

    def answered(self, sent: Sent) -> None:
        """Take note of the first byte of its answer."""
        if self._waiting.pop(sent, sent) is None:
            now_s = self._now_s()
            took_s = now_s - sent.began_s
            known_s = self._ttft_s
            self._ttft_s = took_s if known_s is None else known_s + SHARE * (took_s - known_s)
            self._ttft_at_s = now_s
        if not self._must_finish:
            self._clear(sent)

    def finish(self, sent: Sent) -> None:
        """Take note that nothing more comes of a call; more than once does no harm."""
        if not sent.is_done:
            sent.is_done = True
            self.in_flight -= 1
            self._waiting.pop(sent, None)
            if self._probe is sent:
                self._probe = None

    def report(self, failure: Failure) -> None:
        """Take note of a sending that failed before its first byte."""
        serves_nobody = failure.code is Code.NETWORK_UNAVAILABLE and failure is not BUSY  # being busy is a load already
        self._note(failure.kind, 1.0 if failure.out_for_s or serves_nobody else 0.0)
        if failure.moved_to is not None:
            self.moved_to = failure.moved_to
        if failure.out_for_s > 0:
            self._leave_out(failure.out_for_s, failure.detail, grows=failure.retry_after_s is None)

    def conclude(self, sent: Sent, end: End, tokens: tuple[int, int] | None = None, *, is_odd: bool = False) -> None:
        """Take note of how an answer ended.

        Args:
            sent: The call.
            end: How.
            tokens: The answer's tokens as reported and as we count them, where both are known.
            is_odd: Whether the usage that was reported cannot be true.
        """
        self.answers += 1
        self._odd_in_a_row = self._odd_in_a_row + 1 if is_odd else 0
        if tokens is not None:
            self.reported_tokens += tokens[0]
            self.counted_tokens += tokens[1]
        if end is not End.WHOLE:
            self._break(end.value)
        elif is_odd:
            self.odd += 1
            if self._odd_in_a_row >= ODD_MAX:
                self._break("usage is not plausible")
            else:
                self._note("usage is not plausible", 1.0)
        else:
            self._clear(sent)

    def _break(self, kind: str) -> None:
        """Blame it for an answer; unless it races nodes, it is left out until it has finished one."""
        self._note(kind, 2.0)
        if not self._races:
            self._must_finish = True
            self._leave_out(AVOID_S, kind, grows=True)

    def _note(self, kind: str, blame: float) -> None:
        now_s = self._now_s()
        self._blames.append(Blame(now_s, kind))
        self._blame = self._blame * 0.5 ** ((now_s - self._blame_s) / FADE_S) + blame
        self._blame_s = now_s

    def _leave_out(self, for_s: float, reason: str, *, grows: bool) -> None:
        now_s = self._now_s()
        if now_s >= self._out_until_s:  # what fails together, while it is out already, fails once
            if not self._out_until_s:
                self._strikes -= min(int((now_s - self._back_s) / FADE_S), self._strikes)
            self._strikes += 1
        if grows and for_s < OUT_S_MAX:
            for_s = min(for_s * 2 ** min(self._strikes - 1, 10), OUT_S_MAX)
        self._marks += 1
        self._probe = None
        if now_s + for_s >= self._out_until_s:
            self._out_until_s, self.reason = now_s + for_s, reason

    def _clear(self, sent: Sent) -> None:
        """Put it back into the choice, unless it was left out again since the call began, or for good."""
        if self._out_until_s and sent.marks == self._marks and not self.is_out_for_good:
            self._out_until_s, self._back_s, self._must_finish = 0.0, self._now_s(), False
            self._probe, self.moved_to = None, None
