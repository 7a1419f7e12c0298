//! A flame graph: which part of the processor's time is spent below which function, as one still picture.
//!
//! Reads what `perf script` prints of sampled stacks. Functions are coloured by whose they are, so that the share of
//! signatures, of the database and of our own rules can be seen from afar. Nothing of the machine gets into the picture
//! but names of functions.

use std::{collections::BTreeMap, fmt::Write as _};

const WIDTH: f64 = 1200.0;
const ROW: f64 = 15.0;
const HEAD: f64 = 40.0;
/// Frames with a smaller share are left out, so that files stay small.
const LEAST: f64 = 0.002;
/// Width of a letter.
const LETTER: f64 = 5.6;
/// Deepest stack that is drawn.
const DEPTH: usize = 70;

/// Samples below one function.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    samples: u64,
    below: BTreeMap<String, Self>,
}

/// Whose functions are coloured how, in the order in which they are asked.
const KINDS: [(&str, &str, &[&str]); 6] = [
    (
        "signatures, hashes",
        "#7aa6d8",
        &["aws_lc", "sha256", "sha512", "p256_", "bignum_", "ecp_", "edwards25519", "CRYPTO_", "AES_"],
    ),
    ("database", "#8fc28a", &["sqlite", "rusqlite"]),
    ("policy engine", "#c9a3d6", &["cedar_policy"]),
    ("Remit", "#f0a35e", &["remit_", "remit::"]),
    ("kernel", "#bdbdbd", &["entry_SYSCALL", "do_syscall", "syscall_", "__x64_sys", "asm_", "sys_"]),
    ("runtime, HTTP, JSON, memory", "#ecd9a0", &[""]),
];

const KERNEL: usize = 4;
const SYSTEM_CALL: &str = "__x64_sys_";
const RUNTIME: &str = "tokio, hyper: sockets, HTTP, scheduling";
const ADAPTERS: [&str; 8] = ["core::", "<core::", "alloc::", "<alloc::", "std::", "<std::", "tokio::", "<tokio::"];

impl Frame {
    /// Folds the output of `perf script -F comm,ip,sym`: a line with the thread's name, then the stack from its top.
    pub(crate) fn fold(text: &str) -> Self {
        let mut all = Self::default();
        for sample in text.split("\n\n").filter(|sample| !sample.trim().is_empty()) {
            let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
            let Some(thread) = lines.next() else { continue };
            let mut stack: Vec<String> = lines.map(function).collect();
            stack.reverse();
            all.add(std::iter::once(thread.trim().to_owned()).chain(told(stack)).take(DEPTH));
        }
        all
    }

    fn add(&mut self, stack: impl Iterator<Item = String>) {
        self.samples += 1;
        let mut at = self;
        for name in stack {
            at = at.below.entry(name).or_default();
            at.samples += 1;
        }
    }

    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// The share of samples in each kind of function, by the uppermost function that is of one.
    pub(crate) fn shares(&self) -> Vec<(&'static str, f64)> {
        let mut counts = [0_u64; KINDS.len()];
        for (name, frame) in &self.below {
            frame.count(kind(name), &mut counts);
        }
        KINDS.iter().zip(counts).map(|((name, ..), count)| (*name, share(count, self.samples))).collect()
    }

    /// A function without a kind of its own works for the one that called it; the runtime has no such caller.
    fn count(&self, kind_above: usize, counts: &mut [u64; KINDS.len()]) {
        let mut own = self.samples;
        for (name, frame) in &self.below {
            own -= frame.samples.min(own);
            let kind = kind(name);
            frame.count(if kind == KINDS.len() - 1 { kind_above } else { kind }, counts);
        }
        if let Some(count) = counts.get_mut(kind_above) {
            *count += own;
        }
    }

    fn depth(&self, whole: u64) -> usize {
        let seen = self.below.values().filter(|frame| share(frame.samples, whole) >= LEAST);
        seen.map(|frame| frame.depth(whole) + 1).max().unwrap_or(0)
    }

    /// The picture: callers above, callees below, width is time.
    pub(crate) fn svg(&self, title: &str) -> String {
        let height = HEAD + ROW * real(self.depth(self.samples) as u64) + 8.0;
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"10\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"4\" y=\"14\" font-size=\"13\">{}</text>\n",
            escape(title)
        );
        let mut x = 4.0;
        for ((name, share), (_, colour, _)) in self.shares().iter().zip(KINDS) {
            let label = format!("{name} {:.0} %", share * 100.0);
            let _ = writeln!(
                text,
                "<rect x=\"{x:.0}\" y=\"22\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{:.0}\" y=\"31\">{label}</text>",
                x + 13.0
            );
            x += 30.0 + real(label.len() as u64) * LETTER;
        }
        self.draw(&mut text, 0.0, 0, self.samples);
        text.push_str("</svg>\n");
        text
    }

    fn draw(&self, text: &mut String, left: f64, depth: u64, whole: u64) {
        let mut left = left;
        for (name, frame) in &self.below {
            let part = share(frame.samples, whole);
            let wide = part * WIDTH;
            if part >= LEAST {
                let (top, colour) = (HEAD + ROW * real(depth), KINDS.get(kind(name)).map_or("white", |(_, colour, _)| colour));
                let _ = write!(
                    text,
                    "<g><title>{} {:.1} %</title><rect x=\"{left:.1}\" y=\"{top:.0}\" width=\"{:.1}\" height=\"14\" fill=\"{colour}\"/>",
                    escape(name),
                    part * 100.0,
                    (wide - 0.4).max(0.2),
                );
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of letters")]
                let letters = ((wide - 4.0) / LETTER).max(0.0) as usize;
                if letters >= 4 {
                    let shown: String = name.strip_prefix("remit_").unwrap_or(name).chars().take(letters).collect();
                    let _ = write!(text, "<text x=\"{:.1}\" y=\"{:.0}\">{}</text>", left + 2.0, top + 11.0, escape(&shown));
                }
                text.push_str("</g>\n");
                frame.draw(text, left, depth + 1, whole);
            }
            left += wide;
        }
    }
}

/// The function of a line `ADDRESS NAME+0xOFFSET`, without the hash that compilers add.
fn function(line: &str) -> String {
    let name = line.trim().split_once(' ').map_or("", |(_, name)| name).trim();
    let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name);
    let name = match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => name,
    };
    match name {
        "" | "[unknown]" => "?".to_owned(),
        // The version of the library is part of its functions' names.
        name => name.strip_prefix("aws_lc_").map_or_else(
            || name.to_owned(),
            |rest| format!("aws_lc {}", rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '_')),
        ),
    }
}

/// Of a stack, root first, what tells something: what led to our first function is the same for every request and often
/// cut off, adapters of the standard library stand between any two functions, and below a system call is not our work.
fn told(stack: Vec<String>) -> Vec<String> {
    let Some(first) = stack.iter().position(|name| name.contains("remit_")) else {
        let call = stack.into_iter().find(|name| name.starts_with(SYSTEM_CALL));
        return std::iter::once(RUNTIME.to_owned()).chain(call).collect();
    };
    let mut told: Vec<String> = Vec::new();
    let deepest = stack.len() - 1;
    for (at, name) in stack.into_iter().enumerate().skip(first) {
        let adapter = ADAPTERS.iter().any(|adapter| name.starts_with(adapter));
        let entry = kind(&name) == KERNEL && !name.starts_with(SYSTEM_CALL);
        if name != "?" && !entry && (!adapter || at == deepest) && told.last() != Some(&name) {
            told.push(name);
        }
        if told.last().is_some_and(|name| name.starts_with(SYSTEM_CALL)) {
            break;
        }
    }
    told
}

fn kind(name: &str) -> usize {
    KINDS.iter().position(|(_, _, marks)| marks.iter().any(|mark| name.contains(mark))).unwrap_or(KINDS.len() - 1)
}

fn share(part: u64, whole: u64) -> f64 {
    real(part) / real(whole.max(1))
}

#[expect(clippy::cast_precision_loss, reason = "small")]
fn real(count: u64) -> f64 {
    count as f64
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
tokio-rt-worker
\t    5581 aws_lc_0_47_0_EVP_DigestVerify+0x12
\t    5580 remit_token::dpop::verify::h0123456789abcdef+0x9
\t    5579 <alloc::boxed::Box<F> as Fn>::call+0x1

tokio-rt-worker
\t    5583 malloc+0x0
\t    5580 remit_token::dpop::verify::h0123456789abcdef+0x44
\t    5579 <alloc::boxed::Box<F> as Fn>::call+0x1

store-writer
\t    5595 ext4_sync_file+0x1
\t    5594 __x64_sys_fdatasync+0x1
\t    5593 do_syscall_64+0x1
\t    5592 [unknown]
\t    5591 sqlite3_step+0x3
\t    5590 <core::iter::Map<I> as Iterator>::next+0x3
\t    5590 remit_store::group::commit<T>+0x3

store-writer
\t    5594 __x64_sys_futex+0x1
\t    5590 tokio::runtime::park+0x3

";

    #[test]
    fn stacks_are_folded_from_their_root() {
        let all = Frame::fold(SCRIPT);
        assert_eq!(all.samples(), 4);
        let verify = &all.below["tokio-rt-worker"].below["remit_token::dpop::verify"];
        assert_eq!((verify.samples, verify.below.len()), (2, 2));
        assert!(verify.below.contains_key("aws_lc EVP_DigestVerify"));
        let writer = &all.below["store-writer"].below;
        let sync = &writer["remit_store::group::commit<T>"].below["sqlite3_step"].below["__x64_sys_fdatasync"];
        assert_eq!((sync.samples, sync.below.len()), (1, 0), "what leads there and what is below is left out");
        assert_eq!(writer[RUNTIME].below["__x64_sys_futex"].samples, 1);
    }

    #[test]
    fn every_sample_has_an_owner() {
        let shares = Frame::fold(SCRIPT).shares();
        // malloc works for us; a system call is the kernel's, whatever made it.
        for (name, expected) in [("signatures, hashes", 0.25), ("Remit", 0.25), ("database", 0.0), ("kernel", 0.5)] {
            let found = shares.iter().find(|(kind, _)| *kind == name).unwrap().1;
            assert!((found - expected).abs() < 1e-9, "{name}: {found}");
        }
    }

    #[test]
    fn the_picture_is_whole_and_escapes_names() {
        let picture = Frame::fold(SCRIPT).svg("A & B");
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        assert!(picture.contains("A &amp; B") && picture.contains("commit&lt;T&gt;") && !picture.contains("commit<T>"));
        assert_eq!(picture.matches("<g>").count(), picture.matches("</g>").count());
        assert!(Frame::fold("").svg("nothing").ends_with("</svg>\n"));
    }
}
