//! Which logs to believe, and whose cosignatures make a checkpoint good: the C2SP tlog-policy file.
//!
//! SPEC: LG-22. The file is octets; names are compared octet by octet. Reading is strict and has limits.

use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    cosign::WitnessKey,
    note::{Note, NoteError, VerifyingKey},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Longest policy file we read.
pub const POLICY_LIMIT: usize = 256 * 1024;
/// Most logs, most witnesses and most groups: with the log's own, as many signatures as a note may have.
const LINES_LIMIT: usize = 63;

/// Logs, witnesses, and the rule which of the witnesses are enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<(VerifyingKey, Option<String>)>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Quorum,
}

/// Whose cosignatures are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quorum {
    /// None are asked for.
    None,
    Of(Member),
}

/// One witness of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    name: Vec<u8>,
    pub key: WitnessKey,
    /// Submission prefix, where `add-checkpoint` is.
    pub url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: Vec<u8>,
    threshold: usize,
    members: Vec<Member>,
}

/// A witness or a group defined earlier, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy line {line}: {reason}")]
pub struct PolicyError {
    /// From 1; 0 is the file as a whole.
    pub line: usize,
    pub reason: PolicyProblem,
}

/// What is wrong with a line, or with the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyProblem {
    #[error("the file is too long")]
    TooLong,
    #[error("the last line does not end")]
    Unended,
    #[error("there is no quorum line")]
    NoQuorum,
    #[error("a control character")]
    Control,
    #[error("not UTF-8")]
    Utf8,
    #[error("`{0}` with these items is not a log, witness, group or quorum line")]
    Line(String),
    #[error(transparent)]
    Key(#[from] NoteError),
    #[error("this {0}'s key stands here twice")]
    RepeatedKey(&'static str),
    #[error("more than {LINES_LIMIT} {0}")]
    TooMany(&'static str),
    #[error("more than one URL")]
    Urls,
    #[error("a group without members")]
    EmptyGroup,
    #[error("the threshold is not `any`, `all` or a number from 1 to the number of members")]
    Threshold,
    #[error("`{0}` is a member of a group already")]
    Taken(String),
    #[error("a second quorum line")]
    SecondQuorum,
    #[error("`{0}` is not defined above")]
    Undefined(String),
    #[error("the name `none` is taken")]
    None,
    #[error("`{0}` is defined twice")]
    DefinedTwice(String),
}

/// What a policy says of a checkpoint whose log's signature is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub checkpoint: Checkpoint,
    /// Each witness that cosigned: its key's name and the time it stated, in seconds since 1970.
    pub cosigned: Vec<(String, u64)>,
    /// Witnesses whose stated time cannot be, and why: they were not counted.
    pub set_aside: Vec<(String, String)>,
    /// Whether those that count are enough.
    pub quorum: bool,
}

impl Policy {
    /// A quorum of `k` out of these witnesses; `None` when that cannot be.
    pub fn threshold(log: VerifyingKey, witnesses: Vec<(WitnessKey, Option<String>)>, k: usize) -> Option<Self> {
        let count = witnesses.len();
        let keys: BTreeSet<_> = witnesses.iter().map(|(key, _)| key.public_bytes()).collect();
        if count > LINES_LIMIT || k > count || keys.len() != count {
            return None;
        }
        let name = |at: usize| format!("w{}", at + 1).into_bytes();
        let witnesses = witnesses.into_iter().enumerate().map(|(at, (key, url))| Witness { name: name(at), key, url }).collect();
        let (groups, quorum) = if k == 0 {
            (Vec::new(), Quorum::None)
        } else {
            let group = Group { name: b"quorum".to_vec(), threshold: k, members: (0..count).map(Member::Witness).collect() };
            (vec![group], Quorum::Of(Member::Group(0)))
        };
        Some(Self { logs: vec![(log, None)], witnesses, groups, quorum })
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// The first line that is not one of C2SP tlog-policy, or names what is not defined above it, or names it twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let whole = |reason| PolicyError { line: 0, reason };
        if bytes.len() > POLICY_LIMIT {
            return Err(whole(PolicyProblem::TooLong));
        }
        let text = bytes.strip_suffix(b"\n").ok_or_else(|| whole(PolicyProblem::Unended))?;
        let mut draft = Draft::default();
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            draft.line(line).map_err(|reason| PolicyError { line: at + 1, reason })?;
        }
        draft.finish().map_err(whole)
    }

    /// The keys of the logs that this policy is about.
    pub fn logs(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.logs.iter().map(|(key, _)| key)
    }

    /// The witnesses in the order of the policy.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether any cosignature is required at all.
    pub fn requires_witnesses(&self) -> bool {
        self.quorum != Quorum::None
    }

    /// Whether these witnesses, by their place in [`Self::witnesses`], are enough.
    pub fn satisfied(&self, cosigned: impl Fn(usize) -> bool) -> bool {
        // Groups only name what stands before them, so one pass in their order decides each.
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        let holds = |groups: &[bool], member: &Member| match *member {
            Member::Witness(at) => cosigned(at),
            Member::Group(at) => groups.get(at).copied().unwrap_or(false),
        };
        for group in &self.groups {
            let count = group.members.iter().filter(|member| holds(&groups, member)).count();
            groups.push(count >= group.threshold);
        }
        match &self.quorum {
            Quorum::None => true,
            Quorum::Of(member) => holds(&groups, member),
        }
    }

    /// Judges a checkpoint note: the log's signature must be good, or there is nothing to judge. `plausible(at)` says why
    /// the time a witness states cannot be, if it cannot.
    ///
    /// # Errors
    /// No good signature by a log of this policy, an origin that is not that key's name, or a bad line under a known
    /// witness's key: the note as a whole is then refused. SPEC: LG-15.
    pub fn judge(&self, note: &[u8], plausible: impl Fn(u64) -> Result<(), String>) -> Result<Judgement, CheckpointError> {
        let checkpoint = self.open(note)?;
        let note = Note::parse(note)?;
        let (mut cosigned, mut set_aside, mut counted) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (place, witness) in self.witnesses.iter().enumerate() {
            let name = witness.key.name().to_owned();
            let Some(found) = witness.key.cosigned(&note)? else { continue };
            match plausible(found.at) {
                Ok(()) => {
                    counted.insert(place);
                    cosigned.push((name, found.at));
                }
                Err(why) => set_aside.push((name, why)),
            }
        }
        let quorum = self.satisfied(|place| counted.contains(&place));
        Ok(Judgement { checkpoint, cosigned, set_aside, quorum })
    }

    /// Opens a checkpoint signed by one of the logs.
    fn open(&self, note: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let mut refused = CheckpointError::Note(NoteError::Unsigned);
        for log in self.logs() {
            match Checkpoint::open(note, log) {
                Ok(checkpoint) => return Ok(checkpoint),
                // Another log's signature may still be there; a worse reason is kept for the report.
                Err(CheckpointError::Note(NoteError::Unsigned)) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

/// A policy being read.
#[derive(Default)]
struct Draft {
    logs: Vec<(VerifyingKey, Option<String>)>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    names: BTreeMap<Vec<u8>, Member>,
    /// Names that already belong to a group: each may contribute in one way only.
    taken: BTreeSet<Vec<u8>>,
    quorum: Option<Quorum>,
}

impl Draft {
    fn line(&mut self, line: &[u8]) -> Result<(), PolicyProblem> {
        if line.iter().any(|&byte| byte == 0x7F || (byte < 0x20 && byte != b'\t')) {
            return Err(PolicyProblem::Control);
        }
        let items: Vec<&[u8]> = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", vkey, url @ ..] => self.log(vkey, url),
            [b"witness", name, vkey, url @ ..] => self.witness(name, vkey, url),
            [b"group", name, threshold, members @ ..] => self.group(name, threshold, members),
            [b"quorum", name] => self.set_quorum(name),
            [first, ..] => Err(PolicyProblem::Line(shown(first))),
        }
    }

    fn log(&mut self, vkey: &[u8], url: &[&[u8]]) -> Result<(), PolicyProblem> {
        let key = VerifyingKey::parse(utf8(vkey)?)?;
        if self.logs.iter().any(|(known, _)| known.public_bytes() == key.public_bytes()) {
            return Err(PolicyProblem::RepeatedKey("log"));
        }
        full(self.logs.len(), "logs")?;
        self.logs.push((key, optional_url(url)?));
        Ok(())
    }

    fn witness(&mut self, name: &[u8], vkey: &[u8], url: &[&[u8]]) -> Result<(), PolicyProblem> {
        let key = WitnessKey::parse(utf8(vkey)?)?;
        if self.witnesses.iter().any(|known| known.key.public_bytes() == key.public_bytes()) {
            return Err(PolicyProblem::RepeatedKey("witness"));
        }
        full(self.witnesses.len(), "witnesses")?;
        self.define(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(Witness { name: name.to_vec(), key, url: optional_url(url)? });
        Ok(())
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], names: &[&[u8]]) -> Result<(), PolicyProblem> {
        full(self.groups.len(), "groups")?;
        if names.is_empty() {
            return Err(PolicyProblem::EmptyGroup);
        }
        let threshold = match threshold {
            b"any" => 1,
            b"all" => names.len(),
            number => {
                let number = std::str::from_utf8(number).ok().and_then(crate::record::decimal);
                let number = number.and_then(|number| usize::try_from(number).ok());
                let reachable = number.filter(|number| (1..=names.len()).contains(number));
                reachable.ok_or(PolicyProblem::Threshold)?
            }
        };
        let mut members = Vec::with_capacity(names.len());
        for member in names {
            members.push(self.known(member)?);
            if !self.taken.insert(member.to_vec()) {
                return Err(PolicyProblem::Taken(shown(member)));
            }
        }
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { name: name.to_vec(), threshold, members });
        Ok(())
    }

    fn set_quorum(&mut self, name: &[u8]) -> Result<(), PolicyProblem> {
        if self.quorum.is_some() {
            return Err(PolicyProblem::SecondQuorum);
        }
        self.quorum = Some(if name == b"none" { Quorum::None } else { Quorum::Of(self.known(name)?) });
        Ok(())
    }

    fn known(&self, name: &[u8]) -> Result<Member, PolicyProblem> {
        self.names.get(name).copied().ok_or_else(|| PolicyProblem::Undefined(shown(name)))
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), PolicyProblem> {
        if name == b"none" {
            return Err(PolicyProblem::None);
        }
        if self.names.insert(name.to_vec(), member).is_some() {
            return Err(PolicyProblem::DefinedTwice(shown(name)));
        }
        Ok(())
    }

    fn finish(self) -> Result<Policy, PolicyProblem> {
        let quorum = self.quorum.ok_or(PolicyProblem::NoQuorum)?;
        Ok(Policy { logs: self.logs, witnesses: self.witnesses, groups: self.groups, quorum })
    }
}

fn full(count: usize, what: &'static str) -> Result<(), PolicyProblem> {
    if count < LINES_LIMIT { Ok(()) } else { Err(PolicyProblem::TooMany(what)) }
}

fn utf8(bytes: &[u8]) -> Result<&str, PolicyProblem> {
    std::str::from_utf8(bytes).map_err(|_| PolicyProblem::Utf8)
}

/// A name for a message; what is not UTF-8 is replaced.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn optional_url(items: &[&[u8]]) -> Result<Option<String>, PolicyProblem> {
    match items {
        [] => Ok(None),
        [url] => Ok(Some(utf8(url)?.to_owned())),
        _ => Err(PolicyProblem::Urls),
    }
}

impl fmt::Display for Policy {
    /// The policy as a file. Names that are not UTF-8 are shown, not preserved.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, url) in &self.logs {
            writeln!(f, "log {key}{}", after(url.as_deref()))?;
        }
        for witness in &self.witnesses {
            let name = String::from_utf8_lossy(&witness.name);
            writeln!(f, "witness {name} {}{}", witness.key, after(witness.url.as_deref()))?;
        }
        for group in &self.groups {
            let members: Vec<_> = group.members.iter().map(|member| self.name(member)).collect();
            writeln!(f, "group {} {} {}", String::from_utf8_lossy(&group.name), group.threshold, members.join(" "))?;
        }
        match &self.quorum {
            Quorum::None => writeln!(f, "quorum none"),
            Quorum::Of(member) => writeln!(f, "quorum {}", self.name(member)),
        }
    }
}

impl Policy {
    fn name(&self, member: &Member) -> std::borrow::Cow<'_, str> {
        let name = match *member {
            Member::Witness(at) => self.witnesses.get(at).map(|witness| &witness.name),
            Member::Group(at) => self.groups.get(at).map(|group| &group.name),
        };
        String::from_utf8_lossy(name.map_or(&[], Vec::as_slice))
    }
}

fn after(url: Option<&str>) -> String {
    url.map(|url| format!(" {url}")).unwrap_or_default()
}
