-- What a snapshot shows, whatever it is, in one table: loading, committing and following are the same rows. A body is JSON
-- with its version first. A row that is gone keeps its key, its revision and no body until `until_s`, so that whoever follows
-- hears of it; `heads.min_revision` says from where on all of these are still there. `until_s` of a row that is not gone is when
-- it may be forgotten, which changes no meaning.
CREATE TABLE world (
    tenant   TEXT NOT NULL,
    kind     TEXT NOT NULL,
    key      TEXT NOT NULL,
    body     TEXT,
    revision INTEGER NOT NULL,
    until_s  INTEGER,
    PRIMARY KEY (tenant, kind, key)
);

INSERT INTO world (tenant, kind, key, body, revision)
    SELECT tenant, 'agent', name, CASE WHEN body LIKE '{"%' THEN '{"v":1,' || substr(body, 2) ELSE body END, revision FROM agents;
INSERT INTO world (tenant, kind, key, body, revision)
    SELECT tenant, 'human', name, CASE WHEN body LIKE '{"%' THEN '{"v":1,' || substr(body, 2) ELSE body END, revision FROM humans;
INSERT INTO world (tenant, kind, key, body, revision, until_s)
    SELECT tenant, CASE kind WHEN 'jti' THEN 'revoked_token' WHEN 'txn' THEN 'revoked_chain' ELSE 'revoked_family' END,
        key, '{"v":1}', revision, until_s FROM revocations;
INSERT INTO world (tenant, kind, key, body, revision)
    SELECT tenant, 'hold', subject_ref, json_object('v', 1, 'basis', basis, 'since', since_s), 0 FROM holds;

CREATE INDEX world_by_revision ON world (tenant, revision);
CREATE INDEX world_by_until ON world (tenant, until_s) WHERE until_s IS NOT NULL;

CREATE TABLE heads (
    tenant       TEXT NOT NULL PRIMARY KEY,
    revision     INTEGER NOT NULL,
    min_revision INTEGER NOT NULL
) WITHOUT ROWID;
-- What was deleted before left no tombstone: whoever saw an older revision loads everything.
INSERT INTO heads (tenant, revision, min_revision)
    SELECT tenant, CAST(value AS INTEGER), CAST(value AS INTEGER) FROM meta WHERE name = 'revision';
DELETE FROM meta WHERE name = 'revision';

DROP TABLE agents;
DROP TABLE humans;
DROP TABLE revocations;
DROP TABLE holds;

-- Several logs share the tables of records: `place` is the number of the log times 2^40, plus the index in it. The log that
-- is there already is number 0, so that its rows stay where they are. A key of tenant and index would be a second tree for
-- each table, written with every commit.
CREATE TABLE logs (
    tenant TEXT NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE
) WITHOUT ROWID;
INSERT INTO logs (tenant, number) SELECT tenant, 0 FROM records LIMIT 1;

DROP INDEX records_by_id;
DROP INDEX sides_by_until;
ALTER TABLE records RENAME COLUMN idx TO place;
ALTER TABLE sides RENAME COLUMN idx TO place;
CREATE UNIQUE INDEX records_by_id ON records (tenant, record_id);
CREATE INDEX sides_by_until ON sides (tenant, until_s) WHERE until_s IS NOT NULL;
