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
