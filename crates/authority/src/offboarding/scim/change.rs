//! Changing what a provider provisioned: one batch with the account, what ends, and its records.

use super::{
    directory,
    error::ScimError,
    patch,
    user::{self, User},
};
use crate::{
    Server,
    http::{error::Rejection, origin::RequestOrigin},
    offboarding::end::{self, Cause, Means},
    signin::provider::{ProviderSettings, ScimSettings},
    tokens::issue,
};
use remit_decide::facts;
use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType};
use remit_model::{
    Authority, Code, Human, HumanStatus, Identity, Managed, Passkeys, Principal, Provisioned, Refusal, ToolClass, UnixTime,
    bounds,
};
use remit_store::{Batch, Change, Precondition, Snapshot};
use serde_json::{Value, json};
use std::sync::Arc;

/// Attempts to write while other changes are made at the same time.
const TRIES: usize = 16;

/// Who asks for a change: the provider, and what it says of SCIM.
#[derive(Clone, Copy)]
pub(super) struct Door<'a> {
    pub(super) server: &'a Server,
    pub(super) provider: &'a ProviderSettings,
    pub(super) scim: &'a ScimSettings,
    pub(super) origin: &'a RequestOrigin,
}

/// The account as it is to be, and what that is.
struct Plan {
    human: Human,
    /// The word for it in the record.
    change: &'static str,
    /// Whether everything that the person handed out ends.
    ends: bool,
}

impl Door<'_> {
    /// POST: a new user. The person may have signed in before.
    pub(super) async fn create(&self, body: &Value) -> Result<Value, ScimError> {
        let user = User::read(body, None)?;
        let human = self
            .write(|snapshot, now| {
                let subject = user.subject(self.scim.subject)?;
                let identity = directory::identity(self.provider, subject);
                let name = identity.local_name(&self.provider.name);
                let known = snapshot.human(&name);
                if known.is_some_and(|known| directory::provisioned(self.provider, known).is_some()) {
                    return Err(ScimError::taken("there is a user with this `sub` already"));
                }
                // INVARIANT: a local name belongs to one issuer and subject.
                let same = |held: &Identity| (&held.issuer, &held.subject) == (&identity.issuer, &identity.subject);
                if known.is_some_and(|known| !known.identity.as_ref().is_some_and(same)) {
                    return Err(ScimError::taken("the name of this account is taken"));
                }
                let most = bounds::SCIM_PEOPLE.size();
                let again = known.is_some_and(|known| known.identity.as_ref().is_some_and(|held| held.provisioned.is_some()));
                if !again && directory::count(snapshot, self.provider) >= most {
                    let reason = format!("a provider has at most {most} users here");
                    return Err(Refusal::new(Code::ClientNotAllowed, reason).into());
                }
                let before = known.map_or_else(|| person(name.clone(), identity.clone()), |known| Human::clone(known));
                self.plan(snapshot, before, &user, "created", now)
            })
            .await?;
        self.shown(&human)
    }

    /// PUT: the whole user. What is left out is taken away, but a user that was inactive stays so unless `active` is sent.
    pub(super) async fn replace(&self, id: &str, body: &Value) -> Result<Value, ScimError> {
        let user = User::read(body, Some(id))?;
        let human = self
            .write(|snapshot, now| {
                let known = directory::by_id(snapshot, self.provider, id).ok_or_else(ScimError::no_user)?;
                let active = directory::provisioned(self.provider, known).map(|kept| kept.active);
                let user = User { active: user.active.or(active), ..user.clone() };
                self.plan(snapshot, Human::clone(known), &user, "updated", now)
            })
            .await?;
        self.shown(&human)
    }

    /// PATCH: parts of a user.
    pub(super) async fn patch(&self, id: &str, body: &Value) -> Result<Value, ScimError> {
        let human = self
            .write(|snapshot, now| {
                let known = directory::by_id(snapshot, self.provider, id).ok_or_else(ScimError::no_user)?;
                let kept = directory::provisioned(self.provider, known).ok_or_else(ScimError::no_user)?;
                let user = patch::apply(&User::of(kept), body, id)?;
                self.plan(snapshot, Human::clone(known), &user, "updated", now)
            })
            .await?;
        self.shown(&human)
    }

    /// DELETE: the account stays, disabled and unseen, so that what ended stays so and no sign-in makes it anew.
    pub(super) async fn delete(&self, id: &str) -> Result<(), ScimError> {
        self.write(|snapshot, now| {
            let known = directory::by_id(snapshot, self.provider, id).ok_or_else(ScimError::no_user)?;
            let kept = directory::provisioned(self.provider, known).ok_or_else(ScimError::no_user)?;
            let disables = kept.disables || known.status == HumanStatus::Active;
            // Nothing but what identifies the account is kept of who was deleted.
            let kept = Provisioned {
                user_name: String::new(),
                external_id: None,
                display_name: None,
                formatted: None,
                given_name: None,
                family_name: None,
                active: false,
                deleted: true,
                disables,
                created: kept.created,
                changed: now,
            };
            let human = deactivated(with(Human::clone(known), kept), now);
            Ok(Plan { human: Human { display_name: known.name.clone(), ..human }, change: "deleted", ends: true })
        })
        .await
        .map(drop)
    }

    fn shown(&self, human: &Human) -> Result<Value, ScimError> {
        user::view(self.server, &self.provider.name, human).ok_or_else(ScimError::no_user)
    }

    /// The account of `before` as `user` describes it.
    fn plan(
        &self,
        snapshot: &Snapshot,
        before: Human,
        user: &User,
        change: &'static str,
        now: UnixTime,
    ) -> Result<Plan, ScimError> {
        let user_name = user.required_name()?.to_owned();
        let subject = user.subject(self.scim.subject)?;
        // INVARIANT: a user stays the person that it was made for.
        if before.identity.as_ref().is_none_or(|identity| identity.subject != subject) {
            return Err(ScimError::bad(
                "mutability",
                "the attribute that is the person's `sub` cannot be changed; delete the user",
            ));
        }
        if directory::name_is_taken(snapshot, self.provider, &user_name, &before.name) {
            return Err(ScimError::taken("another user has this `userName`"));
        }
        let held = before.identity.as_ref().and_then(|identity| identity.provisioned.as_deref());
        let was_active = held.is_none_or(|kept| kept.active && !kept.deleted);
        let active = user.active.unwrap_or(true);
        let disables = !active && (held.is_some_and(|kept| kept.disables) || before.status == HumanStatus::Active);
        let mut kept = Provisioned {
            user_name,
            external_id: user.external_id.clone(),
            display_name: user.display_name.clone(),
            formatted: user.formatted.clone(),
            given_name: user.given_name.clone(),
            family_name: user.family_name.clone(),
            active,
            deleted: false,
            disables,
            created: held.filter(|kept| !kept.deleted).map_or(now, |kept| kept.created),
            changed: now,
        };
        if held.is_some_and(|held| *held == Provisioned { changed: held.changed, ..kept.clone() }) {
            // Nothing is new: it is not written.
            kept.changed = held.map_or(now, |held| held.changed);
        }
        // What an administrator disabled stays so: the provider enables again only what it disabled.
        let enabled = active && held.is_some_and(|kept| kept.disables);
        let status = if enabled { HumanStatus::Active } else { before.status };
        let display_name = user.shown().unwrap_or_else(|| before.display_name.clone());
        let human = with(Human { status, display_name, ..before }, kept);
        let change = match (change, was_active, active) {
            ("created", ..) => "created",
            (_, true, false) => "deactivated",
            (_, false, true) => "reactivated",
            _ => change,
        };
        let ends = was_active && !active;
        let human = if active { human } else { Human { status: HumanStatus::Disabled, ..human } };
        Ok(Plan { human: if ends { deactivated(human, now) } else { human }, change, ends })
    }

    /// Makes a plan of the world as it is and writes it, again while other changes come between.
    async fn write(&self, plan: impl Fn(&Snapshot, UnixTime) -> Result<Plan, ScimError>) -> Result<Human, ScimError> {
        for _ in 0..TRIES {
            let snapshot = self.server.store.snapshot();
            let now = self.server.now();
            let Plan { human, change, ends } = plan(&snapshot, now)?;
            if snapshot.human(&human.name).map(Arc::as_ref) == Some(&human) {
                return Ok(human);
            }
            let mut batch = Batch::new(self.server.tenant.clone())
                .require(Precondition::Revision(snapshot.revision()))
                .change(Change::PutHuman(human.clone()))
                .record(self.record(&human, change));
            if ends {
                let mut cause = Cause::new(&self.provider.name, Means::Scim);
                cause.origin = Some(self.origin);
                cause.facts.insert("type".to_owned(), json!(change));
                let people = end::accounts(&snapshot, &self.provider.issuer, subject(&human));
                batch = end::with_ends(self.server, batch, &people, &cause, now.plus(1));
            }
            match issue::commit(self.server, &[], None, batch).await {
                Ok(_) => {
                    if ends {
                        self.server.asking.forget(&human.name);
                    }
                    tracing::info!(provider = self.provider.name, change, "a user was provisioned");
                    return Ok(human);
                }
                // Something else changed at the same time.
                Err(Rejection::Refusal(refusal)) if refusal.code == Code::RateLimited => {}
                Err(rejection) => return Err(rejection.into()),
            }
        }
        Err(Refusal::new(Code::RateLimited, "too much changed at the same time; send the request again").into())
    }

    /// The record. Its plain part names no person.
    fn record(&self, human: &Human, change: &str) -> Draft {
        let mut draft = Draft::new(self.server.tenant.clone(), ProducerKind::AuthzServer, RecordType::ConfigChange)
            .action("account.provision", ToolClass::Admin)
            .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
            .chain(facts::parties([&Principal::human(&self.server.issuer, &human.name)]))
            .ext("account", json!({"change": change, "provider": self.provider.name}));
        self.origin.note(&mut draft);
        draft
    }
}

/// An account without a sign-in so far: what its person may do is known at their first sign-in.
fn person(name: String, identity: Identity) -> Human {
    Human {
        display_name: name.clone(),
        name,
        status: HumanStatus::Active,
        password_hash: None,
        entitlements: Authority::none(),
        identity: Some(identity),
        ended_before: None,
        passkeys: Passkeys::default(),
        managed: Managed::default(),
    }
}

fn with(human: Human, kept: Provisioned) -> Human {
    let identity = human.identity.clone().map(|identity| Identity { provisioned: Some(Box::new(kept)), ..identity });
    Human { identity, ..human }
}

/// A second later, so that what began in this very second has ended, too.
fn deactivated(human: Human, now: UnixTime) -> Human {
    Human { status: HumanStatus::Disabled, ended_before: human.ended_before.max(Some(now.plus(1))), ..human }
}

fn subject(human: &Human) -> &str {
    human.identity.as_ref().map_or("", |identity| identity.subject.as_str())
}
