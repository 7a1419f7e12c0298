//! What the tests need beside Rust: Chromium, Go, faketime, valgrind, npm packages, Python packages.
//!
//! Everything is installed through the machine's own package clients, with exact versions, and only when it is missing.

use crate::run;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) fn all() -> Result<()> {
    chromium()?;
    go()?;
    faketime()?;
    valgrind()?;
    node_packages()?;
    python_packages()
}

/// The Python that has MCP SDK 2.x. The one with SDK 1.x lies beside it.
pub(crate) fn python() -> PathBuf {
    run::target().join("e2e-python").join("bin").join("python")
}

/// Debian's Chromium: the browser that signs in and consents.
fn chromium() -> Result<()> {
    if run::answers("chromium") {
        println!("setup: chromium is there");
        return Ok(());
    }
    debian("the browser test", &["chromium", "chromium-driver"])
}

/// Debian's Go and the transparency-log client of its checksum database, which reads our ledger as a third party.
fn go() -> Result<()> {
    let client = PathBuf::from("/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog");
    if run::output("go", &["version"]).is_ok() && client.is_dir() {
        println!("setup: Go and golang.org/x/mod are there");
        return Ok(());
    }
    debian("the transparency-log test", &["golang-go", "golang-golang-x-mod-dev"])
}

/// Debian's libfaketime: a server whose clock is stepped while it runs.
fn faketime() -> Result<()> {
    if run::answers("faketime") {
        println!("setup: faketime is there");
        return Ok(());
    }
    debian("the test of a stepped clock", &["faketime"])
}

/// Debian's valgrind, whose callgrind counts instructions and calls.
fn valgrind() -> Result<()> {
    if run::answers("valgrind") {
        println!("setup: valgrind is there");
        return Ok(());
    }
    debian("the guard of instruction counts", &["valgrind"])
}

/// Installs packages with the machine's own package client.
pub(crate) fn debian(what: &str, names: &[&str]) -> Result<()> {
    let list = names.join(" ");
    println!("setup: installing Debian's {list}");
    let packages = [&["install", "--yes", "--no-install-recommends"], names].concat();
    let outcome = if run::output("id", &["-u"]).is_ok_and(|id| id.trim() == "0") {
        run::run("apt-get", &["update", "--quiet"]).and_then(|()| run::run("apt-get", &packages))
    } else if run::answers("sudo") {
        let with_sudo = [&["-n", "apt-get"], packages.as_slice()].concat();
        run::run("sudo", &["-n", "apt-get", "update", "--quiet"]).and_then(|()| run::run("sudo", &with_sudo))
    } else {
        bail!("{what} needs packages that this user may not install: install {list}, then run this again")
    };
    outcome.with_context(|| format!("{what} needs {list}: install them (these are Debian's names), then run this again"))
}

/// `npm ci` when the lock file is newer than what is installed.
fn node_packages() -> Result<()> {
    let place = run::root().join("e2e").join("clients");
    for tool in ["node", "npm"] {
        if !run::answers(tool) {
            bail!("the client tests need Node 20 or newer and its npm: install them, then run this again ({tool} is missing)");
        }
    }
    let version = run::output("node", &["--version"])?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 20) {
        bail!("the client tests need Node 20 or newer, not {}", version.trim());
    }
    npm_ci(&place)
}

/// A folder under the target directory with the packages of a folder of `e2e/clients`.
pub(crate) fn node_folder(name: &str) -> Result<PathBuf> {
    let (list, place) = (run::root().join("e2e").join("clients").join(name), run::target().join(name));
    fs::create_dir_all(&place)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(list.join(file), place.join(file)).with_context(|| list.join(file).display().to_string())?;
    }
    npm_ci(&place)?;
    Ok(place)
}

/// Whether the folder of [`node_folder`] has the packages that its list names.
pub(crate) fn node_is_there(name: &str) -> bool {
    let wanted = fs::read(run::root().join("e2e").join("clients").join(name).join("package-lock.json")).ok();
    wanted.is_some() && fs::read(run::target().join(name).join("node_modules").join(".installed-from")).ok() == wanted
}

fn npm_ci(place: &Path) -> Result<()> {
    let lock = place.join("package-lock.json");
    let lock = fs::read(&lock).with_context(|| lock.display().to_string())?;
    let done = place.join("node_modules").join(".installed-from");
    if fs::read(&done).is_ok_and(|installed| installed == lock) {
        println!("setup: npm packages are in {}", place.display());
        return Ok(());
    }
    println!("setup: installing npm packages into {}", place.display());
    run::run_in(place, "npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"], &[])?;
    Ok(fs::write(done, lock)?)
}

/// Virtual environments under the target directory: one for each major version of the MCP SDK, which exclude each other.
const PYTHON: [(&str, &str); 2] = [("e2e-python", "requirements.txt"), ("e2e-python-sdk-1", "requirements-sdk-1.txt")];

fn python_packages() -> Result<()> {
    PYTHON.iter().try_for_each(|(place, list)| python_environment(place, list).map(drop))
}

/// Whether [`python_environment`] has the packages that its list names.
pub(crate) fn python_is_there(place: &str, list: &str) -> bool {
    let wanted = fs::read(run::root().join("e2e").join("clients").join(list)).ok();
    wanted.is_some() && fs::read(run::target().join(place).join(".installed-from")).ok() == wanted
}

/// One virtual environment with the packages that a file of `e2e/clients` lists; its Python.
pub(crate) fn python_environment(place: &str, list: &str) -> Result<PathBuf> {
    let list = run::root().join("e2e").join("clients").join(list);
    let wanted = fs::read(&list).with_context(|| list.display().to_string())?;
    let place = run::target().join(place);
    let python = place.join("bin").join("python");
    let done = place.join(".installed-from");
    if fs::read(&done).is_ok_and(|installed| installed == wanted) {
        println!("setup: Python packages are in {}", place.display());
        return Ok(python);
    }
    if !run::answers("python3") {
        bail!("the client tests need Python 3.10 or newer: install python3 and its venv module, then run this again");
    }
    println!("setup: installing Python packages into {}", place.display());
    run::run("python3", &["-m", "venv", "--clear", &place.display().to_string()])
        .context("python3 cannot make a virtual environment (Debian: install python3-venv)")?;
    let (list, pip) = (list.display().to_string(), python.display().to_string());
    run::run(&pip, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", &list])?;
    fs::write(done, wanted)?;
    Ok(python)
}
