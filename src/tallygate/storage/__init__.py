"""Where the books live.

`embedded` keeps balances in memory and is the ledger and the keyring of one process; it writes through a `journal`
(`memory` for tests and trials, `sqlite` for keeps), many entries to a commit (`group_commit`). `claims` and `outbox`
are what it keeps beside the books. `replay` proves a file, `proofs` signs what is durable, `keeping` copies and moves.
"""
