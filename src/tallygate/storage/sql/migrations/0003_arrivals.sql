-- What the next start has to note in the books before anything else: that this store was restored, or loaded.
CREATE TABLE pending_notes (
    reason  TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
