-- What a store of version 1 was, byte for byte: what is here never changes.

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
    sequence    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE open_holds (
    inference  TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id          TEXT PRIMARY KEY,
    account     TEXT NOT NULL,
    name        TEXT NOT NULL,
    digest      BLOB NOT NULL UNIQUE,   -- HMAC-SHA-256 of the secret's SHA-256, under the pepper
    masked      TEXT NOT NULL,
    created_ns  INTEGER NOT NULL,
    revoked_ns  INTEGER
) STRICT, WITHOUT ROWID;
