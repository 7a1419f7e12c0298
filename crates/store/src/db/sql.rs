//! The statements that every engine understands. Parameters are numbered in the order of their first use, because SQLite
//! takes `$1` for a name and counts those.

pub(super) const PUT_META: &str = "INSERT INTO meta (tenant, name, value) VALUES ($1, $2, $3)
    ON CONFLICT (tenant, name) DO UPDATE SET value = excluded.value";
pub(super) const META: &str = "SELECT value FROM meta WHERE tenant = $1 AND name = $2";

pub(super) const HEAD: &str = "SELECT revision, min_revision FROM heads WHERE tenant = $1";
pub(super) const NEW_HEAD: &str =
    "INSERT INTO heads (tenant, revision, min_revision) VALUES ($1, 0, 0) ON CONFLICT (tenant) DO NOTHING";
pub(super) const MOVE_HEAD: &str = "UPDATE heads SET revision = CASE WHEN revision < $1 THEN $1 ELSE revision END,
    min_revision = CASE WHEN min_revision < $2 THEN $2 ELSE min_revision END WHERE tenant = $3";

pub(super) const WORLD: &str = "SELECT kind, key, body, revision, until_s FROM world WHERE tenant = $1 AND body IS NOT NULL";
pub(super) const WORLD_SINCE: &str =
    "SELECT kind, key, body, revision, until_s FROM world WHERE tenant = $1 AND revision > $2 ORDER BY revision";
pub(super) const PUT_WORLD: &str =
    "INSERT INTO world (tenant, kind, key, body, revision, until_s) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (tenant, kind, key)
    DO UPDATE SET body = excluded.body, revision = excluded.revision, until_s = excluded.until_s";
pub(super) const DELETE_WORLD: &str = "DELETE FROM world WHERE tenant = $1 AND kind = $2 AND key = $3";
pub(super) const EXPIRED_WORLD: &str = "DELETE FROM world WHERE (tenant, kind, key) IN
    (SELECT tenant, kind, key FROM world WHERE tenant = $1 AND until_s < $2 LIMIT $3)
    RETURNING kind, key, body, revision, until_s";

pub(super) const ONCE: &str = "INSERT INTO jtis (tenant, kind, key, until_s) VALUES ($1, $2, $3, $4)";
pub(super) const KNOWS_ONCE: &str = "SELECT 1 FROM jtis WHERE tenant = $1 AND kind = $2 AND key = $3";

pub(super) const BUDGET: &str = "SELECT spent, until_s FROM budgets WHERE tenant = $1 AND key = $2";
pub(super) const PUT_BUDGET: &str = "INSERT INTO budgets (tenant, key, spent, until_s) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant, key) DO UPDATE SET spent = excluded.spent, until_s = excluded.until_s";

pub(super) const CODE: &str = "SELECT client, payload, until_s, used_txn, failures FROM codes WHERE tenant = $1 AND hash = $2";
pub(super) const PUT_CODE: &str =
    "INSERT INTO codes (tenant, hash, client, payload, until_s, subject) VALUES ($1, $2, $3, $4, $5, $6)";
pub(super) const USE_CODE: &str = "UPDATE codes SET used_txn = $1 WHERE tenant = $2 AND hash = $3";
pub(super) const FAIL_CODE: &str = "UPDATE codes SET failures = failures + $1 WHERE tenant = $2 AND hash = $3";

pub(super) const FAMILY: &str = "SELECT generation, revoked, until_s FROM families WHERE tenant = $1 AND family = $2";
pub(super) const PUT_FAMILY: &str =
    "INSERT INTO families (tenant, family, generation, until_s, subject) VALUES ($1, $2, 0, $3, $4)";
pub(super) const ROTATE_FAMILY: &str = "UPDATE families SET generation = $1, until_s = $2 WHERE tenant = $3 AND family = $4";
pub(super) const REVOKE_FAMILY: &str = "UPDATE families SET revoked = 1 WHERE tenant = $1 AND family = $2";

pub(super) const REFRESH: &str =
    "SELECT t.family, t.client, t.jkt, t.payload, t.until_s, t.generation, f.generation, f.revoked, f.until_s
    FROM refresh_tokens AS t JOIN families AS f ON f.tenant = t.tenant AND f.family = t.family
    WHERE t.tenant = $1 AND t.hash = $2";
pub(super) const PUT_REFRESH: &str =
    "INSERT INTO refresh_tokens (tenant, hash, family, generation, client, jkt, payload, until_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

pub(super) const TOKEN: &str = "SELECT body FROM tokens WHERE tenant = $1 AND jti = $2";
pub(super) const PUT_TOKEN: &str =
    "INSERT INTO tokens (tenant, jti, txn, body, until_s, subject) VALUES ($1, $2, $3, $4, $5, $6)";

pub(super) const PROVIDER_SESSION: &str = "SELECT payload, until_s FROM provider_sessions WHERE tenant = $1 AND human = $2";
pub(super) const PUT_PROVIDER_SESSION: &str =
    "INSERT INTO provider_sessions (tenant, human, payload, until_s, subject) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (tenant, human) DO UPDATE SET payload = excluded.payload, until_s = excluded.until_s, subject = excluded.subject";
pub(super) const DROP_PROVIDER_SESSION: &str = "DELETE FROM provider_sessions WHERE tenant = $1 AND human = $2";
/// With whether something that the person handed out can still act.
pub(super) const PROVIDER_SESSIONS: &str = "SELECT s.human, s.payload, s.until_s,
    EXISTS (SELECT 1 FROM tokens AS t WHERE t.tenant = s.tenant AND t.subject = s.subject AND t.until_s >= $1)
    OR EXISTS (SELECT 1 FROM families AS f WHERE f.tenant = s.tenant AND f.subject = s.subject AND f.until_s >= $1)
    OR EXISTS (SELECT 1 FROM codes AS c WHERE c.tenant = s.tenant AND c.subject = s.subject AND c.until_s >= $1)
    FROM provider_sessions AS s WHERE s.tenant = $2 AND s.until_s >= $1";

pub(super) const CHAINS: &str = "SELECT txn, max(until_s) FROM
    (SELECT txn, until_s FROM tokens WHERE tenant = $1 AND subject = $2
     UNION ALL SELECT family, until_s FROM families WHERE tenant = $1 AND subject = $2) AS chains GROUP BY txn ORDER BY txn";
pub(super) const FORGET: [&str; 4] = [
    "DELETE FROM tokens WHERE tenant = $1 AND subject = $2",
    "DELETE FROM codes WHERE tenant = $1 AND subject = $2",
    "DELETE FROM families WHERE tenant = $1 AND subject = $2",
    "DELETE FROM provider_sessions WHERE tenant = $1 AND subject = $2",
];
/// An erasure that stopped half-way may be asked for again.
pub(super) const PUT_ERASURE: &str = "INSERT INTO erasures (tenant, id, subject_ref, key_ids) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant, id) DO UPDATE SET done = 0";
pub(super) const FINISH_ERASURE: &str = "UPDATE erasures SET done = 1 WHERE tenant = $1 AND id = $2";
pub(super) const ERASURES: &str = "SELECT id, subject_ref, key_ids, done FROM erasures WHERE tenant = $1";

pub(super) const OBJECT: &str = "SELECT bytes FROM objects WHERE tenant = $1 AND sha256 = $2";
pub(super) const PUT_OBJECT: &str =
    "INSERT INTO objects (tenant, sha256, bytes) VALUES ($1, $2, $3) ON CONFLICT (tenant, sha256) DO NOTHING";
pub(super) const NEW_OBJECTS: &str = "SELECT sha256, bytes FROM objects WHERE tenant = $1 AND published = 0";
pub(super) const OBJECT_PUBLISHED: &str = "UPDATE objects SET published = 1 WHERE tenant = $1 AND sha256 = $2";

pub(super) const SESSIONS: &str = "SELECT id, body FROM sessions WHERE tenant = $1";
pub(super) const PUT_SESSION: &str = "INSERT INTO sessions (tenant, id, body) VALUES ($1, $2, $3)
    ON CONFLICT (tenant, id) DO UPDATE SET body = excluded.body";
pub(super) const DELETE_SESSION: &str = "DELETE FROM sessions WHERE tenant = $1 AND id = $2";

pub(super) const PUT_CHECKPOINT: &str = "INSERT INTO checkpoints (tenant, size, root) VALUES ($1, $2, $3)
    ON CONFLICT (tenant, size) DO UPDATE SET root = excluded.root";
pub(super) const DROP_CHECKPOINTS: &str = "DELETE FROM checkpoints WHERE tenant = $1 AND size NOT IN
    (SELECT size FROM checkpoints WHERE tenant = $1 ORDER BY size DESC LIMIT $2)";
pub(super) const CHECKPOINT: &str = "SELECT root FROM checkpoints WHERE tenant = $1 AND size = $2";

/// All of them, so that an engine's tests can prepare each.
#[cfg(test)]
pub(super) const ALL: &[&str] = &[
    PUT_META,
    META,
    HEAD,
    NEW_HEAD,
    MOVE_HEAD,
    WORLD,
    WORLD_SINCE,
    PUT_WORLD,
    DELETE_WORLD,
    EXPIRED_WORLD,
    ONCE,
    KNOWS_ONCE,
    BUDGET,
    PUT_BUDGET,
    CODE,
    PUT_CODE,
    USE_CODE,
    FAIL_CODE,
    FAMILY,
    PUT_FAMILY,
    ROTATE_FAMILY,
    REVOKE_FAMILY,
    REFRESH,
    PUT_REFRESH,
    TOKEN,
    PUT_TOKEN,
    PROVIDER_SESSION,
    PUT_PROVIDER_SESSION,
    DROP_PROVIDER_SESSION,
    PROVIDER_SESSIONS,
    CHAINS,
    FORGET[0],
    FORGET[1],
    FORGET[2],
    FORGET[3],
    PUT_ERASURE,
    FINISH_ERASURE,
    ERASURES,
    OBJECT,
    PUT_OBJECT,
    NEW_OBJECTS,
    OBJECT_PUBLISHED,
    SESSIONS,
    PUT_SESSION,
    DELETE_SESSION,
    PUT_CHECKPOINT,
    DROP_CHECKPOINTS,
    CHECKPOINT,
];
