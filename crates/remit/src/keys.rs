//! The server's and the agents' private keys: one file a purpose, which only the right people can read (JW-03).

use crate::bounded_read;
use anyhow::{Context as _, Result, bail};
use remit_clock::Ambient;
use remit_ledger::note;
use remit_token::{Algorithm, KeyFolder, PrivateKey, SigningKeys, issuer::key_file};
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

const VAULT: &str = "vault.seed";
const ISSUER: &str = "issuer.pem";

/// What `serve` signs with.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Access and ID tokens; public halves in the JWKS.
    pub(crate) issuer: SigningKeys,
    /// Audit records.
    pub(crate) record: [u8; 32],
    /// Ledger checkpoints; never in the JWKS.
    pub(crate) log: [u8; 32],
    /// Keyed pseudonyms in records, and keyed hashes of codes and refresh tokens.
    pub(crate) pepper: [u8; 32],
    /// Wraps the keys of the people and things that records are about (`keys.db`).
    pub(crate) vault: [u8; 32],
}

/// Makes every key of a server and its admin credential; returns the log's verifier key.
pub(crate) fn create(dir: &Path, origin: &str, ambient: &Ambient) -> Result<String> {
    let issuer = PrivateKey::generate(Algorithm::Es256, &mut |bytes| ambient.entropy.fill(bytes))
        .map_err(|fault| anyhow::anyhow!("{fault}"))?;
    write_private(&dir.join(ISSUER), issuer.to_pkcs8_pem().map_err(|fault| anyhow::anyhow!("{fault}"))?.trim_end().as_bytes())?;
    for name in ["record.seed", "log.seed", "pepper.seed", VAULT] {
        let mut seed = [0; 32];
        ambient.entropy.fill(&mut seed);
        write_private(&dir.join(name), hex(&seed).as_bytes())?;
    }
    write_private(&dir.join("admin.token"), ambient.entropy.token(32).as_bytes())?;
    vkey(dir, origin)
}

/// The verifier key (C2SP signed-note vkey) of the log whose seed lies in `dir`.
pub(crate) fn vkey(dir: &Path, origin: &str) -> Result<String> {
    let seed = read_seed(&dir.join("log.seed"))?;
    let key = note::SigningKey::from_seed(origin, &seed).map_err(|fault| anyhow::anyhow!("{fault}"))?;
    Ok(key.public().to_string())
}

/// Reads the keys that `create` wrote.
pub(crate) fn read(dir: &Path) -> Result<Keys> {
    Ok(Keys {
        issuer: issuer(dir)?,
        record: read_seed(&dir.join("record.seed"))?,
        log: read_seed(&dir.join("log.seed"))?,
        pepper: read_seed(&dir.join("pepper.seed"))?,
        vault: vault(dir)?,
    })
}

/// The issuer's keys: `issuer.pem` of `remit init`, and one file for each key that `remit keys rotate` made.
fn issuer(dir: &Path) -> Result<SigningKeys> {
    let first = dir.join(ISSUER);
    let mut files = issuer_files(dir)?;
    files.sort_by_key(|file| (*file != first, file.clone()));
    if files.is_empty() {
        bail!(
            "{} is not there, nor any other key of the issuer; put one back, or make a new one with `remit keys rotate`",
            first.display()
        );
    }
    let keys = files.iter().map(|file| read_key(file)).collect::<Result<Vec<_>>>()?;
    let read = |file: &Path| read_key(file).map_err(|error| format!("{error:#}"));
    Ok(SigningKeys::with(keys, Some(KeyFolder { dir: dir.to_owned(), read })))
}

/// The files of the issuer's private keys.
pub(crate) fn issuer_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let name = entry?.file_name();
        let known = name.to_str().is_some_and(|name| {
            let kid = name.strip_prefix("issuer-").and_then(|rest| rest.strip_suffix(".pem"));
            name == ISSUER || kid.and_then(key_file).is_some()
        });
        if known {
            files.push(dir.join(name));
        }
    }
    Ok(files)
}

/// Makes a new key for the issuer in a file of its own.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn create_issuer(dir: &Path, ambient: &Ambient) -> Result<(PathBuf, PrivateKey)> {
    let key = PrivateKey::generate(Algorithm::Es256, &mut |bytes| ambient.entropy.fill(bytes));
    let key = key.map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let name = key_file(key.public().thumbprint()).context("a thumbprint of another length")?;
    let file = dir.join(name);
    write_private(&file, key.to_pkcs8_pem().map_err(|fault| anyhow::anyhow!("{fault}"))?.trim_end().as_bytes())?;
    Ok((file, key))
}

/// What wraps the keys in `keys.db`.
pub(crate) fn vault(dir: &Path) -> Result<[u8; 32]> {
    read_seed(&dir.join(VAULT))
}

/// Reads a PKCS#8 PEM private key.
pub(crate) fn read_key(file: &Path) -> Result<PrivateKey> {
    let pem = read_secret(file)?;
    PrivateKey::from_pkcs8_pem(&pem).map_err(|fault| anyhow::anyhow!("{}: {fault}", file.display()))
}

/// Most bytes of a secret file.
const SECRET_LIMIT: usize = 64 << 10;

/// Reads a secret text file, without its trailing newline; one that the wrong people can read is refused.
///
/// # Errors
/// It cannot be read, is no regular file, belongs to another user, or its mode is too open (see [`too_open`]).
pub(crate) fn read_secret(file: &Path) -> Result<String> {
    // The file that was opened is the one that is checked and read: the path may lead elsewhere a moment later.
    let (opened, meta) = bounded_read::open(file)?;
    if let Some(why) = too_open(meta.permissions().mode(), meta.uid(), rustix::process::geteuid().as_raw()) {
        bail!("{} {why} (mode {:o})", file.display(), meta.permissions().mode() & 0o777);
    }
    let bytes = bounded_read::rest(opened, SECRET_LIMIT).with_context(|| format!("cannot read {}", file.display()))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", file.display()))?;
    Ok(text.trim_end().to_owned())
}

/// Why a file with this mode and owner may not hold a secret of the user `us`, and what to do. Root or we own it, because an
/// owner can always read and change it. Its group may read it, as a mounted secret is (`root:GROUP 0440`), but not write it,
/// and it is closed to everyone else.
fn too_open(mode: u32, owner: u32, us: u32) -> Option<&'static str> {
    if mode & 0o007 != 0 {
        return Some("is open to everyone; `chmod 600` it");
    }
    if mode & 0o030 != 0 {
        return Some("can be written by its group; `chmod 600` it");
    }
    (owner != 0 && owner != us).then_some("belongs to another user; `chown` it to the user that runs remit, or to root")
}

/// Writes a new file that only its owner can read; never overwrites one.
pub(crate) fn write_private(file: &Path, bytes: &[u8]) -> Result<()> {
    // INVARIANT: a key is never overwritten, and its file is private from the moment it exists.
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    out.write_all(bytes)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.sync_all())
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Makes a folder, and those above it, that only its owner can enter.
pub(crate) fn private_folder(dir: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// Reads 32 bytes written as hexadecimal digits.
pub(crate) fn read_seed(file: &Path) -> Result<[u8; 32]> {
    let text = read_secret(file)?;
    let bytes: Option<Vec<u8>> =
        (0..text.len()).step_by(2).map(|at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).with_context(|| format!("{} is not 64 hexadecimal digits", file.display()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn written(text: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        (dir, file)
    }

    #[test]
    fn the_keys_of_a_server_are_its_owners_alone_and_are_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let vkey = create(dir.path(), "remit.example/log", &Ambient::system()).unwrap();
        assert!(vkey.starts_with("remit.example/log+"), "{vkey}");
        for file in fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
        let keys = read(dir.path()).unwrap();
        let seeds = BTreeSet::from([keys.record, keys.log, keys.pepper, keys.vault]);
        assert_eq!(seeds.len(), 4, "one key has two purposes");
        assert!(create(dir.path(), "remit.example/log", &Ambient::system()).is_err(), "written over");
        assert_eq!(read(dir.path()).unwrap().log, keys.log);
    }

    #[test]
    fn a_missing_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path(), "remit.example/log", &Ambient::system()).unwrap();
        for name in ["issuer.pem", "record.seed", "log.seed", "pepper.seed", "vault.seed"] {
            let kept = fs::read(dir.path().join(name)).unwrap();
            fs::remove_file(dir.path().join(name)).unwrap();
            let error = format!("{:#}", read(dir.path()).unwrap_err());
            assert!(error.contains(name), "{name}: {error}");
            write_private(&dir.path().join(name), kept.trim_ascii_end()).unwrap();
        }
        read(dir.path()).unwrap();
    }

    #[test]
    fn a_seed_is_64_hexadecimal_digits() {
        let (good, odd, short, long) = ("0a".repeat(32), "0".repeat(63), "0a".repeat(31), "0a".repeat(33));
        let wrong = ["", &odd, &short, &long, &"zz".repeat(32), &"é".repeat(32), &format!("{} 0a", "0a".repeat(31))];
        for text in wrong {
            let (_dir, file) = written(text.as_bytes(), 0o600);
            let error = read_seed(&file).unwrap_err().to_string();
            assert!(error.contains("not 64 hexadecimal digits"), "{text}: {error}");
        }
        let (_dir, file) = written(format!("{good}\n").as_bytes(), 0o600);
        assert_eq!(read_seed(&file).unwrap(), [10; 32]);
    }

    #[test]
    fn a_secret_that_everybody_can_read_is_refused() {
        for mode in [0o604, 0o606, 0o666, 0o777] {
            let (_dir, file) = written(b"secret", mode);
            let error = read_secret(&file).unwrap_err().to_string();
            assert!(error.contains("chmod"), "{mode:o}: {error}");
        }
        let (_dir, file) = written(b"secret\n", 0o400);
        assert_eq!(read_secret(&file).unwrap(), "secret");
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_file() {
        let (_dir, file) = written(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600);
        let error = format!("{:#}", read_key(&file).unwrap_err());
        assert!(error.contains("secret"), "{error}");
    }

    #[test]
    fn jw_03_a_secret_is_open_to_its_owner_and_at_most_readable_by_a_trusted_group() {
        let (root, us, other) = (0, 1000, 1001);
        for mode in 0..0o1000_u32 {
            let closed = mode.trailing_zeros() >= 5;
            assert_eq!(too_open(mode, root, us).is_none(), closed, "root's {mode:o}");
            assert_eq!(too_open(mode, us, us).is_none(), closed, "ours {mode:o}");
            assert!(too_open(mode, other, us).is_some(), "another's {mode:o}");
            assert!(too_open(mode, us, root).is_some(), "another's, read by root, {mode:o}");
        }
    }

    #[test]
    fn jw_03_a_secret_of_another_user_is_refused_and_says_what_to_do() {
        let (_dir, file) = written(b"s3cret", 0o600);
        if let Err(error) = std::os::unix::fs::chown(&file, Some(4_711), None) {
            // Only root can give a file away; the modes and owners are tested above.
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{error}");
            return;
        }
        let error = read_secret(&file).unwrap_err().to_string();
        assert!(error.contains("another user") && error.contains("chown") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_secret_that_never_ends_or_is_too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap().success());
        let error = format!("{:#}", read_secret(&pipe).unwrap_err());
        assert!(error.contains("not a regular file") && error.contains("pipe"), "{error}");
        let (_dir, file) = written(&vec![b'a'; SECRET_LIMIT + 1], 0o600);
        let error = format!("{:#}", read_secret(&file).unwrap_err());
        assert!(error.contains("longer than") && error.contains("secret"), "{error}");
    }

    #[test]
    fn jw_03_a_secret_that_everyone_can_read_is_refused_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        fs::write(&file, "s3cret\n").unwrap();
        for (mode, fine) in [(0o600, true), (0o440, true), (0o644, false), (0o620, false), (0o604, false)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let read = read_secret(&file);
            assert_eq!(read.is_ok(), fine, "{mode:o}: {read:?}");
            if let Err(error) = read {
                assert!(error.to_string().contains("chmod 600") && !error.to_string().contains("s3cret"), "{error}");
            }
        }
    }
}
