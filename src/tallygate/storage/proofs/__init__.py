"""Proofs of a store: `archive` reads what is durable, `tiles` spare it the history, `anchors` keep checkpoints outside.

`embedded` makes checkpoints, receipts and balance proofs; `anchor_check` and `lost_tail` find what the store has lost.
"""
