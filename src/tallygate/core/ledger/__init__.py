"""The books: who may move what, and the bytes that say so.

`entry` is one event and its bytes, `batch` seals what one commit writes (over the tree of `merkle`), `books` holds the
rules (`records` and `postings` are their nouns, `affording`, `expiry` and `restoring` parts of them). `statement` and
`reconciliation` read entries back for people. What proves the books shares no rule with them, and is elsewhere.
"""
