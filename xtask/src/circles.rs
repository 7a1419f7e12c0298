//! Counts import circles between the source files of one crate.
//!
//! A file imports another when one of its paths (`use` or qualified) names something that the other file defines;
//! re-exports are followed to the definition. A circle is a strongly connected component of more than one file.
//! Tests do not count. Paths built by macros are not seen.

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Path of a module inside its crate: `["record", "seal"]` for `crate::record::seal`.
type Module = Vec<String>;

/// The circles of the crate whose sources are below `src`, each as the sorted names of its files.
///
/// # Errors
/// When a file cannot be read or is not Rust.
pub(crate) fn of_crate(src: &Path) -> Result<Vec<Vec<String>>> {
    let mut sources = BTreeMap::new();
    collect(src, src, &mut sources)?;
    let files: BTreeMap<Module, File> =
        sources.iter().map(|(name, text)| Ok((module(name), File::read(name, text)?))).collect::<Result<_>>()?;
    let names: BTreeMap<Module, String> = sources.into_keys().map(|name| (module(&name), name)).collect();
    Ok(circles(&imports(&files))
        .into_iter()
        .map(|circle| circle.iter().filter_map(|module| names.get(module).cloned()).collect())
        .collect())
}

fn collect(root: &Path, dir: &Path, sources: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("{}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, sources)?;
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let name = path.strip_prefix(root)?.to_str().ok_or_else(|| anyhow!("{} is not UTF-8", path.display()))?;
            sources.insert(name.replace('\\', "/"), fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

fn module(name: &str) -> Module {
    let mut parts: Module = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// What one source file says about names.
#[derive(Default)]
struct File {
    /// Items that are defined here.
    defines: BTreeSet<String>,
    /// Names that a `use` brings in, with the path each stands for.
    uses: BTreeMap<String, UsePath>,
    /// Modules whose every name a `use …::*` brings in.
    globs: Vec<UsePath>,
    /// Every path with more than one segment, those of `use` included.
    paths: Vec<UsePath>,
    /// Child modules that only tests have.
    test_modules: BTreeSet<String>,
}

/// A path as written, with the inline modules it is written in.
#[derive(Clone)]
struct UsePath {
    inside: Module,
    segments: Vec<String>,
}

impl File {
    fn read(name: &str, text: &str) -> Result<Self> {
        let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{name} is not Rust: {error}"))?;
        let mut file = Self::default();
        file.scan(tokens, &Vec::new());
        Ok(file)
    }

    fn scan(&mut self, tokens: TokenStream, inside: &Module) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += match token {
                TokenTree::Punct(hash) if hash.as_char() == '#' && only_tests(tokens.get(at + 1)) => self.skip(tokens.get(at..)),
                TokenTree::Group(group) => {
                    self.scan(group.stream(), inside);
                    1
                }
                TokenTree::Ident(word) => match word.to_string().as_str() {
                    "use" => self.read_use(tokens.get(at..), inside),
                    "mod" => self.read_mod(tokens.get(at..), inside),
                    keyword @ ("struct" | "enum" | "union" | "trait" | "type" | "const" | "static" | "fn" | "macro_rules") => {
                        let step = if keyword == "macro_rules" { 2 } else { 1 };
                        self.defines.extend(ident(tokens.get(at + step)));
                        1
                    }
                    _ => self.read_path(tokens.get(at..), inside),
                },
                _ => 1,
            };
        }
    }

    /// The length of an item that only tests have.
    fn skip(&mut self, tokens: Option<&[TokenTree]>) -> usize {
        let tokens = tokens.unwrap_or_default();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(word) if word == "mod" => self.test_modules.extend(ident(tokens.get(at + 1))),
                TokenTree::Punct(end) if end.as_char() == ';' => return at + 1,
                TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => return at + 1,
                _ => {}
            }
        }
        tokens.len()
    }

    fn read_mod(&mut self, tokens: Option<&[TokenTree]>, inside: &Module) -> usize {
        let tokens = tokens.unwrap_or_default();
        let (Some(name), Some(TokenTree::Group(body))) = (ident(tokens.get(1)), tokens.get(2)) else { return 1 };
        let mut inside = inside.clone();
        inside.push(name);
        self.scan(body.stream(), &inside);
        3
    }

    fn read_use(&mut self, tokens: Option<&[TokenTree]>, inside: &Module) -> usize {
        let tokens = tokens.unwrap_or_default();
        let end = tokens.iter().position(is(';')).unwrap_or(tokens.len());
        self.tree(tokens.get(1..end).unwrap_or_default(), &Vec::new(), inside);
        end + 1
    }

    /// One use tree: `a::b`, `a::{…}`, `a::*` or `a as b`.
    fn tree(&mut self, tokens: &[TokenTree], before: &[String], inside: &Module) {
        let mut segments = before.to_vec();
        let mut name = None;
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    name = ident(tokens.get(at + 1));
                    break;
                }
                TokenTree::Ident(word) if word != "self" || segments.is_empty() => segments.push(word.to_string()),
                TokenTree::Punct(star) if star.as_char() == '*' => {
                    self.globs.push(UsePath { inside: inside.clone(), segments: segments.clone() });
                    segments.push("*".to_owned());
                    self.paths.push(UsePath { inside: inside.clone(), segments });
                    return;
                }
                TokenTree::Group(group) => return self.branches(group, &segments, inside),
                _ => {}
            }
        }
        let Some(name) = name.or_else(|| segments.last().cloned()) else { return };
        let path = UsePath { inside: inside.clone(), segments };
        self.paths.push(path.clone());
        if inside.is_empty() {
            self.uses.insert(name, path);
        }
    }

    fn branches(&mut self, group: &Group, before: &[String], inside: &Module) {
        let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
        for branch in tokens.split(is(',')) {
            if !branch.is_empty() {
                self.tree(branch, before, inside);
            }
        }
    }

    /// A qualified path in code: `a::b::c`.
    fn read_path(&mut self, tokens: Option<&[TokenTree]>, inside: &Module) -> usize {
        let tokens = tokens.unwrap_or_default();
        let mut segments: Vec<String> = ident(tokens.first()).into_iter().collect();
        let mut at = 1;
        while tokens.get(at).is_some_and(is(':')) && tokens.get(at + 1).is_some_and(is(':')) {
            let Some(next) = ident(tokens.get(at + 2)) else { break };
            segments.push(next);
            at += 3;
        }
        if segments.len() > 1 {
            self.paths.push(UsePath { inside: inside.clone(), segments });
        }
        at
    }
}

/// `[cfg(test)]` and the like, but not `[cfg(not(test))]`.
fn only_tests(token: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(attribute)) = token else { return false };
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    text == "test" || (text.starts_with("cfg(") && text.contains("test") && !text.contains("not(") && !text.contains('"'))
}

fn ident(token: Option<&TokenTree>) -> Option<String> {
    if let Some(TokenTree::Ident(word)) = token { Some(word.to_string()) } else { None }
}

fn is(sign: char) -> impl Fn(&TokenTree) -> bool {
    move |token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// Which file imports which.
fn imports(files: &BTreeMap<Module, File>) -> Imports {
    let shipped = |module: &Module| {
        (1..=module.len()).all(|depth| {
            let (parent, rest) = module.split_at(depth - 1);
            let hidden = files.get(parent).zip(rest.first()).is_some_and(|(file, name)| file.test_modules.contains(name));
            !hidden && rest.first().is_none_or(|name| name != "tests")
        })
    };
    let mut imports = Imports::new();
    for (module, file) in files.iter().filter(|(module, _)| shipped(module)) {
        let targets = file.paths.iter().filter_map(|path| definition(files, module, path, 0));
        imports.insert(module.clone(), targets.filter(|target| target != module && shipped(target)).collect());
    }
    imports
}

/// How many re-exports are followed before a path is given up.
const HOPS: usize = 16;

/// The file that defines what a path names; `None` for another crate, a local name, or a whole module.
fn definition(files: &BTreeMap<Module, File>, from: &Module, path: &UsePath, hops: usize) -> Option<Module> {
    let (mut at, rest) = start(files, from, path, hops)?;
    let mut rest = rest.iter();
    let name = loop {
        let name = rest.next()?;
        at.push(name.clone());
        if !files.contains_key(&at) {
            at.pop();
            break name;
        }
    };
    let file = files.get(&at)?;
    if name == "*" || file.defines.contains(name) || hops > HOPS {
        return Some(at);
    }
    let rest = || rest.clone().cloned();
    let follow = |path: &UsePath, more: Vec<String>| {
        let segments = path.segments.iter().cloned().chain(more).collect();
        definition(files, &at, &UsePath { inside: path.inside.clone(), segments }, hops + 1)
    };
    if let Some(path) = file.uses.get(name) {
        return follow(path, rest().collect());
    }
    let through = file.globs.iter().filter_map(|glob| {
        let found = follow(glob, std::iter::once(name.clone()).chain(rest()).collect())?;
        files.get(&found).is_some_and(|file| file.defines.contains(name)).then_some(found)
    });
    Some(through.into_iter().next().unwrap_or_else(|| at.clone()))
}

/// The module a path starts from, and the segments that are still to be walked.
fn start(files: &BTreeMap<Module, File>, from: &Module, path: &UsePath, hops: usize) -> Option<(Module, Vec<String>)> {
    let mut at: Module = from.iter().chain(&path.inside).cloned().collect();
    let mut rest = path.segments.as_slice();
    match rest.first()?.as_str() {
        "crate" => (at, rest) = (Module::new(), rest.get(1..)?),
        "self" => rest = rest.get(1..)?,
        "super" => {
            while rest.first().is_some_and(|first| first == "super") {
                at.pop();
                rest = rest.get(1..)?;
            }
        }
        first => {
            let child: Module = from.iter().cloned().chain([first.to_owned()]).collect();
            if !files.contains_key(&child) {
                let known = files.get(from)?.uses.get(first).filter(|known| known.segments != path.segments && hops <= HOPS)?;
                let segments = known.segments.iter().chain(rest.get(1..)?).cloned().collect();
                return start(files, from, &UsePath { inside: known.inside.clone(), segments }, hops + 1);
            }
            at.clone_from(from);
        }
    }
    // An inline module is part of the file around it.
    while !files.contains_key(&at) && !at.is_empty() {
        at.pop();
    }
    Some((at, rest.to_vec()))
}

/// Strongly connected components of more than one file: two files are in one when each reaches the other.
fn circles(imports: &Imports) -> Vec<Vec<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = imports.keys().map(|module| (module, reach(imports, module))).collect();
    let reaches = |from: &Module, to: &Module| reached.get(from).is_some_and(|reached| reached.contains(to));
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for module in imports.keys() {
        let circle: Vec<Module> =
            imports.keys().filter(|other| reaches(module, other) && reaches(other, module)).cloned().collect();
        if circle.len() > 1 && seen.insert(circle.clone()) {
            circles.push(circle);
        }
    }
    circles
}

fn reach<'i>(imports: &'i Imports, from: &Module) -> BTreeSet<&'i Module> {
    let mut open: Vec<&Module> = imports.get(from).into_iter().flatten().collect();
    let mut reached = BTreeSet::new();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(imports.get(next).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sources: &[(&str, &str)]) -> Vec<Vec<String>> {
        let files = sources.iter().map(|(name, text)| (module(name), File::read(name, text).unwrap())).collect();
        circles(&imports(&files)).into_iter().map(|circle| circle.iter().map(|module| module.join("::")).collect()).collect()
    }

    #[test]
    fn two_files_that_import_each_other_are_a_circle_however_they_write_it() {
        let ways = [
            ("use crate::b::B;", "use crate::a::A;"),
            ("use crate::{b::{B, C as D}, Other};", "use super::a::A;"),
            ("fn f() { crate::b::g() }", "use super::{a};\nfn g() { a::f() }"),
            ("use super::b::*;", "fn g() { let x = vec![super::a::f()]; }"),
            ("fn f(_: crate::b::B) {}", "mod inline { fn g() { super::super::a::f() } }"),
            ("#[cfg(not(test))]\nuse crate::b::B;", "use crate::a::A;"),
        ];
        for (a, b) in ways {
            let (a, b) = (format!("{a}\npub struct A;"), format!("{b}\npub struct B; pub struct C;"));
            assert_eq!(found(&[("lib.rs", "mod a; mod b; struct Other;"), ("a.rs", &a), ("b.rs", &b)]), [["a", "b"]], "{a} {b}");
        }
    }

    #[test]
    fn downward_imports_tests_comments_strings_and_other_crates_are_no_circle() {
        let upward = [
            "",
            "// use crate::a::A;",
            "const S: &str = \"crate::a::A\";",
            "#[cfg(test)]\nmod tests { use crate::a::A; }",
            "#[cfg(test)]\nuse crate::a::A;",
            "#[test]\nfn t() { crate::a::f() }",
            "use other::a::A;",
            "use crate::a;",
        ];
        for b in upward {
            let b = format!("{b}\npub struct B;");
            let root = "mod a; mod b; pub use a::A;";
            let circles = found(&[("lib.rs", root), ("a.rs", "use crate::b::B; pub struct A;"), ("b.rs", &b)]);
            assert_eq!(circles, Vec::<Vec<String>>::new(), "{b}");
        }
    }

    #[test]
    fn a_file_of_tests_does_not_count() {
        let a = "#[cfg(test)]\nmod cases;\npub struct A;";
        assert!(found(&[("lib.rs", "mod a;"), ("a.rs", a), ("a/cases.rs", "use super::A;\nuse crate::a::A;")]).is_empty());
        let with_import = "#[cfg(test)]\nmod cases;\n#[cfg(test)]\nuse cases::C;\npub struct A;";
        assert!(found(&[("a.rs", with_import), ("a/cases.rs", "use super::A; pub struct C;")]).is_empty());
    }

    #[test]
    fn a_re_export_is_an_import_of_the_file_that_defines_the_item() {
        // `b` imports `A` by its short name from the root; the root itself is not what `b` depends on.
        let root = "mod a; mod b; pub use a::A; pub use b::*;";
        assert!(found(&[("lib.rs", root), ("a.rs", "pub struct A;"), ("b.rs", "use crate::A; pub struct B;")]).is_empty());
        let (a, b) = ("use crate::B; pub struct A;", "use crate::A; pub struct B;");
        assert_eq!(found(&[("lib.rs", root), ("a.rs", a), ("b.rs", b)]), [["a", "b"]]);
    }

    #[test]
    fn a_parent_that_uses_its_child_and_a_child_that_uses_its_parent_are_a_circle() {
        let parent = "mod child; pub use child::C; pub struct P;";
        assert_eq!(found(&[("a/mod.rs", parent), ("a/child.rs", "use super::P; pub struct C;")]), [["a", "a::child"]]);
        assert!(found(&[("a/mod.rs", "mod child; pub struct P;"), ("a/child.rs", "use super::P;")]).is_empty());
    }

    #[test]
    fn separate_circles_are_counted_apart_and_a_long_one_once() {
        let sources = [
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::c::C; pub struct B;"),
            ("c.rs", "use crate::a::A; pub struct C;"),
            ("d.rs", "use crate::e::E; use crate::a::A; pub struct D;"),
            ("e.rs", "use crate::d::D; pub struct E;"),
        ];
        assert_eq!(found(&sources), [vec!["a", "b", "c"], vec!["d", "e"]]);
    }
}
