"""The proof of the books, apart from the books: it trusts nothing but the bytes of headers and entries.

`audit` takes the history from its beginning, `stretch` a part of it with an unknown start, both by `replay`; `rules`
looks at one entry's postings, `inferences` replays holds and endings, `figures` counts, and what is wrong is told by
promise (`problems`, `report`).
"""
