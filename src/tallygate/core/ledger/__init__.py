"""The books, from the bytes of one event to the proof that all of them add up.

`entry` is one event and its bytes, `batch` seals what one commit writes, `books` says who may move what (`records`
and `postings` are its nouns), `audit` proves all of it: by `replay`, in order or by the `stretch`, for a `report`.
"""
