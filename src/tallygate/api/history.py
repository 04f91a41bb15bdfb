"""Past calls as the operator is shown them: exact decimal texts, times in ISO 8601 and UTC, ngonka as integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tallygate.api.statements import name_flags
from tallygate.api.usage import describe_tag
from tallygate.core.calendar import show_time
from tallygate.core.ledger import entry as e
from tallygate.core.ledger.margin import find_bills
from tallygate.core.money import format_usd

if TYPE_CHECKING:
    from tallygate.core.ledger.entry import Entry
    from tallygate.core.ledger.margin import MarginSums
    from tallygate.core.ledger.past import PastCall, PastSending


def describe_call(call: PastCall) -> dict[str, Any]:
    """Return an inference as a row of a list."""
    hold, ending, cost = call.hold, call.ending, call.cost
    last = call.sendings[-1].began if ending is None or ending.upstream is None else ending
    billed = sum(amount for amount, _ in call.bills.values())
    unpaid = sum(lost for _, lost in call.bills.values())
    return {
        "inference": hold.inference,
        "state": call.state,
        "account": hold.account,
        "api_key": hold.key_id,
        **describe_tag(hold.tag),
        "model": hold.model,
        "price_sheet": hold.sheet_version,
        "began": show_time(hold.time_ns),
        "ended": None if ending is None else show_time(ending.time_ns),
        "upstream": last.upstream,
        "node": last.node,
        "sendings": len(call.sendings),
        "prompt_tokens": None if ending is None else ending.prompt_tokens,
        "completion_tokens": None if ending is None else ending.completion_tokens,
        "held_usd": format_usd(call.held),
        "base_usd": format_usd(cost.base),
        "fee_usd": format_usd(cost.fee),
        "total_usd": format_usd(cost.total),
        "billed_ngonka": billed,
        "paid_ngonka": billed - unpaid,
        "unpaid_ngonka": unpaid,
        "flags": name_flags(call.flags),
        "reason": None if ending is None else ending.reason,
    }


def describe_whole(call: PastCall) -> dict[str, Any]:
    """Return all that the books have of an inference."""
    ending = call.ending
    loss = None if ending is None else ending.overrun_list_picousd
    return {
        **describe_call(call),
        "prompt_tokens_max": call.hold.prompt_tokens,
        "completion_tokens_max": call.hold.completion_tokens,
        "overrun_or_loss_ngonka": None if ending is None else ending.overrun_ngonka,
        "overrun_or_loss_list_usd": None if loss is None else format_usd(loss),
        "bills": [
            {"upstream": upstream, "billed_ngonka": billed, "paid_ngonka": billed - unpaid, "unpaid_ngonka": unpaid}
            for upstream, (billed, unpaid) in call.bills.items()
        ],
        "attempts": [_describe_sending(call, sending) for sending in call.sendings],
        "entries": [_describe_entry(this_id, entry) for this_id, entry in call.entries],
    }


def _describe_sending(call: PastCall, sending: PastSending) -> dict[str, Any]:
    began, ended = sending
    # An expiry has one bill for all sendings to an upstream, so nobody can tell that of each, nor its tokens.
    tokens = call.tokens_of(sending)
    return {
        "part": began.part,
        "try": began.try_,
        "upstream": began.upstream,
        "node": began.node,
        "reference": None if ended is None else ended.upstream_reference,
        "began": show_time(began.time_ns),
        "ended": None if ended is None else show_time(ended.time_ns),
        "prompt_tokens": None if tokens is None else tokens[0],
        "completion_tokens": None if tokens is None else tokens[1],
        "billed_ngonka": None if tokens is None or ended is None else sum(bill for _, bill, _ in find_bills(ended)),
    }


def _describe_entry(this_id: bytes, entry: Entry) -> dict[str, Any]:
    return {
        "id": this_id.hex(),
        "kind": entry.kind,
        "time": show_time(entry.time_ns),
        "sequence": entry.account_sequence,
        "part": entry.part,
        "try": entry.try_,
        "upstream": entry.upstream,
        "node": entry.node,
        "prompt_tokens": entry.prompt_tokens,
        "completion_tokens": entry.completion_tokens,
        "flags": name_flags(entry.flags),
        "reason": entry.reason,
        "postings": [
            {"account": name, "usd": format_usd(amount)} if book == e.USD else {"account": name, "ngonka": amount}
            for book, name, amount in entry.postings
        ],
    }


def describe_margin(sums: MarginSums, picousd_per_gnk: int | None) -> dict[str, Any]:
    """Return both books side by side, and as one in dollars if a rate is known."""
    charged = sums.base + sums.fee
    content = {
        "calls": sums.calls,
        "base_usd": format_usd(sums.base),
        "fee_usd": format_usd(sums.fee),
        "total_usd": format_usd(charged),
        "billed_ngonka": sums.paid + sums.unpaid,
        "paid_ngonka": sums.paid,
        "unpaid_ngonka": sums.unpaid,
        "overrun_ngonka": sums.overrun,
        "overrun_list_usd": format_usd(sums.overrun_list),
        "crash_ngonka": sums.crashed,
        "crash_list_usd": format_usd(sums.crashed_list),
    }
    if picousd_per_gnk is not None:
        cost = sums.price(picousd_per_gnk)
        content |= {"cost_usd": format_usd(cost), "margin_usd": format_usd(charged - cost)}
    return content
