//! An identity provider that a test holds in its hands: real HTTP for what the server fetches, and a person who always agrees.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    routing::{get, post},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use remit_authority::provider::{Check, ClientCredential, Demand, EntitlementRule, ProviderSettings};
use remit_clock::Clock;
use remit_model::json::sha256;
use remit_testkit::key_named;
use remit_token::{Algorithm, KeySet, PrivateKey, Skew, assertion};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{net::TcpListener, sync::Notify};
use url::Url;

pub(crate) const CLIENT: &str = "remit-at-corp";
pub(crate) const SECRET: &str = "s3cret:with colon";

type Tweak = Box<dyn Fn(&mut Value, &mut Value) + Send>;

/// What the provider does now; tests change it.
pub(crate) struct Behaviour {
    pub(crate) issuer: String,
    clock: Clock,
    /// Who signs in, with their claims.
    pub(crate) claims: Value,
    /// Seconds ago that they authenticated.
    pub(crate) age: i64,
    /// Changes header and claims of the next ID tokens.
    pub(crate) tweak: Option<Tweak>,
    /// Members of the metadata that replace the usual ones; `null` takes one out.
    pub(crate) metadata: Value,
    /// Paths, as in `/realm/.well-known/…`, at which the metadata is found; all if empty.
    pub(crate) places: Vec<String>,
    /// Everything but the sign-in page answers 503.
    pub(crate) down: bool,
    /// Whether the token endpoint gives refresh tokens.
    pub(crate) refreshing: Refreshing,
    /// Those that are good.
    pub(crate) refresh_tokens: HashSet<String>,
    /// The person is disabled: no refresh, no userinfo.
    pub(crate) disabled: bool,
    /// What every refresh is refused with.
    pub(crate) refusal: Option<(StatusCode, &'static str)>,
    /// What a refresh with these tokens is refused with.
    pub(crate) refused_tokens: HashMap<String, (StatusCode, &'static str)>,
    /// What userinfo is refused with.
    pub(crate) userinfo_refusal: Option<(StatusCode, &'static str)>,
    /// A refresh is answered, once it is done, when this says so.
    pub(crate) hold: Option<Arc<Notify>>,
    /// How often it was asked whether the person may act.
    pub(crate) questions: usize,
    pub(crate) signer: Signer,
    /// What the key set holds, by `kid`.
    pub(crate) published: BTreeMap<String, Value>,
    pub(crate) key_fetches: usize,
    /// What the token endpoint demands.
    pub(crate) client_key: Option<KeySet>,
    codes: HashMap<String, Asked>,
    /// The parameters of the last authorization request.
    pub(crate) asked: HashMap<String, String>,
    next: usize,
}

#[derive(Clone)]
struct Asked {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refreshing {
    None,
    /// The same token each time, as Keycloak does where it is not told otherwise.
    Fixed,
    /// A new one each time; an old one that comes again ends them all.
    Rotating,
}

/// How ID tokens are signed.
pub(crate) enum Signer {
    Ours(String, PrivateKey),
    Rsa(String, RsaKeyPair),
    /// HMAC with these bytes as the key.
    Hmac(String, Vec<u8>),
    /// No signature, under this name.
    Unsigned(&'static str),
}

impl Signer {
    pub(crate) fn named(kid: &str) -> Self {
        Self::Ours(kid.to_owned(), key_named(Algorithm::Es256, kid))
    }

    pub(crate) fn rsa(kid: &str) -> Self {
        Self::Rsa(kid.to_owned(), RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn kid(&self) -> Option<&str> {
        match self {
            Self::Ours(kid, _) | Self::Rsa(kid, _) | Self::Hmac(kid, _) => Some(kid),
            Self::Unsigned(_) => None,
        }
    }

    pub(crate) fn alg(&self) -> &str {
        match self {
            Self::Ours(_, key) => key.algorithm().name(),
            Self::Rsa(..) => "RS256",
            Self::Hmac(..) => "HS256",
            Self::Unsigned(name) => name,
        }
    }

    fn jwk(&self) -> Value {
        match self {
            Self::Ours(_, key) => key.public().to_jwk(),
            Self::Rsa(_, key) => {
                // RSAPublicKey of RFC 8017 §A.1.1: two headers of four bytes and a zero come before a modulus of 2048 bits.
                let der = key.public_key().as_ref();
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "n": URL_SAFE_NO_PAD.encode(&der[9..265]), "e": "AQAB"})
            }
            Self::Hmac(..) | Self::Unsigned(_) => Value::Null,
        }
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(header), encode(claims));
        let signature = match self {
            Self::Ours(_, key) => key.sign(input.as_bytes()).unwrap(),
            Self::Rsa(_, key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Hmac(_, secret) => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
                aws_lc_rs::hmac::sign(&key, input.as_bytes()).as_ref().to_vec()
            }
            Self::Unsigned(_) => Vec::new(),
        };
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[derive(Clone)]
pub(crate) struct StandIn {
    pub(crate) name: &'static str,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl StandIn {
    /// A provider whose issuer has this path, such as `/realms/staff`.
    pub(crate) async fn start(name: &'static str, path: &str, clock: &Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}{path}", listener.local_addr().unwrap());
        let mut behaviour = Behaviour {
            issuer,
            clock: clock.clone(),
            claims: json!({"sub": "248289761001", "name": "Alice Example", "email": "alice@corp.example", "groups": ["/staff/support"]}),
            age: 5,
            tweak: None,
            metadata: json!({}),
            places: Vec::new(),
            down: false,
            refreshing: Refreshing::None,
            refresh_tokens: HashSet::new(),
            disabled: false,
            refusal: None,
            refused_tokens: HashMap::new(),
            userinfo_refusal: None,
            hold: None,
            questions: 0,
            signer: Signer::named(&format!("{name}-key-1")),
            published: BTreeMap::new(),
            key_fetches: 0,
            client_key: None,
            codes: HashMap::new(),
            asked: HashMap::new(),
            next: 0,
        };
        behaviour.publish();
        let behaviour = Arc::new(Mutex::new(behaviour));
        let app = Router::new()
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .fallback(get(document))
            .with_state(Arc::clone(&behaviour));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { name, behaviour }
    }

    pub(crate) fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap()
    }

    pub(crate) fn tweak(&self, tweak: impl Fn(&mut Value, &mut Value) + Send + 'static) {
        self.behaviour().tweak = Some(Box::new(tweak));
    }

    /// How the configuration describes it.
    pub(crate) fn settings(&self, rules: Vec<EntitlementRule>) -> ProviderSettings {
        ProviderSettings {
            name: self.name.to_owned(),
            title: format!("The {}", self.name),
            issuer: self.behaviour().issuer.clone(),
            client_id: CLIENT.to_owned(),
            credential: ClientCredential::Secret(Arc::new(SECRET.to_owned().into())),
            scopes: ["openid", "profile"].map(str::to_owned).to_vec(),
            demand: Demand::default(),
            entitlements: rules,
            check: Check::default(),
            events: None,
            prove_each_consent: false,
            scim: None,
        }
    }

    /// The person signs in at the provider: where their browser is sent back to.
    pub(crate) fn agree(&self, url: &str) -> Url {
        let mut this = self.behaviour();
        let parsed = Url::parse(url).unwrap();
        this.asked = parsed.query_pairs().into_owned().collect();
        let asked = this.asked.clone();
        assert_eq!((asked["response_type"].as_str(), asked["client_id"].as_str()), ("code", CLIENT));
        assert_eq!(asked["code_challenge_method"], "S256");
        this.next += 1;
        let code = format!("code-{}", this.next);
        let redirect_uri = asked["redirect_uri"].clone();
        this.codes.insert(
            code.clone(),
            Asked {
                nonce: asked["nonce"].clone(),
                challenge: asked["code_challenge"].clone(),
                redirect_uri: redirect_uri.clone(),
            },
        );
        let mut back = Url::parse(&redirect_uri).unwrap();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &asked["state"]).append_pair("iss", &this.issuer);
        back
    }
}

impl Behaviour {
    /// Puts the signer's key into the key set.
    pub(crate) fn publish(&mut self) {
        let (Some(kid), mut jwk) = (self.signer.kid().map(str::to_owned), self.signer.jwk()) else { return };
        jwk["kid"] = json!(kid);
        self.published.insert(kid, jwk);
    }

    /// A new refresh token, if it gives any.
    fn refresh_token(&mut self) -> Option<String> {
        self.next += 1;
        let token = match self.refreshing {
            Refreshing::None => return None,
            Refreshing::Fixed => "the-refresh-token-of-the-stand-in".to_owned(),
            Refreshing::Rotating => format!("refresh-token-of-the-stand-in-{}", self.next),
        };
        self.refresh_tokens.insert(token.clone());
        Some(token)
    }

    pub(crate) fn offer_userinfo(&mut self) {
        let base = Url::parse(&self.issuer).unwrap().origin().ascii_serialization();
        self.metadata["userinfo_endpoint"] = json!(format!("{base}/userinfo"));
    }

    fn id_token(&self, nonce: &str, access_token: &str) -> String {
        let now = self.clock.unix().0;
        let digest = sha256(access_token.as_bytes());
        let mut header = json!({"typ": "JWT", "alg": self.signer.alg()});
        if let Some(kid) = self.signer.kid() {
            header["kid"] = json!(kid);
        }
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT, "azp": CLIENT, "typ": "ID", "iat": now, "exp": now + 60, "nonce": nonce,
            "auth_time": now - self.age, "acr": "1", "amr": ["pwd"], "at_hash": URL_SAFE_NO_PAD.encode(&digest[..16]),
        });
        claims.as_object_mut().unwrap().extend(self.claims.as_object().unwrap().clone());
        if let Some(tweak) = &self.tweak {
            tweak(&mut header, &mut claims);
        }
        self.signer.sign(&header, &claims)
    }

    fn knows_client(&self, headers: &HeaderMap, form: &HashMap<String, String>) -> bool {
        if let Some(keys) = &self.client_key {
            let expect = assertion::Expect { client_id: CLIENT, issuer: &self.issuer, token_endpoint: None };
            let presented = form.get("client_assertion").map_or("", String::as_str);
            return assertion::verify(presented, keys, &expect, self.clock.unix(), Skew::default()).is_ok();
        }
        let basic = format!("Basic {}", STANDARD.encode("remit-at-corp:s3cret%3Awith+colon"));
        headers.get("authorization").is_some_and(|value| value.as_bytes() == basic.as_bytes())
    }
}

type Shared = State<Arc<Mutex<Behaviour>>>;

async fn document(State(behaviour): Shared, uri: Uri) -> Result<Json<Value>, StatusCode> {
    let this = behaviour.lock().unwrap();
    if this.down {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let here = this.places.is_empty() || this.places.iter().any(|place| place == uri.path());
    if !here || !uri.path().contains("/.well-known/") {
        return Err(StatusCode::NOT_FOUND);
    }
    let base = Url::parse(&this.issuer).unwrap().origin().ascii_serialization();
    let mut metadata = json!({
        "issuer": this.issuer, "authorization_endpoint": format!("{base}/authorize"), "token_endpoint": format!("{base}/token"),
        "jwks_uri": format!("{base}/keys"), "authorization_response_iss_parameter_supported": true,
    });
    for (name, value) in this.metadata.as_object().unwrap() {
        match value {
            Value::Null => drop(metadata.as_object_mut().unwrap().remove(name)),
            value => metadata[name] = value.clone(),
        }
    }
    Ok(Json(metadata))
}

async fn keys(State(behaviour): Shared) -> Result<Json<Value>, StatusCode> {
    let mut this = behaviour.lock().unwrap();
    if this.down {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    this.key_fetches += 1;
    Ok(Json(json!({"keys": this.published.values().collect::<Vec<_>>()})))
}

async fn token(
    State(behaviour): Shared,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Result<Json<Value>, (StatusCode, Json<Value>)> {
    let (answer, hold) = {
        let mut this = behaviour.lock().unwrap();
        (tokens(&mut this, &headers, &form), this.hold.clone())
    };
    if let Some(hold) = hold.filter(|_| form.get("grant_type").is_some_and(|grant| grant == "refresh_token")) {
        hold.notified().await;
    }
    answer
}

fn tokens(
    this: &mut Behaviour,
    headers: &HeaderMap,
    form: &HashMap<String, String>,
) -> Result<Json<Value>, (StatusCode, Json<Value>)> {
    let refuse = |status, error: &str| Err((status, Json(json!({"error": error, "error_description": "<b>words</b>"}))));
    if this.down {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable");
    }
    if !this.knows_client(headers, form) {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    if form.get("grant_type").is_some_and(|grant| grant == "refresh_token") {
        this.questions += 1;
        if let Some((status, error)) = this.refusal {
            return refuse(status, error);
        }
        let presented = form.get("refresh_token").map_or("", String::as_str);
        if let Some((status, error)) = this.refused_tokens.get(presented) {
            return refuse(*status, error);
        }
        if !this.refresh_tokens.contains(presented) {
            this.refresh_tokens.clear();
            return refuse(StatusCode::BAD_REQUEST, "invalid_grant");
        }
        if this.disabled {
            return refuse(StatusCode::BAD_REQUEST, "invalid_grant");
        }
        if this.refreshing == Refreshing::Rotating {
            this.refresh_tokens.remove(presented);
        }
        let refresh_token = this.refresh_token();
        return Ok(Json(
            json!({"access_token": "another", "token_type": "Bearer", "expires_in": 300, "refresh_token": refresh_token}),
        ));
    }
    let Some(asked) = form.get("code").and_then(|code| this.codes.remove(code)) else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_grant");
    };
    let verifier = form.get("code_verifier").map_or("", String::as_str);
    let fits = URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())) == asked.challenge;
    if !fits || form.get("redirect_uri") != Some(&asked.redirect_uri) {
        return refuse(StatusCode::BAD_REQUEST, "invalid_grant");
    }
    let access_token = "an opaque token";
    let mut answer = json!({
        "access_token": access_token, "token_type": "Bearer", "expires_in": 300,
        "id_token": this.id_token(&asked.nonce, access_token),
    });
    if let Some(token) = this.refresh_token() {
        answer["refresh_token"] = json!(token);
    }
    Ok(Json(answer))
}

type Challenge = [(&'static str, &'static str); 1];

async fn userinfo(State(behaviour): Shared, headers: HeaderMap) -> Result<Json<Value>, (StatusCode, Option<Challenge>, ())> {
    let mut this = behaviour.lock().unwrap();
    if this.down {
        return Err((StatusCode::SERVICE_UNAVAILABLE, None, ()));
    }
    this.questions += 1;
    if let Some((status, challenge)) = this.userinfo_refusal {
        return Err((status, Some([("www-authenticate", challenge)]), ()));
    }
    let known = headers.get("authorization").is_some_and(|value| value == "Bearer an opaque token");
    if this.disabled || !known { Err((StatusCode::UNAUTHORIZED, None, ())) } else { Ok(Json(json!({"sub": this.claims["sub"]}))) }
}
