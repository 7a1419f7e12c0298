-- The keys of subjects, each wrapped by a key that is not in this file. A destroyed key leaves its name behind.
CREATE TABLE vault (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE keys (
    key_id      TEXT NOT NULL PRIMARY KEY,
    subject_ref TEXT NOT NULL,
    wrapped     BLOB,
    made_s      INTEGER NOT NULL,
    destroyed_s INTEGER
) WITHOUT ROWID;
CREATE UNIQUE INDEX keys_live ON keys (subject_ref) WHERE wrapped IS NOT NULL;
CREATE INDEX keys_by_subject ON keys (subject_ref);
