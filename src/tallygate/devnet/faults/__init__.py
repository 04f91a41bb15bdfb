"""Everything that a host can be told to do wrong, one small class each.

A fault acts at one of two points: on a call's arrival, before anything is checked (`arrival`), or on its answer, after
all was checked and while the inference runs (`answer`, `usage`, `wire`). To add one, write a class and list it at the
end of its file. No fault touches the chain: what an inference costs stays true whatever its client was shown.

Two act elsewhere: a classic node's 400 and 422 in its engine's words come after all checks, since there the node
records an inference, of one prompt token (`node`); `slow_tls` meets a connection, before there is any call (`server`).
"""

from tallygate.devnet.faults.answer import AnswerFault
from tallygate.devnet.faults.arrival import ARRIVAL_FAULTS, ArrivalFault
from tallygate.devnet.faults.book import ANSWER_FAULTS, FAULT_NAMES, FaultBook, Visit
from tallygate.devnet.faults.fault import Fault, FaultReply, Passage
from tallygate.devnet.faults.order import FAULT_STATUSES, REDIRECTS, FaultOrder

__all__ = [
    "ANSWER_FAULTS",
    "ARRIVAL_FAULTS",
    "FAULT_NAMES",
    "FAULT_STATUSES",
    "REDIRECTS",
    "AnswerFault",
    "ArrivalFault",
    "Fault",
    "FaultBook",
    "FaultOrder",
    "FaultReply",
    "Passage",
    "Visit",
]
