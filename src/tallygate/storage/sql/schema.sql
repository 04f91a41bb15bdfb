-- The store of one installation on SQLite. `entries` and `batches` are the books and only ever grow; the other
-- tables are what can be computed from them (kept for a quick start, compared by `verify`) or is not money.

CREATE TABLE installation (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    writer    BLOB NOT NULL,      -- 16 bytes: who writes here
    epoch     INTEGER NOT NULL,   -- this start; grows by one each time
    sequence  INTEGER NOT NULL,   -- of the last batch
    head      BLOB NOT NULL       -- header hash of the last batch
) STRICT;

CREATE TABLE batches (
    sequence  INTEGER PRIMARY KEY,
    header    BLOB NOT NULL
) STRICT;

-- `slot` names an entry's place in its inference (one hold, one ending, one beginning and one end per sending),
-- so that the unique index refuses a second ending whoever asks for it.
CREATE TABLE entries (
    position          INTEGER PRIMARY KEY,
    batch             INTEGER NOT NULL,
    bytes             BLOB NOT NULL,
    kind              TEXT NOT NULL,
    account           TEXT,
    account_sequence  INTEGER,
    inference         TEXT,
    slot              TEXT,
    reference         TEXT
) STRICT;

CREATE UNIQUE INDEX entries_by_account   ON entries (account, account_sequence) WHERE account IS NOT NULL;
CREATE UNIQUE INDEX entries_by_inference ON entries (inference, slot) WHERE inference IS NOT NULL;
CREATE UNIQUE INDEX entries_by_reference ON entries (account, reference) WHERE reference IS NOT NULL;
CREATE INDEX entries_of_sheets ON entries (position) WHERE kind = 'sheet';

CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_never_go     BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER batches_never_change BEFORE UPDATE ON batches BEGIN SELECT RAISE(ABORT, 'batches are append-only'); END;
CREATE TRIGGER batches_never_go     BEFORE DELETE ON batches BEGIN SELECT RAISE(ABORT, 'batches are append-only'); END;

-- Amounts here are pico-dollars, at most 10^18: no sum is ever made in SQL.
CREATE TABLE accounts (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    created_ns  INTEGER NOT NULL,
    available   INTEGER NOT NULL,
    held        INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    suspended   INTEGER NOT NULL DEFAULT 0,
    limits      TEXT                        -- JSON, by name, of those that there are; NULL where there are none
) STRICT, WITHOUT ROWID;

CREATE TABLE open_holds (
    inference  TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- What each key has spent: on the last day on which it spent anything, in the last such month, and ever. A charge counts
-- on the day on which its money was set aside. Amounts are pico-dollars in decimal, since sums over years have no bound.
CREATE TABLE key_spending (
    account   TEXT NOT NULL,
    key       TEXT NOT NULL,
    day       INTEGER NOT NULL,   -- since 1970-01-01 (UTC)
    of_day    TEXT NOT NULL,
    month     INTEGER NOT NULL,   -- since 1970-01
    of_month  TEXT NOT NULL,
    total     TEXT NOT NULL,
    PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id          TEXT PRIMARY KEY,
    account     TEXT NOT NULL,
    name        TEXT NOT NULL,
    digest      BLOB NOT NULL UNIQUE,   -- HMAC-SHA-256 of the secret's SHA-256, under the pepper
    masked      TEXT NOT NULL,
    created_ns  INTEGER NOT NULL,
    revoked_ns  INTEGER,
    paused      INTEGER NOT NULL DEFAULT 0,
    expires_ns  INTEGER,
    models      TEXT,                       -- JSON, the ids of those that it may ask for; NULL where it may ask for all
    limits      TEXT,                       -- as of an account
    imported    INTEGER NOT NULL DEFAULT 0, -- whether a secret of it was made elsewhere
    former_digest   BLOB,                   -- of the secret before the last rotation, while that still works
    former_until_ns INTEGER
) STRICT, WITHOUT ROWID;

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

-- What the next start has to note in the books before anything else: that this store was restored, or loaded.
CREATE TABLE pending_notes (
    reason  TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- One row for every 256 batches, so that neither has to read the whole history.
CREATE TABLE tiles (
    number    INTEGER PRIMARY KEY,   -- from 1; tile n ends with batch 256 * n
    root      BLOB NOT NULL,         -- over the leaves of its batches
    position  INTEGER NOT NULL,      -- of its last entry
    totals    BLOB NOT NULL          -- of the classes that no customer owns, after its last batch; MessagePack
) STRICT;
