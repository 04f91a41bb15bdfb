"""What callers saw, held against the books and against what the network knows: the last check of a world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.claims import NEVER_HELD

if TYPE_CHECKING:
    from tallygate.devnet.chain import Chain, Inference
    from tests.sim.auditor import Auditor, Entry
    from tests.sim.callers import Seen

UNCERTAIN = frozenset({"store_unavailable", "upstream_interrupted"})
"""What a caller is told when nobody can know; an interrupted stream says by its usage whether it was charged."""
ESTIMATED, CUT = 1, 16


class Verdict:
    """The comparison of one world.

    Args:
        auditor: What the books say, and where violations go.
        chain: What the network knows.
        honest: Whether no node was told to lie about usage.
    """

    def __init__(self, auditor: Auditor, chain: Chain, *, honest: bool) -> None:
        self._auditor = auditor
        self._chain = chain
        self._honest = honest

    def check(self, seen: Seen) -> None:
        """Check one call."""
        inference = seen.named if seen.replayed else seen.inference
        ending = None if inference is None else self._auditor.endings.get(inference)
        held = inference is not None and inference in self._auditor.holds
        if held and ending is None:
            self._fail(seen, "its hold has no ending")
        if seen.charged is not None:
            self._check_charge(seen, ending, seen.charged)
        elif seen.done and (ending is None or ending.kind != "settle"):
            self._fail(seen, f"its answer was complete, the books say {_say(ending)}")
        if (code := seen.error_code) is not None:
            self._check_error(seen, ending, code, held=held)
        if ending is not None and ending.kind == "settle":
            self._check_tokens(seen, ending)
        if seen.ask.key is not None:
            self._check_key(seen)

    def _check_key(self, seen: Seen) -> None:
        """Who asks with a key is served once; again they are told of the first call, with its answer or its cost."""
        for wrong in self._auditor.claims.judge(seen):
            self._fail(seen, wrong)
        if (charged := seen.charged_before) is not None:
            first = self._auditor.endings.get(seen.named)
            if first is None or first.kind == "void" or first.charged != charged:
                self._fail(seen, f"it was told that {seen.named} had cost {charged}, the books say {_say(first)}")

    def _check_charge(self, seen: Seen, ending: Entry | None, charged: int) -> None:
        """What a caller was told that it was charged is in the books, to the last pico-dollar."""
        if ending is None or ending.kind != "settle" or ending.charged != charged:
            self._fail(seen, f"it was told a charge of {charged}, the books say {_say(ending)}")

    def _check_error(self, seen: Seen, ending: Entry | None, code: str, *, held: bool) -> None:
        """Who was told of an error without a charge was not charged, unless that could not be known."""
        if code == "internal_error":
            self._fail(seen, "the gateway made a mistake")
        elif code in NEVER_HELD and held:
            self._fail(seen, f"it was refused as {code}, but there is a hold")
        elif code not in UNCERTAIN and seen.charged is None and ending is not None and ending.kind != "void":
            self._fail(seen, f"it was told {code}, the books say {_say(ending)}")

    def _check_tokens(self, seen: Seen, ending: Entry) -> None:
        """A charge is for tokens that the node has made; a complete answer's is for exactly those."""
        sent = self._auditor.sent[ending.inference or ""]
        *others, _ = sent
        truths = [truth for each in sent if (truth := self._find_truth(each)) is not None]
        for number, each in enumerate(sent):
            came = each.completion_tokens or 0
            if number == len(others):  # the ending, which tells the tokens of all parts
                came -= sum(other.completion_tokens or 0 for other in others)
            # Without a truth it was sent and nothing came: only its prompt is charged.
            if (came or seen.done) and self._find_truth(each) is None:
                self._fail(seen, "it was charged for what no node has ever seen")
        if not truths or not self._honest or any(each.upstream != "signed" for each in sent):
            return
        completion = ending.completion_tokens or 0
        made = (sum(truth.prompt_tokens for truth in truths), sum(truth.completion_tokens for truth in truths))
        finished = all(truth.ended is not None for truth in truths)
        if finished and completion > made[1]:
            self._fail(seen, f"charged for {completion} tokens, the nodes made {made[1]}")
        if completion < (shown := _count_shown(seen)):
            self._fail(seen, f"charged for {completion} tokens, the caller was shown {shown}")
        if seen.done:
            charged = (ending.prompt_tokens, completion)
            if charged != made or ending.flags & ESTIMATED:
                self._fail(seen, f"charged for {charged}, the chain has {truths}")

    def _find_truth(self, ending: Entry) -> Inference | None:
        """Return the chain's record of the sending that an ending ends."""
        reference = (ending.upstream_reference or "").partition("@")[0]  # without the escrow that paid
        if ending.upstream == "signed":
            return self._chain.inferences.get(reference)
        return next((known for known in self._chain.inferences.values() if known.request_id == reference), None)

    def _fail(self, seen: Seen, what: str) -> None:
        self._auditor.fail(f"call {seen.ask.number} ({seen.inference}): {what}")


def _count_shown(seen: Seen) -> int:
    """Return how many tokens a caller of a stream was shown: devnet's frames have one each."""
    if not seen.ask.streamed:
        return 0
    choices = (choice for event in seen.events for choice in event.get("choices", ()))
    return sum(1 for choice in choices if choice.get("text") or choice.get("delta", {}).get("content"))


def _say(ending: Entry | None) -> str:
    return "nothing" if ending is None else f"{ending.kind} of {ending.charged}"
