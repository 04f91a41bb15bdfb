-- From store version 1 to 2: idempotency keys, and events for the operator.

-- What an `Idempotency-Key` stands for, for 24 hours. Neither the key nor the request is kept, only keyed digests.
CREATE TABLE idempotency (
    digest      BLOB PRIMARY KEY,   -- of account, API key, route and the caller's key
    request     BLOB NOT NULL,      -- of the request itself: another one under the same key is refused
    subject     TEXT NOT NULL,      -- the inference, or the entry of an operator's act
    created_ns  INTEGER NOT NULL,
    picousd     INTEGER             -- what it came to; NULL while it is under way
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_under_way ON idempotency (subject) WHERE picousd IS NULL;
CREATE INDEX idempotency_by_age    ON idempotency (created_ns);

-- What the operator's webhook has still to be told; a row goes when it has been delivered or given up.
CREATE TABLE events (
    id          TEXT PRIMARY KEY,
    created_ns  INTEGER NOT NULL,
    body        TEXT NOT NULL       -- JSON, as it is sent
) STRICT, WITHOUT ROWID;
