-- Sessions that were open at the last heartbeat, with their counts; `meta.sessions_upto` says which records they count.
CREATE TABLE sessions (
    tenant TEXT NOT NULL,
    id     TEXT NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
