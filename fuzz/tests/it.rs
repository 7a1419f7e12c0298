//! Replays every committed input of every target, and what lies close to it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use remit_fuzz::TARGETS;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What a search kept for a target: an input a line, in Base64.
fn corpus(name: &str) -> String {
    fs::read_to_string(folder("corpus").join(format!("{name}.txt"))).unwrap_or_default()
}

/// The names in a folder, sorted.
fn names(place: &Path) -> Vec<String> {
    let files = fs::read_dir(place).into_iter().flatten();
    let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_target_has_a_program_and_seeds() {
    let listed: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let programs: Vec<String> = listed.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&folder("fuzz_targets")), programs);
    assert_eq!(names(&folder("seeds")), listed);
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for name in listed {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not built");
        assert!(names(&folder("seeds").join(&name)).len() >= 3, "{name} has few seeds");
    }
}

#[test]
fn what_is_committed_breaks_nothing() {
    for (name, target) in TARGETS {
        let place = folder("seeds").join(name);
        for file in names(&place) {
            println!("{name}/{file}");
            target(&fs::read(place.join(file)).unwrap());
        }
        for (number, line) in corpus(name).lines().enumerate() {
            println!("{name}: line {}", number + 1);
            target(&STANDARD.decode(line).unwrap());
        }
    }
}

/// Cut at many places, and with one bit flipped in many bytes.
#[test]
fn what_lies_close_to_a_seed_breaks_nothing() {
    for (name, target) in TARGETS {
        let place = folder("seeds").join(name);
        for file in names(&place) {
            let seed = fs::read(place.join(&file)).unwrap();
            for at in (0..seed.len()).step_by(1 + seed.len() / 60) {
                println!("{name}/{file} at {at}");
                target(&seed[..at]);
                let mut flipped = seed.clone();
                flipped[at] ^= 1 << (at % 8);
                target(&flipped);
            }
        }
    }
}

#[test]
fn the_corpus_stays_small() {
    let bytes: usize = TARGETS.iter().map(|(name, _)| corpus(name).len()).sum();
    assert!(bytes <= 400 << 10, "{bytes} bytes: keep less of a search");
}
