//! Changes: one SQL statement or two each, and the same change in the next snapshot.

use crate::{
    batch::{Change, KeyedHash, Revocation, StoredCode, StoredRefresh, StoredToken},
    commit::erase,
    commit::group_commit::{Halt, Work},
    commit::preconditions,
    vault::{context, seal_row},
    world::snapshot::BLANK,
};
use remit_ledger::Hash;
use remit_model::{
    agent::{Agent, AgentStatus, Human},
    id::AgentId,
    time::UnixTime,
};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

impl Work {
    pub(crate) fn change(&mut self, conn: &Connection, change: &Change, now: UnixTime) -> Result<(), Halt> {
        let tenant = self.snapshot.tenant().as_str().to_owned();
        let tenant = tenant.as_str();
        match change {
            Change::PutAgent(agent) => self.put_agent(conn, agent.clone()),
            Change::SetAgentStatus { agent, status } => self.set_agent_status(conn, agent, *status),
            Change::PutHuman(human) => self.put_human(conn, human.clone()),
            Change::PutCode(code) => self.put_code(conn, code),
            Change::UseCode { code, txn } => {
                touch_code(conn, tenant, "UPDATE codes SET used_txn = ?3 WHERE tenant = ?1 AND hash = ?2", code, txn)
            }
            Change::FailCode(code) => {
                touch_code(conn, tenant, "UPDATE codes SET failures = failures + ?3 WHERE tenant = ?1 AND hash = ?2", code, "1")
            }
            Change::PutRefresh(refresh) => self.put_family(conn, refresh),
            Change::RotateRefresh { old, new } => self.rotate(conn, old, new),
            Change::IssueToken(token) => self.issue(conn, token),
            Change::Revoke { what, until } => self.revoke(conn, what, *until),
            Change::Spend { key, amount, until } => spend(conn, tenant, key, *amount, *until),
            Change::Erase(erasing) => self.erase(conn, erasing),
            Change::Erased { id } => erase::finish(conn, tenant, id),
            Change::Hold { subject_ref, basis } => self.hold(conn, subject_ref, basis, now),
            Change::Release { subject_ref } => self.release(conn, subject_ref),
            Change::PutObject(bytes) => put_object(conn, tenant, bytes),
        }
    }

    pub(crate) fn put_agent(&mut self, conn: &Connection, agent: Agent) -> Result<(), Halt> {
        let (revision, body) = (self.next_revision(), json(&agent)?);
        conn.prepare_cached(
            "INSERT INTO agents (tenant, name, body, revision) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (tenant, name) DO UPDATE SET body = excluded.body, revision = excluded.revision",
        )?
        .execute(params![self.snapshot.tenant().as_str(), agent.id.as_str(), body, revision])?;
        self.snapshot.put_agent(agent, &body);
        Ok(())
    }

    /// Leaves nothing of an agent's row, which cannot be read, but its name.
    pub(crate) fn blank_agent(&mut self, conn: &Connection, id: AgentId) -> Result<(), Halt> {
        let revision = self.next_revision();
        conn.prepare_cached("UPDATE agents SET body = ?3, revision = ?4 WHERE tenant = ?1 AND name = ?2")?.execute(params![
            self.tenant(),
            id.as_str(),
            BLANK,
            revision
        ])?;
        self.snapshot.put_blank(id);
        Ok(())
    }

    fn set_agent_status(&mut self, conn: &Connection, id: &AgentId, status: AgentStatus) -> Result<(), Halt> {
        let Some(agent) = self.snapshot.agent(id) else {
            return Err(Halt::invalid(format!("no agent is called `{id}`")));
        };
        let mut agent = Agent::clone(agent);
        agent.status = status;
        self.put_agent(conn, agent)
    }

    fn put_human(&mut self, conn: &Connection, human: Human) -> Result<(), Halt> {
        let revision = self.next_revision();
        conn.prepare_cached(
            "INSERT INTO humans (tenant, name, body, revision) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (tenant, name) DO UPDATE SET body = excluded.body, revision = excluded.revision",
        )?
        .execute(params![self.snapshot.tenant().as_str(), human.name, json(&human)?, revision])?;
        self.snapshot.put_human(human);
        Ok(())
    }

    pub(crate) fn revoke(&mut self, conn: &Connection, what: &Revocation, until: UnixTime) -> Result<(), Halt> {
        let revision = self.next_revision();
        let tenant = self.snapshot.tenant().as_str();
        if let Revocation::Family(family) = what {
            conn.prepare_cached("UPDATE families SET revoked = 1 WHERE tenant = ?1 AND family = ?2")?
                .execute(params![tenant, family])?;
        }
        let until = self.snapshot.revoked_until(what).map_or(until, |known| known.max(until));
        conn.prepare_cached(
            "INSERT INTO revocations (tenant, kind, key, until_s, revision) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (tenant, kind, key) DO UPDATE SET until_s = excluded.until_s, revision = excluded.revision",
        )?
        .execute(params![tenant, what.kind(), what.key(), until.0, revision])?;
        self.snapshot.revoke(what, until);
        Ok(())
    }

    fn put_code(&mut self, conn: &Connection, code: &StoredCode) -> Result<(), Halt> {
        let (subject, payload) = seal_row(self, &code.subject, &context::code(&code.hash), &(&code.subject, &code.payload))?;
        conn.prepare_cached(
            "INSERT INTO codes (tenant, hash, client, payload, until_s, subject) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![self.tenant(), code.hash, code.client, payload, code.expires.0, subject])?;
        Ok(())
    }

    fn put_family(&mut self, conn: &Connection, refresh: &StoredRefresh) -> Result<(), Halt> {
        let subject = self.vault.reference_of(&refresh.subject);
        conn.prepare_cached("INSERT INTO families (tenant, family, generation, until_s, subject) VALUES (?1, ?2, 0, ?3, ?4)")?
            .execute(params![self.tenant(), refresh.family, refresh.expires.0, subject])?;
        self.put_refresh(conn, refresh, 0)
    }

    fn rotate(&mut self, conn: &Connection, old: &KeyedHash, new: &StoredRefresh) -> Result<(), Halt> {
        let known: Option<(String, i64)> = conn
            .prepare_cached("SELECT family, generation FROM refresh_tokens WHERE tenant = ?1 AND hash = ?2")?
            .query_row(params![self.tenant(), old], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((family, generation)) = known.filter(|(family, _)| *family == new.family) else {
            return Err(Halt::invalid("the refresh token to rotate is not of this family"));
        };
        let generation = generation.saturating_add(1);
        conn.prepare_cached("UPDATE families SET generation = ?3, until_s = max(until_s, ?4) WHERE tenant = ?1 AND family = ?2")?
            .execute(params![self.tenant(), family, generation, new.expires.0])?;
        self.put_refresh(conn, new, generation)
    }

    fn put_refresh(&mut self, conn: &Connection, refresh: &StoredRefresh, generation: i64) -> Result<(), Halt> {
        let body = (&refresh.subject, &refresh.payload);
        let (_, payload) = seal_row(self, &refresh.subject, &context::refresh(&refresh.hash), &body)?;
        conn.prepare_cached(
            "INSERT INTO refresh_tokens (tenant, hash, family, generation, client, jkt, payload, until_s)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            self.tenant(),
            refresh.hash,
            refresh.family,
            generation,
            refresh.client,
            refresh.jkt,
            payload,
            refresh.expires.0
        ])?;
        Ok(())
    }

    fn issue(&mut self, conn: &Connection, token: &StoredToken) -> Result<(), Halt> {
        let (subject, body) = seal_row(self, &token.chain.root, &context::token(&token.jti), token)?;
        conn.prepare_cached("INSERT INTO tokens (tenant, jti, txn, body, until_s, subject) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![self.tenant(), token.jti, token.chain.id, body, token.expires.0, subject])?;
        Ok(())
    }
}

fn touch_code(conn: &Connection, tenant: &str, sql: &str, code: &KeyedHash, value: &str) -> Result<(), Halt> {
    match conn.prepare_cached(sql)?.execute(params![tenant, code, value])? {
        0 => Err(Halt::invalid("no such authorization code")),
        _ => Ok(()),
    }
}

fn spend(conn: &Connection, tenant: &str, key: &str, amount: i64, until: Option<UnixTime>) -> Result<(), Halt> {
    let total = preconditions::spent(conn, tenant, key)?.checked_add(amount);
    let total = total.ok_or_else(|| Halt::invalid("a budget's count is beyond what can be counted"))?;
    Ok(preconditions::set_spent(conn, tenant, key, total, until)?)
}

fn put_object(conn: &Connection, tenant: &str, bytes: &[u8]) -> Result<(), Halt> {
    let name = Hash::of(&[bytes]).hex();
    conn.prepare_cached(
        "INSERT INTO objects (tenant, sha256, bytes) VALUES (?1, ?2, ?3) ON CONFLICT (tenant, sha256) DO NOTHING",
    )?
    .execute(params![tenant, name, bytes])?;
    Ok(())
}

fn json(value: &impl Serialize) -> Result<String, Halt> {
    serde_json::to_string(value).map_err(|error| Halt::invalid(format!("not storable as JSON: {error}")))
}
