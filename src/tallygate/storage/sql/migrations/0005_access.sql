-- From store version 4 to 5: what keys and accounts may do. What is there already may do everything.

ALTER TABLE accounts ADD COLUMN suspended INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN limits TEXT;

ALTER TABLE keys ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN expires_ns INTEGER;
ALTER TABLE keys ADD COLUMN models TEXT;
ALTER TABLE keys ADD COLUMN limits TEXT;
ALTER TABLE keys ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN former_digest BLOB;
ALTER TABLE keys ADD COLUMN former_until_ns INTEGER;
