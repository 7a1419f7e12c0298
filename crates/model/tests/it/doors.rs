//! One definition of displayable text: no other module looks for characters that cannot be shown.

use std::{fs, path::Path};

/// Grammars of other specifications, which say for themselves which characters they have.
const GRAMMARS: [&str; 4] = [
    "insight/src/export/cef.rs", // CEF and syslog
    "ledger/src/checkpoint.rs",  // C2SP tlog-checkpoint: an origin
    "ledger/src/note.rs",        // C2SP signed-note
    "model/src/resource.rs",     // ids of data subjects, which are never shown
];

#[test]
fn only_the_display_module_knows_which_characters_can_be_shown() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (mut files, mut found) = (0, Vec::new());
    let mut folders = vec![crates.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(crates).unwrap().to_string_lossy().replace('\\', "/");
            if path.is_dir() {
                if !matches!(path.file_name().and_then(|name| name.to_str()), Some("tests" | "target" | "node_modules")) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|kind| kind == "rs") && name.contains("/src/") {
                files += 1;
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]").next().unwrap();
                let ours =
                    name == "model/src/display.rs" || name == "model/src/authority/words.rs" || GRAMMARS.contains(&name.as_str());
                let own_rule = ["escape_debug", "escape_default", "escape_unicode", "is_control", "202e", "202E"];
                found.extend(own_rule.iter().filter(|rule| !ours && text.contains(*rule)).map(|rule| format!("{name}: {rule}")));
            }
        }
    }
    assert!(files > 200, "{files} files were read");
    assert_eq!(found, Vec::<String>::new(), "use remit_model::display");
    assert!(GRAMMARS.iter().all(|file| crates.join(file).is_file()));
}
