//! What a wrong configuration is told.

use super::load::load;
use super::sections::schema;
use serde_json::Value;

fn complaints(yaml: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("remit.yaml");
    std::fs::write(&file, yaml).unwrap();
    let problems = load(&file).err().unwrap_or_default();
    problems.iter().map(|problem| format!("{}: {}", problem.line.unwrap_or(0), problem.reason)).collect()
}

/// The members that a schema has, behind references and alternatives.
fn members<'s>(root: &'s Value, schema: &'s Value) -> Vec<(&'s str, &'s Value)> {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|text| root.pointer(text.trim_start_matches('#')));
    let own = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let mut found: Vec<_> = own.map(|(name, inner)| (name.as_str(), inner)).collect();
    found.extend(target.into_iter().flat_map(|target| members(root, target)));
    found
}

#[test]
fn every_key_of_every_section_refuses_a_value_of_another_type_and_is_named() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let mut tried = 0;
    for (section, inner) in members(&schema, &schema) {
        let wrong = complaints(&format!("{section}: [[1]]\n"));
        assert!(wrong.iter().any(|text| text.contains(section)), "{section}: {wrong:?}");
        for (key, _) in members(&schema, inner) {
            // A list in a list is the value of no key.
            let wrong = complaints(&format!("{section}:\n  {key}: [[1]]\n"));
            assert!(
                wrong.iter().any(|text| text.contains(&format!("{section}: ")) || text.contains(&format!("{section}.{key}: "))),
                "{section}.{key}: {wrong:?}"
            );
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried} keys");
}

#[test]
fn every_section_refuses_a_key_it_does_not_have_and_names_its_line() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    for (section, inner) in members(&schema, &schema) {
        if members(&schema, inner).is_empty() {
            continue;
        }
        let wrong = complaints(&format!("{section}:\n  no_such_key: 1\n"));
        assert!(wrong.iter().any(|text| text.starts_with("2: ") && text.contains("no_such_key")), "{section}: {wrong:?}");
    }
}

#[test]
fn values_out_of_range_are_told_with_their_line_and_what_would_be_right() {
    let server = |member: &str| format!("mcp_servers:\n  desk:\n    {member}\n");
    for (yaml, told) in [
        ("agents:\n  access_token_lifetime: 59\n".to_owned(), "2: agents.access_token_lifetime: must be 60 to"),
        ("agents:\n  access_token_lifetime: -1\n".to_owned(), "agents: "),
        ("agents:\n  danger_bearer_lifetime: 3601\n".to_owned(), "2: agents.danger_bearer_lifetime: must be 60 to"),
        ("agents:\n  danger_bearer: always\n".to_owned(), "unknown variant `always`"),
        ("clients:\n  binding: danger_bearer\n".to_owned(), "2: clients.binding: `danger_bearer` needs"),
        ("agents:\n  chain_depth: 0\n".to_owned(), "2: agents.chain_depth: must be 1 to 8"),
        ("ledger:\n  publish_every_ms: 9\n".to_owned(), "2: ledger.publish_every_ms: must be 10 to 10000"),
        ("server:\n  listen: 8420\n".to_owned(), "server"),
        ("server:\n  listen: \"127.0.0.1\"\n".to_owned(), "2: server.listen: `127.0.0.1` is not ADDRESS:PORT"),
        ("server:\n  listen: \"127.0.0.1:99999\"\n".to_owned(), "2: server.listen"),
        ("server:\n  public_url: \"\"\n".to_owned(), "2: server.public_url"),
        (server("url: http://u@127.0.0.1/"), "mcp_servers.desk.url"),
        (server("url: /mcp"), "mcp_servers.desk.url"),
        (server("command: []"), "mcp_servers.desk.command: name a program"),
        (server("sample: shop"), "there is no sample `shop`; there is `helpdesk`"),
        (server("title: Desk"), "give exactly one of `url`, `command` and `sample`"),
        (server("{sample: helpdesk, header_files: {x-key: nowhere}}"), "cannot read `nowhere`"),
        (server("{sample: helpdesk, tools: {read: {class: reading}}}"), "unknown variant `reading`"),
    ] {
        let found = complaints(&yaml);
        assert!(found.iter().any(|text| text.contains(told)), "{yaml}{found:?}");
    }
}

#[test]
fn a_file_that_is_no_configuration_is_told_as_such() {
    for yaml in ["", "- a\n", "text\n", "a: b: c\n", "a: &x [*x]\n", "{", "a: !!binary x\n", "%YAML 9\n"] {
        assert!(!complaints(yaml).is_empty() || yaml.is_empty(), "{yaml:?} is a configuration");
    }
    let dir = tempfile::tempdir().unwrap();
    let missing = load(&dir.path().join("remit.yaml")).unwrap_err();
    assert!(missing[0].reason.contains("`remit init` writes one"), "{}", missing[0]);
    std::fs::write(dir.path().join("latin1"), b"server: \xe9\n").unwrap();
    assert!(load(&dir.path().join("latin1")).unwrap_err()[0].reason.contains("cannot read it"));
    std::fs::write(dir.path().join("large"), vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(load(&dir.path().join("large")).is_err(), "a file without bound is read");
    assert!(load(dir.path()).is_err(), "a folder is read");
}

#[test]
fn anchors_do_not_multiply_a_small_file() {
    let mut yaml = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let inner = format!("*a{}", level - 1);
        yaml += &["a", &level.to_string(), ": &a", &level.to_string(), " [", &[inner.as_str(); 10].join(", "), "]\n"].concat();
    }
    assert!(!complaints(&yaml).is_empty());
}

/// What is told about `yaml`, and nothing else.
#[track_caller]
fn told(yaml: &str, expected: &str) {
    let found = complaints(yaml);
    assert!(found.len() == 1 && found[0].contains(expected), "{yaml}{found:?}, not {expected}");
}

/// What is usual in a section's settings, besides what `members` says.
fn besides(members: &str, usual: &[(&str, &str)]) -> String {
    let others = usual.iter().filter(|(key, _)| !members.starts_with(&format!("{key}:")));
    let lines: Vec<String> = others.map(|(key, value)| format!("    {key}: {value}\n")).collect();
    lines.concat()
}

#[test]
fn a_workload_issuer_that_cannot_be_is_told_with_its_line_and_what_would_be_right() {
    let issuer =
        |members: &str| format!("workload_issuers:\n  ci:\n    preset: oidc\n    issuer: https://ci.example\n    {members}\n");
    for (members, expected) in [
        ("jwks_uri: http://ci.example/keys", "5: workload_issuers.ci.jwks_uri: `http://ci.example/keys` is not an https URL"),
        ("algorithms: [HS256]", "5: workload_issuers.ci.algorithms: `HS256` is not one of ES256"),
        ("max_lifetime_s: 86401", "5: workload_issuers.ci.max_lifetime_s: must be 60 to 86400"),
        ("max_age_s: 9", "5: workload_issuers.ci.max_age_s: must be 10 to 86400"),
        ("token_review: https://ci.example", "5: workload_issuers.ci.token_review: only a `kubernetes` issuer"),
        ("single_use: maybe", "workload_issuers.ci"),
        ("max_lifetime_s: -1", "workload_issuers.ci"),
        ("jwks: https://ci.example/keys", "5: workload_issuers.ci: unknown field `jwks`"),
    ] {
        told(&issuer(members), expected);
    }
    told("workload_issuers:\n  ci:\n    preset: oidc\n", "3: workload_issuers.ci.issuer: name the `iss`");
    told("workload_issuers:\n  ci:\n    preset: bitbucket\n", "workload_issuers.ci");
    told(
        "workload_issuers:\n  ci:\n    issuer: ci\n",
        "3: workload_issuers.ci.issuer: `ci` is not an https URL; or give `jwks_uri`",
    );
    told("workload_issuers:\n  C I:\n    preset: github\n", "workload_issuers.C I: ");
    let twice = "workload_issuers:\n  a:\n    preset: github\n  b:\n    preset: github\n";
    told(twice, "5: workload_issuers.b.issuer: another one of `workload_issuers` has the same `iss`");
    // An issuer that is only compared need not be a URL.
    assert!(complaints("workload_issuers:\n  ci: {issuer: ci, jwks_uri: https://ci.example/keys}\n").is_empty());
}

#[test]
fn a_trust_domain_that_cannot_be_is_told_with_its_line_and_what_would_be_right() {
    let domain = |name: &str, members: &str| format!("spiffe:\n  trust_domains:\n    {name}:\n      {members}\n");
    for (name, members, expected) in [
        (
            "example.org",
            "max_stale_s: 60",
            "4: spiffe.trust_domains.example.org: give exactly one of `bundle_url` and `bundle_file`",
        ),
        (
            "example.org",
            "bundle_url: http://b.example",
            "4: spiffe.trust_domains.example.org.bundle_url: `http://b.example` is not an",
        ),
        (
            "example.org",
            "{bundle_file: b, max_lifetime_s: 3601}",
            "4: spiffe.trust_domains.example.org.max_lifetime_s: must be 30 to",
        ),
        (
            "example.org",
            "{bundle_file: b, max_stale_s: 59}",
            "4: spiffe.trust_domains.example.org.max_stale_s: must be 60 to 604800",
        ),
        ("example.org", "bundle: b", "4: spiffe: unknown field `bundle`, expected one of `bundle_url`"),
        (
            "Example.org",
            "bundle_file: b",
            "4: spiffe.trust_domains.Example.org: a trust domain has 1 to 255 characters: lower-case",
        ),
        ("spiffe://example.org", "bundle_file: b", "spiffe.trust_domains.spiffe://example.org: a trust domain has"),
    ] {
        told(&domain(name, members), expected);
    }
    assert!(complaints(&domain("example.org", "bundle_file: bundle.json")).is_empty(), "it may come later");
}

#[test]
fn a_trusted_issuer_that_cannot_be_is_told_with_its_line_and_what_would_be_right() {
    let issuer = |members: &str| {
        let usual = [("issuer", "https://idp.example"), ("jwks_uri", "https://idp.example/keys"), ("accept", "[access_token]")];
        let usual = besides(members, &usual);
        format!("trusted_issuers:\n  staff:\n    {members}\n{usual}")
    };
    assert!(complaints(&issuer("single_use: true")).is_empty(), "{:?}", complaints(&issuer("single_use: true")));
    for (members, expected) in [
        ("issuer: idp", "3: trusted_issuers.staff.issuer: `idp` is not a URL, such as https://idp.example"),
        (
            "jwks_uri: http://idp.example/k",
            "3: trusted_issuers.staff.jwks_uri: `http://idp.example/k` is not an https URL, or http on loopback",
        ),
        ("jwks_uri: ftp://idp.example/k", "3: trusted_issuers.staff.jwks_uri: "),
        ("accept: []", "3: trusted_issuers.staff.accept: name at least one of access_token, jwt_grant and id_jag"),
        ("accept: [id_jag]", "3: trusted_issuers.staff.accept: `id_jag` needs the top-level key `id_jag: draft-04`"),
        ("accept: [id_token]", "unknown variant `id_token`"),
        ("algorithms: [none]", "3: trusted_issuers.staff.algorithms: `none` is not one of ES256"),
        ("max_lifetime_s: 0", "3: trusted_issuers.staff.max_lifetime_s: must be 1 to 86400"),
        ("max_age_s: 86401", "3: trusted_issuers.staff.max_age_s: must be 1 to 86400"),
        ("clients: {app: \"not an agent\"}", "3: trusted_issuers.staff.clients: "),
        ("scopes: {tickets: \"nowhere:read\"}", "3: trusted_issuers.staff.scopes.tickets: "),
        ("keys: []", "3: trusted_issuers.staff: unknown field `keys`"),
    ] {
        told(&issuer(members), expected);
    }
    told("trusted_issuers:\n  staff: {issuer: https://idp.example, accept: [access_token]}\n", "missing field `jwks_uri`");
}

#[test]
fn an_assertion_audience_that_cannot_be_is_told_with_its_line_and_what_would_be_right() {
    let audience = |members: &str| {
        let usual = [("issuer", "https://as.example"), ("clients", "{planner: app}"), ("scopes", "[tickets]")];
        let usual = besides(members, &usual);
        format!(
            "server: {{public_url: \"https://remit.example\"}}\nid_jag: draft-04\nassertion_audiences:\n  desk:\n    {members}\n{usual}"
        )
    };
    assert!(complaints(&audience("act: true")).is_empty(), "{:?}", complaints(&audience("act: true")));
    for (members, expected) in [
        ("issuer: as", "5: assertion_audiences.desk.issuer: `as` is not a URL without fragment, such as https://as.example"),
        ("issuer: https://remit.example", "5: assertion_audiences.desk.issuer: this server redeems no assertion of its own"),
        (
            "resources: [\"https://as.example/mcp#top\"]",
            "5: assertion_audiences.desk.resources: `https://as.example/mcp#top` is not",
        ),
        ("clients: {\"Not An Agent\": app}", "5: assertion_audiences.desk.clients: "),
        ("scopes: []", "5: assertion_audiences.desk.scopes: name at least one"),
        ("scopes: [\"*\"]", "5: assertion_audiences.desk.scopes: `*` is not a scope; name each one"),
        ("scopes: [\"a b\"]", "5: assertion_audiences.desk.scopes: `a b` is not a scope"),
        ("act: sometimes", "assertion_audiences.desk"),
        ("audience: x", "5: assertion_audiences.desk: unknown field `audience`"),
    ] {
        told(&audience(members), expected);
    }
    let off = audience("act: true").replace("id_jag: draft-04\n", "");
    told(&off, "assertion_audiences.desk.issuer: needs the top-level key `id_jag: draft-04`");
    told("id_jag: draft-05\n", "draft-04");
}
