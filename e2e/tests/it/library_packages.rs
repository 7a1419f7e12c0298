//! The client libraries as packages: their own tests, their style, their size, and that they install from the tree.

use crate::harness::{client, legacy_python, python, python_library, root, succeed, text};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

#[test]
fn the_python_library_passes_its_own_tests_with_httpx_and_httpx2() {
    for python in [python(), legacy_python()] {
        let mut pytest = Command::new(python);
        pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]).env("PYTHONPATH", python_library());
        pytest.current_dir(root().join("clients/python"));
        succeed(pytest);
    }
}

#[test]
fn the_typescript_library_passes_its_own_tests() {
    let mut node = Command::new("node");
    node.arg("--test").current_dir(root().join("clients/typescript"));
    succeed(node);
}

#[test]
fn python_sources_are_typed_and_tidy() {
    let library = root().join("clients/python");
    for arguments in [
        vec!["-m", "ruff", "check", "--no-cache", "."],
        vec!["-m", "ruff", "format", "--no-cache", "--check", "src", "tests"],
        vec!["-m", "mypy", "--strict", "--no-incremental", "src"],
    ] {
        let mut check = Command::new(legacy_python());
        check.args(arguments).current_dir(&library);
        succeed(check);
    }
    let mut examples = Command::new(legacy_python());
    examples.args(["-m", "ruff", "check", "--no-cache", "--config", text(&library.join("pyproject.toml"))]);
    examples.arg(root().join("examples"));
    succeed(examples);
}

#[test]
fn javascript_sources_parse() {
    for file in files(&root().join("clients/typescript/src"), "js").chain(files(&root().join("examples"), "mjs")) {
        let mut check = Command::new("node");
        check.arg("--check").arg(file);
        succeed(check);
    }
}

/// What index.d.ts declares is enough for a strict user (`clients/typescript/test/types.ts`), and no more than that.
#[test]
fn typescript_declarations_compile() {
    let mut compiler = Command::new("node");
    compiler.arg(client("node_modules/typescript/bin/tsc")).arg("--project").arg(root().join("clients/typescript"));
    succeed(compiler);
}

/// `pip install ./clients/python`, without the network: what it depends on is there.
#[test]
fn the_python_library_installs_from_the_tree() {
    let folder = TempDir::new().unwrap();
    let mut install = Command::new(legacy_python());
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "--target",
    ]);
    install.arg(folder.path()).arg(root().join("clients/python"));
    succeed(install);
    let mut import = Command::new(legacy_python());
    import.args(["-c", "import remit_agent; print(remit_agent.__file__, remit_agent.Agent.child.__doc__)"]);
    let told = succeed({
        import.env("PYTHONPATH", folder.path());
        import
    });
    assert!(String::from_utf8(told.stdout).unwrap().starts_with(text(folder.path())));
    assert!(folder.path().join("remit_agent/py.typed").is_file(), "type checkers see the hints");
}

/// `npm install ./clients/typescript`, without the network: it depends on nothing.
#[test]
fn the_typescript_library_installs_from_the_tree() {
    assert!(client("node_modules/@remit/agent/package.json").is_file(), "e2e uses the library as a package");
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("package.json"), "{\"private\": true, \"type\": \"module\"}").unwrap();
    let mut install = Command::new("npm");
    install.args(["install", "--offline", "--install-links", "--no-audit", "--no-fund", "--omit=peer"]);
    succeed({
        install.arg(root().join("clients/typescript")).current_dir(folder.path());
        install
    });
    let program = "import * as library from '@remit/agent'; console.log(Object.keys(library).join(' '))";
    let mut import = Command::new("node");
    import.args(["--input-type=module", "--eval", program]).current_dir(folder.path());
    let exported = String::from_utf8(succeed(import).stdout).unwrap();
    let described = fs::read_to_string(folder.path().join("node_modules/@remit/agent/src/index.d.ts")).unwrap();
    for name in exported.split_whitespace() {
        let declared = [format!("export function {name}("), format!("export class {name} ")];
        assert!(declared.iter().any(|declaration| described.contains(declaration)), "index.d.ts does not declare {name}");
    }
    assert!(exported.contains("remitAgent") && exported.contains("refusalOf"), "{exported}");
}

fn files(place: &Path, kind: &str) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(move |path| path.extension().is_some_and(|found| found == kind))
}
