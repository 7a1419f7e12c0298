-- Every table carries its tenant. Times ending in _s are Unix seconds. Bodies are JSON.

CREATE TABLE meta (
    tenant TEXT NOT NULL,
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

-- What a snapshot shows. `revision` is the batch that last touched the row, so that a replica can follow.
CREATE TABLE agents (
    tenant   TEXT NOT NULL,
    name     TEXT NOT NULL,
    body     TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
);
CREATE INDEX agents_by_revision ON agents (tenant, revision);

CREATE TABLE humans (
    tenant   TEXT NOT NULL,
    name     TEXT NOT NULL,
    body     TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
);
CREATE INDEX humans_by_revision ON humans (tenant, revision);

CREATE TABLE revocations (
    tenant   TEXT NOT NULL,
    kind     TEXT NOT NULL,
    key      TEXT NOT NULL,
    until_s  INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, key)
) WITHOUT ROWID;
CREATE INDEX revocations_by_revision ON revocations (tenant, revision);
CREATE INDEX revocations_by_until ON revocations (tenant, until_s);

-- Codes and refresh tokens are known by a keyed hash only.
CREATE TABLE codes (
    tenant    TEXT NOT NULL,
    hash      BLOB NOT NULL,
    client    TEXT NOT NULL,
    payload   TEXT NOT NULL,
    until_s   INTEGER NOT NULL,
    used_txn  TEXT,
    failures  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, hash)
);
CREATE INDEX codes_by_until ON codes (tenant, until_s);

CREATE TABLE families (
    tenant     TEXT NOT NULL,
    family     TEXT NOT NULL,
    generation INTEGER NOT NULL,
    revoked    INTEGER NOT NULL DEFAULT 0,
    until_s    INTEGER NOT NULL,
    PRIMARY KEY (tenant, family)
) WITHOUT ROWID;
CREATE INDEX families_by_until ON families (tenant, until_s);

CREATE TABLE refresh_tokens (
    tenant     TEXT NOT NULL,
    hash       BLOB NOT NULL,
    family     TEXT NOT NULL,
    generation INTEGER NOT NULL,
    client     TEXT NOT NULL,
    jkt        TEXT NOT NULL,
    payload    TEXT NOT NULL,
    until_s    INTEGER NOT NULL,
    PRIMARY KEY (tenant, hash),
    FOREIGN KEY (tenant, family) REFERENCES families (tenant, family) ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (tenant, family);

CREATE TABLE tokens (
    tenant  TEXT NOT NULL,
    jti     TEXT NOT NULL,
    txn     TEXT NOT NULL,
    body    TEXT NOT NULL,
    until_s INTEGER NOT NULL,
    PRIMARY KEY (tenant, jti)
);
CREATE INDEX tokens_by_until ON tokens (tenant, until_s);

CREATE TABLE jtis (
    tenant  TEXT NOT NULL,
    kind    TEXT NOT NULL,
    key     TEXT NOT NULL,
    until_s INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, key)
) WITHOUT ROWID;
CREATE INDEX jtis_by_until ON jtis (tenant, until_s);

-- `until_s` null: never forgotten.
CREATE TABLE budgets (
    tenant  TEXT NOT NULL,
    key     TEXT NOT NULL,
    spent   INTEGER NOT NULL,
    until_s INTEGER,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE INDEX budgets_by_until ON budgets (tenant, until_s) WHERE until_s IS NOT NULL;

-- Pinned bytes, named by the hex of their SHA-256. `published` follows the file in the ledger directory.
CREATE TABLE objects (
    tenant    TEXT NOT NULL,
    sha256    TEXT NOT NULL,
    bytes     BLOB NOT NULL,
    published INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, sha256)
);
CREATE INDEX objects_unpublished ON objects (tenant) WHERE published = 0;

-- The log. `idx` is gapless from 0.
CREATE TABLE records (
    tenant    TEXT NOT NULL,
    idx       INTEGER NOT NULL,
    record_id TEXT NOT NULL,
    leaf_hash BLOB NOT NULL,
    bytes     BLOB NOT NULL,
    PRIMARY KEY (tenant, idx)
);
CREATE UNIQUE INDEX records_by_id ON records (tenant, record_id);

-- What records only commit to; kept apart so that it can be erased.
CREATE TABLE sides (
    tenant TEXT NOT NULL,
    idx    INTEGER NOT NULL,
    body   BLOB NOT NULL,
    PRIMARY KEY (tenant, idx),
    FOREIGN KEY (tenant, idx) REFERENCES records (tenant, idx)
);

-- The newest heads that were signed: what the ledger directory is compared with at start (LG-17).
CREATE TABLE checkpoints (
    tenant TEXT NOT NULL,
    size   INTEGER NOT NULL,
    root   BLOB NOT NULL,
    PRIMARY KEY (tenant, size)
) WITHOUT ROWID;
