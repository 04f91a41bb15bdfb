-- name: begin_epoch
UPDATE installation SET epoch = epoch + 1 RETURNING writer, epoch, sequence, head;

-- name: create_installation
INSERT INTO installation (only_row, writer, epoch, sequence, head) VALUES (1, :writer, 0, 0, :head);

-- name: advance
-- Fails to touch a row when another process has taken the books over: then nothing of the batch is kept.
UPDATE installation SET sequence = :sequence, head = :head WHERE writer = :writer AND epoch = :epoch;

-- name: append_batch
INSERT INTO batches (sequence, header) VALUES (:sequence, :header);

-- name: append_entry
INSERT INTO entries (batch, bytes, kind, account, account_sequence, inference, slot, reference)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: open_account
INSERT INTO accounts (id, name, created_ns, available, held, sequence) VALUES (?, ?, ?, 0, 0, 0);

-- name: balance_account
UPDATE accounts SET available = ?, held = ?, sequence = ? WHERE id = ?;

-- name: open_hold
INSERT INTO open_holds (inference) VALUES (?);

-- name: end_hold
DELETE FROM open_holds WHERE inference = ?;

-- name: put_account_terms
UPDATE accounts SET suspended = ?, limits = ? WHERE id = ?;

-- name: put_key
INSERT INTO keys (id, account, name, masked, created_ns, revoked_ns, paused, expires_ns, models, limits, imported,
    digest, former_digest, former_until_ns)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, masked = excluded.masked, revoked_ns = excluded.revoked_ns, paused = excluded.paused,
    expires_ns = excluded.expires_ns, models = excluded.models, limits = excluded.limits, imported = excluded.imported,
    digest = excluded.digest, former_digest = excluded.former_digest, former_until_ns = excluded.former_until_ns;

-- name: put_spending
INSERT INTO key_spending (account, key, day, of_day, month, of_month, total) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account, key) DO UPDATE SET
    day = excluded.day, of_day = excluded.of_day, month = excluded.month, of_month = excluded.of_month,
    total = excluded.total;

-- name: all_spending
SELECT account, key, day, of_day, month, of_month, total FROM key_spending ORDER BY account, key;

-- name: keep_event
INSERT INTO events (id, created_ns, body) VALUES (?, ?, ?);

-- name: forget_event
DELETE FROM events WHERE id = ?;

-- name: all_events
SELECT id, created_ns, body FROM events ORDER BY created_ns, id;

-- name: take_claim
-- Touches no row where the key's call is under way, whoever asks for it; whether one that has ended is old enough to be
-- replaced is for the ledger to say.
INSERT INTO idempotency (digest, request, subject, created_ns, picousd) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET
    request = excluded.request, subject = excluded.subject, created_ns = excluded.created_ns, picousd = excluded.picousd
WHERE idempotency.picousd IS NOT NULL;

-- name: end_claim
UPDATE idempotency SET picousd = ? WHERE digest = ? AND picousd IS NULL;

-- name: free_claim
DELETE FROM idempotency WHERE digest = ?;

-- name: find_claim
SELECT digest, request, subject, created_ns, picousd FROM idempotency WHERE digest = ?;

-- name: claims_under_way
SELECT digest, request, subject, created_ns, picousd FROM idempotency WHERE picousd IS NULL ORDER BY subject;

-- name: all_claims
SELECT digest, request, subject, created_ns, picousd FROM idempotency ORDER BY created_ns, digest;

-- name: old_claims
SELECT digest FROM idempotency WHERE created_ns < ? AND picousd IS NOT NULL ORDER BY created_ns LIMIT ?;

-- name: all_accounts
SELECT id, name, created_ns, available, held, sequence, suspended, limits FROM accounts ORDER BY created_ns, id;

-- name: balances_by_id
SELECT id, available, held, sequence FROM accounts ORDER BY id;

-- name: all_keys
SELECT id, account, name, masked, created_ns, revoked_ns, paused, expires_ns, models, limits, imported,
    digest, former_digest, former_until_ns
FROM keys ORDER BY created_ns, id;

-- name: all_sheets
SELECT bytes FROM entries WHERE kind = 'sheet' ORDER BY position;

-- name: all_referenced_deposits
SELECT bytes FROM entries WHERE reference IS NOT NULL ORDER BY position;

-- name: open_hold_entries
SELECT e.bytes FROM open_holds AS h JOIN entries AS e ON e.inference = h.inference ORDER BY h.inference, e.position;

-- name: all_open_holds
SELECT inference FROM open_holds;

-- name: ends
SELECT (SELECT IFNULL(MAX(position), 0) FROM entries), (SELECT IFNULL(MAX(sequence), 0) FROM batches);

-- name: next_batch
-- The first entry of the first batch that begins after a position.
SELECT position, batch FROM entries
WHERE position > :after AND batch > (SELECT batch FROM entries WHERE position >= :after ORDER BY position LIMIT 1)
ORDER BY position LIMIT 1;

-- name: batches_of_span
SELECT sequence, header FROM batches WHERE sequence BETWEEN ? AND ? ORDER BY sequence;

-- name: entries_of_span
-- Texts are dear to fetch: where kind, slot and reference are as they are for most entries, the kind stands for all
-- three; an attempt's slot is its own.
SELECT batch, bytes, account, account_sequence, inference,
    CASE WHEN reference IS NULL AND inference IS NOT NULL
        AND slot = CASE kind WHEN 'hold' THEN 'hold' WHEN 'settle' THEN 'end' WHEN 'void' THEN 'end' END
    THEN kind WHEN reference IS NULL AND kind = 'attempt' THEN 'attempt ' || slot ELSE position END
FROM entries WHERE position BETWEEN ? AND ? ORDER BY position;

-- name: columns_of_entry
SELECT batch, bytes, kind, account, account_sequence, inference, slot, reference FROM entries WHERE position = ?;

-- name: sheets_by_position
SELECT position, bytes FROM entries WHERE kind = 'sheet' ORDER BY position;

-- name: sendings_after
-- A page of the entries that begin or end sendings, in their order.
SELECT position, bytes FROM entries
WHERE position > ? AND kind IN ('hold', 'attempt', 'settle', 'void', 'expire') ORDER BY position LIMIT ?;

-- name: all_batches
SELECT sequence, header FROM batches ORDER BY sequence;

-- name: all_entries
SELECT batch, bytes, kind, account, account_sequence, inference, slot, reference FROM entries ORDER BY position;

-- name: doubled_slots
-- The unique index makes this impossible, unless somebody has dropped it.
SELECT inference, slot FROM entries WHERE inference IS NOT NULL GROUP BY inference, slot HAVING COUNT(*) > 1 LIMIT 100;

-- name: head
SELECT writer, sequence, head FROM installation;

-- name: count_objects
SELECT COUNT(*) FROM sqlite_schema;

-- name: account
SELECT id, name, created_ns, available, held, sequence FROM accounts WHERE id = ?;

-- name: last_of_account
SELECT MAX(account_sequence) FROM entries WHERE account = ?;

-- name: entry_of_account
SELECT bytes FROM entries WHERE account = ? AND account_sequence = ?;

-- name: entries_of_account
SELECT account_sequence, bytes FROM entries
WHERE account = ? AND account_sequence > ? AND account_sequence <= ? ORDER BY account_sequence;

-- name: adopt
UPDATE installation SET epoch = :epoch, sequence = :sequence, head = :head;

-- name: leave_note
INSERT OR IGNORE INTO pending_notes (reason) VALUES (?);

-- name: all_pending_notes
SELECT reason FROM pending_notes ORDER BY reason;

-- name: drop_pending_note
DELETE FROM pending_notes WHERE reason = ?;

-- name: append_tile
INSERT INTO tiles (number, root, position, totals) VALUES (:number, :root, :position, :totals);

-- name: all_tiles
SELECT root, position, totals FROM tiles ORDER BY number;

-- name: last_tile
SELECT number, position, totals FROM tiles ORDER BY number DESC LIMIT 1;

-- name: entries_after
SELECT position, batch, bytes FROM entries WHERE position > ? ORDER BY position;

-- name: batches_of_span
SELECT sequence, header FROM batches WHERE sequence BETWEEN ? AND ? ORDER BY sequence;

-- name: entries_of_inference
SELECT position, batch, bytes FROM entries WHERE inference = ? ORDER BY position;

-- name: placed_sheets
SELECT position, batch, bytes FROM entries WHERE kind = 'sheet' ORDER BY position;

-- name: neighbours
-- All entries of one batch, given a span of positions that is sure to hold it.
SELECT position, bytes FROM entries WHERE position BETWEEN :first AND :last AND batch = :batch ORDER BY position;

-- name: identity
SELECT writer, epoch, sequence, head FROM installation;

-- name: entry_at
SELECT bytes FROM entries WHERE position = ?;

-- name: billing_of_span
-- The entries of a span that can charge or bill something.
SELECT bytes FROM entries
WHERE position > ? AND position <= ? AND kind IN ('attempt', 'settle', 'void', 'expire') ORDER BY position;

-- name: billing_of_account
SELECT bytes FROM entries
WHERE account = ? AND account_sequence > ? AND account_sequence <= ? AND kind IN ('settle', 'void', 'expire')
ORDER BY account_sequence;

-- name: last_holds_of_span
SELECT position, bytes FROM entries
WHERE position > ? AND position <= ? AND kind = 'hold' ORDER BY position DESC LIMIT ?;

-- name: last_holds_of_account
SELECT account_sequence, bytes FROM entries
WHERE account = ? AND account_sequence > ? AND account_sequence <= ? AND kind = 'hold'
ORDER BY account_sequence DESC LIMIT ?;

-- name: open_holds_of_span
SELECT e.position, e.bytes FROM open_holds AS h JOIN entries AS e ON e.inference = h.inference AND e.slot = 'hold'
WHERE e.position > ? AND e.position <= ? ORDER BY e.position DESC;

-- name: open_holds_of_account
SELECT e.account_sequence, e.bytes
FROM open_holds AS h JOIN entries AS e ON e.inference = h.inference AND e.slot = 'hold'
WHERE e.account = ? AND e.account_sequence > ? AND e.account_sequence <= ? ORDER BY e.account_sequence DESC;
