use crate::bundle;
use remit_policy::{Bundle, SCHEMA};

fn errors(text: &str) -> Vec<String> {
    bundle(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn every_error_of_every_file_has_its_line() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let wrong = Bundle::parse(&[
        file("b.cedar", "permit (principal, action, resource)\nwhen { context.purpos };\n\n\nforbid (principal, action == Action::\"cal\", resource);"),
        file("a.cedar", "permit (principal, action, resource);\n\npermit (principal action, resource);"),
        file("c.cedar", "// fine\npermit (principal, action, resource);"),
    ])
    .unwrap_err();
    insta::assert_snapshot!(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let wrong = Bundle::parse(&[
        file("b.cedar", "permit (principal, action, resource)\nwhen { context.purpos };\n\n\nforbid (principal, action == Action::\"cal\", resource);"),
        file("c.cedar", "permit (principal is Agnet, action, resource);\n@id(\"x\")\npermit (principal, action == Action::\"call\", resource)\nwhen {\n  resource.classification == \"pii\" };"),
    ])
    .unwrap_err();
    insta::assert_snapshot!(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_sign_in_of_a_step_up_is_stated_only_where_it_means_something() {
    for (text, word) in [
        ("@max_age(\"60\") permit (principal, action, resource);", "belongs on a forbid"),
        ("@acr_values(\"phr\") forbid (principal, action, resource);", "belongs on a forbid"),
        ("@effect(\"step_up\") @max_age(\"soon\") forbid (principal, action, resource);", "whole number"),
        ("@effect(\"step_up\") @max_age(\"-1\") forbid (principal, action, resource);", "whole number"),
        ("@effect(\"step_up\") @acr_values(\" \") forbid (principal, action, resource);", "`@acr_values` is"),
        ("@effect(\"step_up\") @acr_values(\"a\\\"b\") forbid (principal, action, resource);", "`@acr_values` is"),
    ] {
        let errors = errors(text);
        assert!(errors.len() == 1 && errors[0].contains(word), "{text}: {errors:?}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    insta::assert_snapshot!([
        errors("@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);"),
        errors("@effect(\"step_up\") permit (principal, action, resource);"),
        errors("@effect(\"maybe\") forbid (principal, action, resource);"),
        errors("@id(\"\") permit (principal, action, resource);"),
        errors("permit (principal == ?principal, action, resource);"),
        errors("permit (principal, action == Action::\"call\", resource) when { context.input.getTag(\"/amount\").long > 5 };"),
        errors("permit (principal, action == Action::\"call\", resource) when { context.input.hasTag(\"/amount\") && context.input.getTag(\"/amount\").long > 5 };"),
        errors("permit (principal is Agent, action, resource) when { principal has owner && principal.owner.sub == \"user:alice\" };"),
    ]
    .concat()
    .join("\n"));
}

#[test]
fn the_same_file_twice_is_refused() {
    let file = ("p.cedar".to_owned(), String::new());
    assert_eq!(Bundle::parse(&[file.clone(), file]).unwrap_err()[0].to_string(), "p.cedar: the file is given twice");
}

#[test]
fn a_pinned_bundle_reads_back_as_itself() {
    let starter: Vec<_> = Bundle::starter().iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let bundle = Bundle::parse(&starter).unwrap();
    assert_eq!(bundle.digest(), remit_model::json::sha256_label(&bundle.pinned()));
    assert_eq!(bundle.schema_digest(), remit_model::json::sha256_label(SCHEMA.as_bytes()));
    let again = Bundle::from_pinned(&bundle.pinned(), bundle.schema().as_bytes()).unwrap();
    assert_eq!((again.digest(), again.len()), (bundle.digest(), bundle.len()));

    let mut shuffled = starter;
    shuffled.reverse();
    assert_eq!(Bundle::parse(&shuffled).unwrap().digest(), bundle.digest());
}

#[test]
fn a_damaged_pin_is_refused() {
    let bundle = bundle("permit (principal, action, resource);").unwrap();
    assert!(Bundle::from_pinned(b"{}", SCHEMA.as_bytes()).is_err());
    assert!(Bundle::from_pinned(&bundle.pinned(), b"entity;").is_err());
    let other = String::from_utf8(bundle.pinned()).unwrap().replace("policies.v1", "policies.v9");
    assert!(Bundle::from_pinned(other.as_bytes(), SCHEMA.as_bytes()).is_err());
}
