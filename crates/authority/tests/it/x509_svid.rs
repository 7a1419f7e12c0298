//! `spiffe_x509`: X.509-SVIDs on the connection, each verified with the bundle of its own trust domain.

use crate::{
    published::Published,
    workload::{because, uniform},
    world::*,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};
use remit_authority::{BundleSource, Settings, TrustDomain, WorkloadTrust};
use remit_model::{Agent, Binding, ClientProfile, Credential};
use remit_store::Change;
use remit_token::PeerCertificate;
use serde_json::{Value, json};

const ID: &str = "spiffe://example.org/ns/bots/planner";

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str, shape: impl FnOnce(&mut CertificateParams)) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
    shape(&mut params);
    (params, KeyPair::generate().unwrap())
}

fn root(name: &str) -> Issuer {
    let (params, key) = authority(name, |_| {});
    CertifiedIssuer::self_signed(params, key).unwrap()
}

fn below(issuer: &Issuer, name: &str, shape: impl FnOnce(&mut CertificateParams)) -> Issuer {
    let (params, key) = authority(name, shape);
    CertifiedIssuer::signed_by(params, key, issuer).unwrap()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// A leaf, as an SVID has to be unless it is spoilt.
fn leaf(issuer: &Issuer, id: &str, spoil: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(id)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
    spoil(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().to_vec()
}

fn bundle(sequence: u64, authorities: &[&Issuer]) -> Value {
    let one = |issuer: &&Issuer| json!({"use": "x509-svid", "kty": "EC", "x5c": [STANDARD.encode(issuer.der())]});
    json!({"keys": authorities.iter().map(one).collect::<Vec<_>>(), "spiffe_sequence": sequence, "spiffe_refresh_hint": 60})
}

fn domain(name: &str, site: &Published) -> TrustDomain {
    TrustDomain { name: name.to_owned(), bundle: BundleSource::Url(site.url.clone()), max_lifetime: 300, max_stale: 3_600 }
}

struct Fixture {
    world: World,
    own: Issuer,
    foreign: Issuer,
    site: Published,
}

impl Fixture {
    async fn new() -> Self {
        let (own, foreign) = (root("example.org"), root("other.example"));
        let (site, other) = (Published::new(bundle(1, &[&own])).await, Published::new(bundle(1, &[&foreign])).await);
        let domains = vec![domain("example.org", &site), domain("other.example", &other)];
        let settings = Settings { client_certificates: true, ..Settings::default() };
        let world = World::trusting_with(settings, WorkloadTrust { issuers: Vec::new(), domains }).await;
        let credentials = [ID, "spiffe://example.org/ns/a/*"].map(|id| Credential::Spiffe { id: id.to_owned() }).to_vec();
        let client = ClientProfile { credentials, binding: Binding::Mtls, ..ClientProfile::default() };
        let planner = Agent { keys: Vec::new(), client, ..agent(&world.planner, false) };
        world.change(Change::PutAgent(planner.clone())).await;
        world.record_registration(&planner).await;
        Self { world, own, foreign, site }
    }

    async fn shown(&self, der: Vec<u8>, others: &[&Issuer]) -> Reply {
        let others = others.iter().map(|issuer| issuer.der().to_vec()).collect();
        let form = fields(&[("grant_type", "client_credentials"), ("client_id", "agent:planner"), ("scope", "files:read")]);
        self.world.post_over(Some(&PeerCertificate::new(der, others)), "/oauth/token", &form, &[]).await
    }
}

#[tokio::test]
async fn sp_03_an_svid_proves_the_agent_over_the_bundle_of_its_trust_domain() {
    let it = Fixture::new().await;
    let svid = leaf(&it.own, ID, |_| {});
    let reply = it.shown(svid.clone(), &[]).await;
    let bound_to = PeerCertificate::new(svid, Vec::new()).thumbprint().to_owned();
    assert_eq!(claims(&reply.access_token())["cnf"], json!({"x5t#S256": bound_to}));
    let record = it.world.last_record().await;
    let named = &record["ext"]["token"]["credential"];
    assert_eq!((&named["kind"], &named["trusted_as"]), (&json!("spiffe_x509"), &json!("example.org")));
    assert_eq!(record["chain"][0]["auth"]["method"], "spiffe_svid");
    let middle = below(&it.own, "middle", |_| {});
    it.shown(leaf(&middle, "spiffe://example.org/ns/a/b", |_| {}), &[&middle]).await.access_token();
    let report = remit_insight::custody(&it.world.audited().await);
    assert!(report.ok() && report.roots == 2, "{report:?}");
}

#[tokio::test]
async fn n_sp_01_an_authority_of_another_trust_domain_vouches_for_nothing() {
    let it = Fixture::new().await;
    uniform(&it.shown(leaf(&it.foreign, ID, |_| {}), &[]).await);
    uniform(&it.shown(leaf(&it.foreign, ID, |_| {}), &[&it.foreign, &it.own]).await);
    // One that is vouched for, of a trust domain that the agent has nothing to do with; and of one that is not configured.
    because(
        &it.shown(leaf(&it.foreign, "spiffe://other.example/ns/bots/planner", |_| {}), &[]).await,
        "its SPIFFE ID is another",
    );
    uniform(&it.shown(leaf(&it.own, "spiffe://elsewhere.example/ns/bots/planner", |_| {}), &[]).await);
    // Not even the same name helps a root that is not in the bundle.
    uniform(&it.shown(leaf(&root("example.org"), ID, |_| {}), &[]).await);
    let own = leaf(&it.own, ID, |_| {});
    it.shown(own, &[&it.foreign]).await.access_token();
}

#[tokio::test]
async fn n_sp_03_two_uri_sans_are_refused() {
    let it = Fixture::new().await;
    let names = |names: Vec<SanType>| leaf(&it.own, ID, |params| params.subject_alt_names = names);
    for wrong in [
        vec![uri(ID), uri("spiffe://example.org/ns/a/b")],
        vec![uri(ID), uri(ID)],
        vec![uri(ID), uri("https://example.org")],
        vec![SanType::DnsName("planner.example".try_into().unwrap())],
    ] {
        because(&it.shown(names(wrong), &[]).await, "exactly one URI");
    }
    it.shown(names(vec![SanType::DnsName("planner.example".try_into().unwrap()), uri(ID)]), &[]).await.access_token();
}

/// What not every verifier of the ledger could read, the server does not accept.
#[tokio::test]
async fn sp_03_alternative_names_that_no_verifier_reads_and_extensions_twice_are_refused() {
    let it = Fixture::new().await;
    // GeneralNames with the URI, and an ediPartyName with a partyName of one letter.
    let mut party = vec![0x30, (ID.len() + 9).try_into().unwrap(), 0x86, ID.len().try_into().unwrap()];
    party.extend_from_slice(ID.as_bytes());
    party.extend_from_slice(&[0xa5, 0x05, 0xa1, 0x03, 0x0c, 0x01, b'x']);
    let with = |extensions: Vec<CustomExtension>, names: Vec<SanType>| {
        leaf(&it.own, ID, |params| (params.custom_extensions, params.subject_alt_names) = (extensions, names))
    };
    let own = |oid: &[u64], der: &[u8]| CustomExtension::from_oid_content(oid, der.to_vec());
    because(&it.shown(with(vec![own(&[2, 5, 29, 17], &party)], Vec::new()), &[]).await, "ediPartyName");
    let twice = vec![own(&[1, 3, 6, 1, 4, 1, 99_999, 1], &[5, 0]), own(&[1, 3, 6, 1, 4, 1, 99_999, 1], &[5, 0])];
    because(&it.shown(with(twice.clone(), vec![uri(ID)]), &[]).await, "twice");
    it.shown(with(twice[..1].to_vec(), vec![uri(ID)]), &[]).await.access_token();
}

#[tokio::test]
async fn sp_03_a_certificate_that_is_no_leaf_for_signing_is_refused() {
    let it = Fixture::new().await;
    because(
        &it.shown(below(&it.own, "ca", |params| params.subject_alt_names = vec![uri(ID)]).der().to_vec(), &[]).await,
        "authority",
    );
    for usages in [
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign],
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign],
        vec![KeyUsagePurpose::KeyEncipherment],
    ] {
        because(&it.shown(leaf(&it.own, ID, |params| params.key_usages = usages), &[]).await, "key usage");
    }
    because(&it.shown(leaf(&it.own, ID, |params| params.key_usages = Vec::new()), &[]).await, "no key usage");
    because(&it.shown(b"nonsense".to_vec(), &[]).await, "cannot be read");
    let server_only = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    };
    uniform(&it.shown(leaf(&it.own, ID, server_only), &[]).await);
    // An SVID that signs others: its path has one in the middle that is no authority.
    let (params, key) = authority("leaf", |params| {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.subject_alt_names = vec![uri(ID)];
    });
    let signing = CertifiedIssuer::signed_by(params, key, &it.own).unwrap();
    uniform(&it.shown(leaf(&signing, ID, |_| {}), &[&signing]).await);
    // One that is an authority, and may not sign certificates.
    let muted = below(&it.own, "muted", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    uniform(&it.shown(leaf(&muted, ID, |_| {}), &[&muted]).await);
}

#[tokio::test]
async fn n_sp_04_ids_that_only_look_alike_are_refused() {
    let it = Fixture::new().await;
    for id in [
        "spiffe://EXAMPLE.ORG/ns/bots/planner",
        "spiffe://example.org/ns/../bots/planner",
        "spiffe://example.org/ns/bots/planner/",
        "spiffe://example.org:443/ns/bots/planner",
        "spiffe://example.org/ns/bots/pl%61nner",
        "https://example.org/ns/bots/planner",
    ] {
        because(&it.shown(leaf(&it.own, id, |_| {}), &[]).await, "no X.509-SVID");
    }
    for id in [
        "spiffe://example.org/ns/bots/planner2",
        "spiffe://example.org/ns/bots",
        "spiffe://example.org/ns/ab/c",
        "spiffe://example.org/ns/a",
    ] {
        because(&it.shown(leaf(&it.own, id, |_| {}), &[]).await, "its SPIFFE ID is another");
    }
    uniform(&it.shown(leaf(&it.own, "spiffe://example.org.evil.example/ns/bots/planner", |_| {}), &[]).await);
}

#[tokio::test]
async fn sp_03_validity_and_name_constraints_are_honoured() {
    let it = Fixture::new().await;
    for (from, until) in [(2020, 2021), (2080, 2090)] {
        let dated = |params: &mut CertificateParams| {
            (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        };
        because(&it.shown(leaf(&it.own, ID, dated), &[]).await, "not valid now");
    }
    let dated = below(&it.own, "dated", |params| params.not_after = date_time_ymd(2021, 1, 1));
    uniform(&it.shown(leaf(&dated, ID, |_| {}), &[&dated]).await);
    let dns = |name: &str| GeneralSubtree::DnsName(name.to_owned());
    let constrained = below(&it.own, "constrained", |params| {
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: vec![dns("allowed.example")], excluded_subtrees: Vec::new() });
    });
    let named = |name: &'static str| {
        move |params: &mut CertificateParams| params.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap()))
    };
    it.shown(leaf(&constrained, ID, named("a.allowed.example")), &[&constrained]).await.access_token();
    uniform(&it.shown(leaf(&constrained, ID, named("a.other.example")), &[&constrained]).await);
    // permittedSubtrees: the URI host `example.org`. A path with a constraint on URIs is refused, whatever it allows.
    let on_uris = below(&it.own, "uris", |params| {
        let mut der = vec![0x30, 0x11, 0xa0, 0x0f, 0x30, 0x0d, 0x86, 0x0b];
        der.extend_from_slice(b"example.org");
        let mut constraint = CustomExtension::from_oid_content(&[2, 5, 29, 30], der);
        constraint.set_criticality(true);
        params.custom_extensions = vec![constraint];
    });
    uniform(&it.shown(leaf(&on_uris, ID, |_| {}), &[&on_uris]).await);
    let short = below(&it.own, "short", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let under = below(&short, "under", |_| {});
    uniform(&it.shown(leaf(&under, ID, |_| {}), &[&under, &short]).await);
}

#[tokio::test]
async fn sp_05_a_new_authority_is_found_when_an_svid_needs_it_and_an_old_one_ends() {
    let it = Fixture::new().await;
    it.shown(leaf(&it.own, ID, |_| {}), &[]).await.access_token();
    let next = root("next");
    it.site.change(bundle(2, &[&next]));
    it.world.advance(30);
    it.shown(leaf(&next, ID, |_| {}), &[]).await.access_token();
    uniform(&it.shown(leaf(&it.own, ID, |_| {}), &[]).await);
}
