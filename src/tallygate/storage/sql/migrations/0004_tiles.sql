-- From store version 3 to 4: what a checkpoint and a receipt need besides the books. The next start counts it up.

-- One row for every 256 batches, so that neither has to read the whole history.
CREATE TABLE tiles (
    number    INTEGER PRIMARY KEY,   -- from 1; tile n ends with batch 256 * n
    root      BLOB NOT NULL,         -- over the leaves of its batches
    position  INTEGER NOT NULL,      -- of its last entry
    totals    BLOB NOT NULL          -- of the classes that no customer owns, after its last batch; MessagePack
) STRICT;
