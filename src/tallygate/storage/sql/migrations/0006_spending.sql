-- From store version 5 to 6: what keys have spent, for their limits. It is counted from the entries in the same step.

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
