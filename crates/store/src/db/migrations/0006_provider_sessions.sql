-- What identity providers can be asked with whether their people may still act: one row for each person, sealed under their key.
CREATE TABLE provider_sessions (
    tenant  TEXT NOT NULL,
    human   TEXT NOT NULL,
    payload TEXT NOT NULL,
    until_s INTEGER NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (tenant, human)
);
CREATE INDEX provider_sessions_by_until ON provider_sessions (tenant, until_s);
CREATE INDEX provider_sessions_by_subject ON provider_sessions (tenant, subject);
