-- Whose a row is, as the pseudonym of the chain's origin: what an erasure deletes. Bodies and payloads are sealed under
-- the keys of those they are about; see keys.db.
ALTER TABLE codes ADD COLUMN subject TEXT;
ALTER TABLE families ADD COLUMN subject TEXT;
ALTER TABLE tokens ADD COLUMN subject TEXT;
CREATE INDEX codes_by_subject ON codes (tenant, subject);
CREATE INDEX families_by_subject ON families (tenant, subject);
CREATE INDEX tokens_by_subject ON tokens (tenant, subject);

-- When the values of a record are destroyed; null once they are.
ALTER TABLE sides ADD COLUMN until_s INTEGER;
CREATE INDEX sides_by_until ON sides (tenant, until_s) WHERE until_s IS NOT NULL;

-- Subjects whose values nobody may destroy, by pseudonym.
CREATE TABLE holds (
    tenant      TEXT NOT NULL,
    subject_ref TEXT NOT NULL,
    basis       TEXT NOT NULL,
    since_s     INTEGER NOT NULL,
    PRIMARY KEY (tenant, subject_ref)
) WITHOUT ROWID;

-- Every erasure that was recorded; `done` follows the destruction of the keys. Kept for ever: keys that come back with an
-- old backup are destroyed again.
CREATE TABLE erasures (
    tenant      TEXT NOT NULL,
    id          TEXT NOT NULL,
    subject_ref TEXT NOT NULL,
    key_ids     TEXT NOT NULL,
    done        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
