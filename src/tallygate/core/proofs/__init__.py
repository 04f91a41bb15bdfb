"""What can be proved to somebody who has only a public key.

A `checkpoint` signs the heads of the books, their `totals` and the root over all `balances`; a `receipt` leads from an
inference's entries to a checkpoint, `story` tells what they say, `verdict` checks them; `anchoring` holds the books
against checkpoints that were kept elsewhere.
"""
