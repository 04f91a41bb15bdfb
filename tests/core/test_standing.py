"""How a place stands: when it is left out, when it is probed, and how heavily it is loaded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallygate.core.retry import BUSY, INFINITY_S, LOST, judge_status
from tallygate.core.standing import FADE_S, FLOOR_S, ODD_MAX, OUT_S_MAX, End, Standing, State

FULL = judge_status(429, {"retry-after": "7"}, b"", signed=True)
SPOKEN = judge_status(410, {}, b"", signed=True)
MOVED = judge_status(308, {"location": "https://new.example/v1"}, b"", signed=True)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def place(*, races: bool = False) -> tuple[Standing, Clock]:
    """Return a place that nothing is known of, and its clock."""
    clock = Clock()
    return Standing(clock, races=races), clock


def serve(standing: Standing, clock: Clock, took_s: float = 0.0, end: End = End.WHOLE, *, is_odd: bool = False) -> None:
    """Have a place answer a streamed call."""
    sent = standing.begin(streams=True)
    clock.now_s += took_s
    standing.answered(sent)
    standing.conclude(sent, end, is_odd=is_odd)
    standing.finish(sent)


def test_a_failure_leaves_out_until_its_time_has_passed() -> None:
    """A place that failed is out for the retry table's time, says why, and is then to be probed."""
    standing, clock = place()
    standing.report(LOST)
    seen = [standing.state]
    clock.now_s += 4.9
    seen.append(standing.state)
    clock.now_s += 0.1
    seen.append(standing.state)

    assert seen == [State.OUT, State.OUT, State.PROBING]
    assert standing.reason == "connection lost"
    assert not standing.is_out


def test_a_failure_that_leaves_in() -> None:
    """A failure whose row of the table leaves the place in does so; it is only remembered."""
    standing, _ = place()
    standing.report(LOST._replace(out_for_s=0.0))

    assert (standing.state, len(standing.recent)) == (State.OK, 1)


def test_a_place_that_lacks_a_model_sinks() -> None:
    """A place that could not serve a call stays in the choice with a higher load; one that we keep busy does not."""
    standing, _ = place()
    standing.report(BUSY)
    assert standing.load == FLOOR_S
    standing.report(judge_status(404, {}, b"", signed=True))

    assert (standing.state, standing.load) == (State.OK, 2 * FLOOR_S)


def test_one_call_probes() -> None:
    """While one call probes a place, it is out for all others; when that one is over without a word, another may."""
    standing, clock = place()
    standing.report(LOST)
    clock.now_s += 5
    probe = standing.begin()
    seen = [standing.is_out]
    standing.finish(probe)
    seen.append(standing.is_out)

    assert seen == [True, False]
    assert standing.state is State.PROBING


@pytest.mark.parametrize(("well_s", "out_s"), [(0, 40), (29, 40), (30, 20), (60, 10), (90, 5), (10**9, 5)])
def test_a_probe_that_works_puts_it_back(well_s: float, out_s: float) -> None:
    """A first byte puts a place back that had failed three times; each is forgiven for half a minute of being well."""
    standing, clock = place()
    for _ in range(3):
        standing.report(LOST)
        clock.now_s += standing.out_for_s
    serve(standing, clock)
    assert standing.state is State.OK
    clock.now_s += well_s
    standing.report(LOST)

    assert standing.out_for_s == pytest.approx(out_s)


def test_each_failure_in_a_row_doubles_the_time() -> None:
    """A place that goes on failing is probed ever more rarely, but never more rarely than every two minutes."""
    standing, clock = place()
    times = []
    for _ in range(8):
        standing.report(LOST)
        times.append(standing.out_for_s)
        clock.now_s += standing.out_for_s

    assert times == pytest.approx([5, 10, 20, 40, 80, OUT_S_MAX, OUT_S_MAX, OUT_S_MAX])


def test_what_fails_together_fails_once() -> None:
    """A hundred calls that a dying place takes along do not keep it out longer than one."""
    standing, _ = place()
    for _ in range(100):
        standing.report(LOST)

    assert standing.out_for_s == pytest.approx(5)


def test_a_time_that_was_named_is_kept() -> None:
    """A place that says when to come again is out for so long, however often it says so."""
    standing, clock = place()
    for _ in range(3):
        standing.report(FULL)
        assert standing.out_for_s == pytest.approx(7)
        clock.now_s += 7


def test_the_longest_of_several_counts() -> None:
    """A short time that is named later does not shorten a longer one."""
    standing, _ = place()
    standing.report(LOST._replace(out_for_s=300.0))
    standing.report(LOST)

    assert standing.out_for_s == pytest.approx(300)


def test_out_for_good() -> None:
    """A place that is out for good stays so whatever is reported, whoever answers, however long one waits."""
    standing, clock = place()
    sent = standing.begin()
    standing.report(SPOKEN)
    standing.report(LOST)
    clock.now_s += 10.0**12
    standing.answered(sent)
    serve(standing, clock)

    assert (standing.state, standing.is_out, standing.out_for_s) == (State.OUT_FOR_GOOD, True, INFINITY_S)
    assert standing.reason == 'this node speaks devshard; use kind = "openai"'


def test_a_late_success_puts_nothing_back() -> None:
    """An answer to a call that was sent before the place failed says nothing about it now."""
    standing, _ = place()
    early = standing.begin()
    standing.report(LOST)
    standing.answered(early)
    standing.conclude(early, End.WHOLE)
    seen = [standing.state]
    late = standing.begin()  # there was no other place
    standing.answered(late)

    assert [*seen, standing.state] == [State.OUT, State.OK]


@pytest.mark.parametrize("end", [End.CUT, End.UNUSABLE])
def test_a_broken_answer_leaves_out_until_one_is_whole(end: End) -> None:
    """A place that breaks answers off is not put back by a first byte, only by a whole answer."""
    standing, clock = place()
    serve(standing, clock, end=end)
    assert standing.reason == end.value
    seen = [standing.state]
    clock.now_s += 5
    probe = standing.begin(streams=True)
    standing.answered(probe)
    seen.append(standing.state)
    standing.conclude(probe, End.WHOLE)

    assert [*seen, standing.state] == [State.OUT, State.PROBING, State.OK]


def test_implausible_usage_leaves_out_when_it_repeats() -> None:
    """Usage that cannot be true raises the load at once, and leaves the place out after some in a row."""
    standing, clock = place()
    for _ in range(ODD_MAX - 1):
        serve(standing, clock, is_odd=True)
    assert standing.state is State.OK
    assert standing.load > FLOOR_S
    serve(standing, clock)
    for _ in range(ODD_MAX):
        assert standing.state is State.OK
        serve(standing, clock, is_odd=True)

    assert (standing.state, standing.reason) == (State.OUT, "usage is not plausible")
    assert standing.odd == 2 * ODD_MAX - 1


def test_who_races_nodes_is_blamed_but_not_left_out() -> None:
    """A Bearer upstream that broke an answer off stays in the choice: its next answer comes from another node."""
    standing, clock = place(races=True)
    serve(standing, clock, end=End.CUT)

    assert standing.state is State.OK
    assert standing.load > FLOOR_S
    assert [kind for _, kind in standing.recent] == [End.CUT.value]


def test_load_counts_calls_and_time() -> None:
    """The load grows with the calls under way and with the time to the first byte; below a floor, times are alike."""
    standing, clock = place()
    assert standing.load == FLOOR_S
    serve(standing, clock, FLOOR_S / 2)
    assert standing.load == FLOOR_S
    sent = [standing.begin() for _ in range(3)]
    assert standing.load == pytest.approx(4 * FLOOR_S)
    for one in sent:
        standing.finish(one)
    serve(standing, clock, 10.0)

    assert standing.load > 2


def test_silence_counts_while_it_lasts() -> None:
    """A place that says nothing any more is loaded by the time that the longest of its streams has waited."""
    standing, clock = place()
    sent = standing.begin(streams=True)
    clock.now_s += 1
    assert standing.load == pytest.approx(2)
    standing.answered(sent)
    standing.finish(sent)
    clock.now_s += FADE_S

    assert standing.load == pytest.approx(0.5)
    assert standing.ttft_s == pytest.approx(1)


def test_an_unstreamed_answer_takes_as_long_as_it_is() -> None:
    """The first byte of an unstreamed answer says nothing of a place's speed, for all of the answer is behind it."""
    standing, clock = place()
    sent = standing.begin()
    clock.now_s += 60
    assert standing.load == pytest.approx(2 * FLOOR_S)
    standing.answered(sent)

    assert standing.ttft_s is None


def test_what_is_known_fades() -> None:
    """A place that was slow, or was blamed, is like the others again after a while: nothing keeps it down for ever."""
    standing, clock = place()
    serve(standing, clock, 1.0, End.CUT)
    before = standing.load
    clock.now_s += FADE_S
    assert FLOOR_S < standing.load < before
    clock.now_s += 20 * FADE_S

    assert standing.load == pytest.approx(FLOOR_S, rel=0.01)


def test_where_it_has_moved_to() -> None:
    """A place that points elsewhere shows where, until it works again."""
    standing, clock = place()
    standing.report(MOVED)
    assert standing.moved_to == "https://new.example/v1"
    clock.now_s += 5
    serve(standing, clock)

    assert standing.moved_to is None


def test_usage_is_compared() -> None:
    """Reported tokens and our own count are added up, so that their drift shows."""
    standing, _ = place()
    for tokens in [(10, 10), (13, 10), None]:
        sent = standing.begin()
        standing.conclude(sent, End.WHOLE, tokens)

    assert (standing.reported_tokens, standing.counted_tokens, standing.answers) == (23, 20, 3)


STEPS = ["begin", "answer", "cut", "whole", "finish", "lose", "wait"]


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5))))
def test_calls_are_counted_exactly(steps: list[tuple[str, int]]) -> None:
    """Whatever happens in whatever order, each call counts until it has finished, once, and nobody holds the probe."""
    standing, clock = place()
    open_calls, all_calls = [], []
    for step, number in steps:
        if step == "begin":
            open_calls.append(standing.begin(streams=bool(number % 2)))
            all_calls.append(open_calls[-1])
        elif step == "wait":
            clock.now_s += number * 10
        elif step == "lose":
            standing.report(LOST)
        elif all_calls:
            sent = all_calls[number % len(all_calls)]
            if step == "answer":
                standing.answered(sent)
            elif step == "finish":
                standing.finish(sent)
                open_calls = [one for one in open_calls if one is not sent]
            else:
                standing.conclude(sent, End.CUT if step == "cut" else End.WHOLE)
        assert standing.in_flight == len(open_calls)
        assert standing.load > 0
    for sent in all_calls:
        standing.finish(sent)
    clock.now_s += OUT_S_MAX

    assert (standing.in_flight, standing.is_out) == (0, False)
