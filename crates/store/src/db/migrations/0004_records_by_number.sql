-- A record's number is its row: keeping a record touches two trees less, and its values two more. Copies the log once, in the
-- order of the index it has, so that nothing is sorted: for that time it takes the disk space of one more.
ALTER TABLE sides RENAME TO old_sides;
ALTER TABLE records RENAME TO old_records;
DROP INDEX records_by_id;
DROP INDEX sides_by_until;

CREATE TABLE records (
    idx       INTEGER PRIMARY KEY,
    tenant    TEXT NOT NULL,
    record_id TEXT NOT NULL,
    leaf_hash BLOB NOT NULL,
    bytes     BLOB NOT NULL
);
INSERT INTO records (idx, tenant, record_id, leaf_hash, bytes)
    SELECT idx, tenant, record_id, leaf_hash, bytes FROM old_records ORDER BY tenant, idx;
CREATE UNIQUE INDEX records_by_id ON records (record_id);

-- What records only commit to; kept apart so that it can be erased. `until_s` is null once the values are destroyed.
CREATE TABLE sides (
    idx     INTEGER PRIMARY KEY,
    tenant  TEXT NOT NULL,
    body    BLOB NOT NULL,
    until_s INTEGER
);
INSERT INTO sides (idx, tenant, body, until_s) SELECT idx, tenant, body, until_s FROM old_sides ORDER BY tenant, idx;
CREATE INDEX sides_by_until ON sides (until_s) WHERE until_s IS NOT NULL;

DROP TABLE old_sides;
DROP TABLE old_records;
