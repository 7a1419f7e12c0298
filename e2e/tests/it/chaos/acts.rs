//! What clients do: honest requests, clumsy ones, and some that no client should send.

use super::{
    cast::{self, Agent, ENDPOINT, part},
    client::{Client, Form, Held, Odd, Proof, Who, foreign_key, held, keep_newest, now},
    wire::fields,
};
use http_body_util::Full;
use remit_model::Authority;
use remit_token::{
    Delegation,
    dpop::{self, ProofFor},
    statement,
};
use serde_json::json;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Consent,
    ClumsyConsent,
    EqualConsents,
    Own,
    Refresh,
    Narrow,
    Name,
    State,
    Bring,
    Again,
    Read,
    Pay,
    Refused,
    Malformed,
    Inspect,
    Revoke,
    RegisterTwice,
    Quarantine,
}

const ACTS: [(Act, u64); 18] = [
    (Act::Consent, 4),
    (Act::ClumsyConsent, 3),
    (Act::EqualConsents, 2),
    (Act::Own, 5),
    (Act::Refresh, 8),
    (Act::Narrow, 10),
    (Act::Name, 10),
    (Act::State, 6),
    (Act::Bring, 4),
    (Act::Again, 12),
    (Act::Read, 18),
    (Act::Pay, 8),
    (Act::Refused, 10),
    (Act::Malformed, 8),
    (Act::Inspect, 3),
    (Act::Revoke, 2),
    (Act::RegisterTwice, 2),
    (Act::Quarantine, 1),
];

impl Client {
    /// Does one thing. `None` when the server died while it was done, or there was nothing to do it with.
    pub(crate) async fn act(&mut self) -> Option<()> {
        let weights = ACTS.map(|(_, weight)| weight);
        let (act, _) = ACTS[self.dice.weighted(&weights)];
        self.perform(act).await
    }

    /// One thing that clients do; nothing when the connection broke.
    pub(crate) async fn perform(&mut self, act: Act) -> Option<()> {
        match act {
            Act::Consent => {
                let code = self.code().await?;
                self.redeem(&code, None).await.map(drop)
            }
            Act::ClumsyConsent => self.clumsy_consent().await,
            Act::EqualConsents => self.equal_consents().await,
            Act::Own => self.own().await,
            Act::Refresh => self.refresh_one().await,
            Act::Narrow => self.narrow().await,
            Act::Name => self.name().await,
            Act::State => self.state().await,
            Act::Bring => self.bring().await,
            Act::Again => self.again().await,
            Act::Read => self.read().await,
            Act::Pay => self.pay().await,
            Act::Refused => self.refused().await,
            Act::Malformed => self.malformed().await,
            Act::Inspect => self.inspect().await,
            Act::Revoke => self.revoke().await,
            Act::RegisterTwice => self.register_twice().await,
            Act::Quarantine => self.quarantine().await,
        }
    }

    /// A refusal of the person's, a wrong verifier before the right one, or a code that is redeemed twice.
    async fn clumsy_consent(&mut self) -> Option<()> {
        if self.dice.one_in(3) {
            let parameters = self.authorization();
            return self.consent(&parameters, "deny").await.map(drop);
        }
        let code = self.code().await?;
        if self.dice.one_in(2) {
            self.redeem(&code, Some(&"x".repeat(43))).await?;
        }
        self.redeem(&code, None).await?;
        if self.dice.one_in(3) {
            // It ends everything the code gave.
            self.redeem(&code, None).await?;
        }
        Some(())
    }

    /// The same consent twice, redeemed at once.
    async fn equal_consents(&mut self) -> Option<()> {
        let codes = [self.code().await?, self.code().await?];
        for code in codes {
            self.redeem(&code, None).await?;
        }
        self.stage.answered.count("equal consents");
        Some(())
    }

    async fn own(&mut self) -> Option<()> {
        let helpdesk = self.stage.helpdesk.clone();
        let scope = ["", "helpdesk:*", "helpdesk:tickets_read helpdesk:admin_purge", "openid profile", "helpdesk:unknown"];
        let scope = *self.dice.pick(&scope)?;
        let form = [("grant_type", "client_credentials"), ("resource", helpdesk.as_str()), ("scope", scope), ("label", "own")];
        let reply = self.token(Who::Planner, &form, 0).await?;
        self.keep(&reply);
        Some(())
    }

    /// An old or the newest refresh token; sometimes with another's key, sometimes for more than was agreed to.
    async fn refresh_one(&mut self) -> Option<()> {
        let token =
            if self.dice.one_in(3) { self.dice.pick(&self.refresh.clone()).cloned() } else { self.refresh.last().cloned() };
        let token = token?;
        let scope = if self.dice.one_in(5) { "helpdesk:admin_purge" } else { "" };
        let who = if self.dice.one_in(8) { Who::Scribe } else { Who::Planner };
        let reply = self.token(who, &[("grant_type", "refresh_token"), ("refresh_token", &token), ("scope", scope)], 0).await?;
        self.keep(&reply);
        Some(())
    }

    fn any(&mut self) -> Option<Held> {
        let held = self.held.clone();
        self.dice.pick(&held).cloned()
    }

    async fn narrow(&mut self) -> Option<()> {
        let token = self.any()?.token;
        let helpdesk = self.stage.helpdesk.clone();
        let details = part(&helpdesk).to_string();
        let label = format!("task {}", self.dice.below(50));
        let mut form = exchange(&token, ACCESS_TOKEN);
        match self.dice.below(5) {
            0 => form.push(("scope", "helpdesk:tickets_read")),
            1 => form.push(("scope", "helpdesk:*")),
            2 => form.push(("resource", ENDPOINT)),
            3 => form.push(("label", "hidden \u{202e}")),
            _ => form.extend([("authorization_details", details.as_str()), ("label", &label), ("requested_lifetime", "300")]),
        }
        let reply = self.token(Who::Planner, &form, 0).await?;
        self.keep(&reply);
        Some(())
    }

    /// Names the summarizer, with a proof that may be dated ahead.
    async fn name(&mut self) -> Option<()> {
        let token = self.any()?.token;
        let issuer = self.stage.issuer.clone();
        let identity = self.token(Who::Summarizer, &[("grant_type", "client_credentials"), ("resource", &issuer)], 0).await?;
        let identity = held(&identity)?.token;
        let details = part(&self.stage.helpdesk).to_string();
        let mut form = exchange(&token, ACCESS_TOKEN);
        form.extend([
            ("actor_token", identity.as_str()),
            ("actor_token_type", ACCESS_TOKEN),
            ("authorization_details", details.as_str()),
        ]);
        let ahead = self.ahead();
        let reply = self.token(Who::Planner, &form, ahead).await?;
        if reply.status.is_success() && ahead > 30 {
            self.stage.answered.count("delegations by a proof dated ahead");
        }
        keep_newest(&mut self.handed, held(&reply));
        Some(())
    }

    /// Mostly now; else up to ten seconds more than is allowed, before or after.
    fn ahead(&mut self) -> i64 {
        if self.dice.one_in(2) { 0 } else { i64::try_from(self.dice.below(620)).unwrap_or_default() - 310 }
    }

    /// Signs a statement for the scribe, who redeems it twice.
    async fn state(&mut self) -> Option<()> {
        let parent = self.any()?;
        let delegation = Delegation {
            delegate: self.scribe.sub.clone(),
            jkt: self.scribe.dpop.public().thumbprint().to_owned(),
            parent: parent.jti,
            authority: Authority::parse(&part(&self.stage.helpdesk)).unwrap(),
            expires: now().plus(300),
            purpose: self.dice.one_in(2).then(|| "summaries".to_owned()),
        };
        let (jti, issuer) = (self.fresh(), self.stage.issuer.clone());
        let signed = statement::create(&self.planner.dpop, &self.planner.sub, &issuer, &jti, now(), &delegation).unwrap();
        for _ in 0..2 {
            self.token(Who::Scribe, &exchange(&signed, JWT), 0).await?;
        }
        Some(())
    }

    /// The summarizer brings the planner's call to its endpoint, and brings it again.
    async fn bring(&mut self) -> Option<()> {
        let token = self.any()?.token;
        let mut form = exchange(&token, ACCESS_TOKEN);
        form.push(("resource", ENDPOINT));
        let addressed = held(&self.token(Who::Planner, &form, 0).await?)?.token;
        let ahead = self.ahead();
        let proof = self.proof(Who::Planner, &Proof { url: ENDPOINT, token: Some(&addressed), ahead, without_nonce: true });
        let helpdesk = self.stage.helpdesk.clone();
        let mut form = exchange(&addressed, ACCESS_TOKEN);
        form.extend([("subject_token_proof", proof.as_str()), ("resource", helpdesk.as_str())]);
        for _ in 0..2 {
            let reply = self.token(Who::Summarizer, &form, 0).await?;
            keep_newest(&mut self.handed, held(&reply));
        }
        Some(())
    }

    /// A form that was sent before, with the same proof; only the client assertion is new. Over a restart too.
    async fn again(&mut self) -> Option<()> {
        let forms = self.forms.clone();
        let sent = self.dice.pick(&forms)?.clone();
        self.post(Who::Planner, &sent).await?;
        self.stage.answered.count("proofs sent again");
        Some(())
    }

    async fn read(&mut self) -> Option<()> {
        let child = self.dice.one_in(3);
        let all = if child { self.handed.clone() } else { self.held.clone() };
        let token = self.dice.pick(&all)?.token.clone();
        let ticket = format!("T-{}", 1001 + self.dice.below(12));
        let who = if child { Who::Summarizer } else { Who::Planner };
        self.call(who, &token, "tickets_read", &json!({ "id": ticket }), Odd::No).await.map(drop)
    }

    async fn pay(&mut self) -> Option<()> {
        let token = self.any()?.token;
        let key = self.fresh();
        let amount = 1 + self.dice.below(60);
        let arguments = json!({ "ticket_id": "T-1001", "amount": amount, "currency": "EUR", "idempotency_key": key });
        self.call(Who::Planner, &token, "refund_create", &arguments, Odd::No).await.map(drop)
    }

    async fn refused(&mut self) -> Option<()> {
        let token = self.any()?.token;
        let id = json!({ "id": "T-1001" });
        match self.dice.below(6) {
            0 => self.call(Who::Planner, &token, "admin_purge", &json!({ "confirm": "purge" }), Odd::No).await,
            1 => self.call(Who::Scribe, &token, "tickets_read", &id, Odd::No).await,
            2 => self.call(Who::Planner, &token, "tickets_read", &id, Odd::Bearer).await,
            3 => self.call(Who::Planner, &token, "tickets_read", &id, Odd::SameProof).await,
            4 => self.call(Who::Planner, &token, "tickets_read", &id, Odd::Cut).await,
            _ => self.call(Who::Planner, &token, "tickets_read", &json!({ "id": 7, "more": [true] }), Odd::No).await,
        };
        Some(())
    }

    async fn malformed(&mut self) -> Option<()> {
        let long = "x".repeat(70_000);
        let form = match self.dice.below(5) {
            0 => fields(&[("grant_type", "client_credentials"), ("grant_type", "password")]),
            1 => fields(&[("grant_type", "password"), ("username", "alice"), ("password", "guess")]),
            2 => fields(&[("x", &long)]),
            3 => fields(&[("client_id", "agent:nobody"), ("grant_type", "client_credentials"), ("label", "\u{1b}[2J")]),
            _ => {
                let noise: Vec<u8> = (0..200).map(|_| u8::try_from(self.dice.below(256)).unwrap_or_default()).collect();
                let path =
                    *self.dice.pick(&["/oauth/token", "/oauth/consent", "/oauth/login", "/mcp/helpdesk", "/oauth/revoke"])?;
                let request = self.wire.request("POST", path).header("content-type", "application/x-www-form-urlencoded");
                let reply = self.wire.send(request.body(Full::from(noise)).unwrap()).await?;
                self.note(&reply);
                return Some(());
            }
        };
        // Signed with a key that no registration knows, and for another method.
        let (jti, url) = (self.fresh(), format!("{}/oauth/token", self.stage.issuer));
        let made = ProofFor { method: "GET", url: &url, now: now(), jti: &jti, ..ProofFor::default() };
        let sent = Form { fields: form, proof: dpop::create(&foreign_key(), &made).unwrap() };
        self.post(Who::Planner, &sent).await.map(drop)
    }

    async fn inspect(&mut self) -> Option<()> {
        let token = self.any()?.token;
        let reply = self.about("/oauth/introspect", &token).await?;
        assert!(reply.body.get("active").is_some() || !reply.status.is_success(), "{}", reply.text);
        Some(())
    }

    async fn revoke(&mut self) -> Option<()> {
        let held = self.any()?;
        if self.about("/oauth/revoke", &held.token).await?.status.is_success() {
            self.stage.answered.revoked(&held.jti);
        }
        Some(())
    }

    async fn about(&mut self, path: &str, token: &str) -> Option<super::wire::Reply> {
        let jti = self.fresh();
        let mut form = self.planner.authenticated(&self.stage.issuer, &jti, now());
        form.extend(fields(&[("token", token)]));
        let reply = self.wire.post_form(path, &form, &[]).await?;
        self.note(&reply);
        Some(reply)
    }

    /// One key for two agents, and one name for two.
    async fn register_twice(&mut self) -> Option<()> {
        let (first, second) = (self.fresh().to_lowercase(), self.fresh().to_lowercase());
        let ceiling = part(&self.stage.helpdesk);
        let agent = Agent::new(&first, 0);
        let admin = self.stage.admin.clone();
        let registered = cast::admin(&self.wire, &admin, "agents", Some(&agent.registration(&ceiling))).await?;
        self.note(&registered);
        let mut same_key = agent.registration(&ceiling);
        same_key["name"] = json!(second);
        let mut same_name = Agent::new(&second, 0).registration(&ceiling);
        same_name["name"] = json!(first);
        for again in [same_key, same_name] {
            let reply = cast::admin(&self.wire, &admin, "agents", Some(&again)).await?;
            self.note(&reply);
            assert!(!registered.status.is_success() || reply.status.is_client_error(), "registered twice: {}", reply.text);
        }
        self.stage.answered.count("double registrations");
        Some(())
    }

    /// Stops the scribe for a moment.
    async fn quarantine(&mut self) -> Option<()> {
        let admin = self.stage.admin.clone();
        for what in ["quarantine", "activate"] {
            let reply = cast::admin(&self.wire, &admin, &format!("agents/scribe/{what}"), None).await?;
            self.note(&reply);
            if what == "quarantine" {
                let _ = self.state().await;
            }
        }
        Some(())
    }
}

fn exchange<'a>(subject: &'a str, kind: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("grant_type", EXCHANGE), ("subject_token", subject), ("subject_token_type", kind)]
}
