//! View replay: the records of a log as a timeline, and a player over it. SPEC: record.md §1.8 (R1).
//!
//! Nothing is executed and nothing decided: it shows what was recorded, in the order of the log, in the recorded gaps.
//! Pure: time passes only as the caller says.

use crate::{recorded_question::EVALUATION, side_values::opened};
use remit_ledger::{Reader, Record, Side, dir::ReadError};
use remit_model::display;
use serde::Serialize;
use serde_json::Value;

/// Longest gap between two records that is waited for, in nanoseconds of playing time.
pub const LONGEST_GAP_NS: u64 = 3_000_000_000;
/// How slow and how fast it plays, as a multiple of what really passed.
pub const SLOWEST: f64 = 0.1;
pub const FASTEST: f64 = 1000.0;

/// One record on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub index: u64,
    /// Nanoseconds since 1970.
    pub wall_ns: u64,
    /// RFC 3339 with nanoseconds.
    pub time: String,
    pub who: String,
    pub what: String,
    pub outcome: String,
}

/// How long to wait before the next record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// What really passed, in nanoseconds.
    pub real_ns: u64,
    /// How long it takes to play, in nanoseconds.
    pub played_ns: u64,
    /// It would take longer, and is cut to [`LONGEST_GAP_NS`].
    pub capped: bool,
}

/// Record `index` as a line. Names are shown where this copy discloses them.
///
/// # Errors
/// When the record cannot be read.
pub fn line(reader: &Reader, index: u64) -> Result<Line, ReadError> {
    let record = reader.record(index)?;
    let side = opened(reader, index, &record).ok().flatten();
    let names: Vec<String> = (0..).zip(record.chain()).map(|(at, party)| name(at, party, side.as_ref())).collect();
    let tool = record.text("/tool/name").filter(|tool| !tool.is_empty()).map(|tool| {
        let server = record.text("/tool/server_id").map(|server| format!("{server}/")).unwrap_or_default();
        format!("{server}{tool}")
    });
    let tool = tool.map(|tool| if record.action() == EVALUATION { format!("about {tool}") } else { tool });
    let code = record.text("/outcome/code").or_else(|| record.text("/decision/reason_code"));
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    Ok(Line {
        index,
        wall_ns: record.wall_ns(),
        time: record.text("/time/wall").unwrap_or_default().to_owned(),
        who: display::escape(&names.join(" → ")).into_owned(),
        what: display::escape(&format!("{} {}", record.record_type(), tool.as_deref().unwrap_or(record.action()))).into_owned(),
        outcome: display::escape(&format!("{}{code}", said(&record))).into_owned(),
    })
}

impl Line {
    /// The line as printed: number, time, who → what → outcome.
    pub fn text(&self) -> String {
        let time = self.time.get(..23).unwrap_or(&self.time);
        format!("{:>6}  {time}  {} → {} → {}", self.index, self.who, self.what, self.outcome)
    }
}

fn said(record: &Record) -> String {
    match record.record_type() {
        "intent" => "about to".to_owned(),
        _ => record.outcome().replace('_', " "),
    }
}

fn name(at: usize, party: &Value, side: Option<&Side>) -> String {
    let subject = side.and_then(|side| side.value(&format!("/chain/{at}/subject")));
    let sub = subject.as_ref().and_then(|subject| subject.get("sub")).and_then(Value::as_str).map(str::to_owned);
    sub.unwrap_or_else(|| {
        let text = |name: &str| party.get(name).and_then(Value::as_str).unwrap_or_default();
        format!("{}:{}", text("kind"), text("subject_ref").get(..8).unwrap_or_default())
    })
}

/// The wait between two records at a speed. A clock that went back counts as no time.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a wait, not a record's time"
)]
pub fn gap(before_ns: u64, after_ns: u64, speed: f64) -> Gap {
    let real_ns = after_ns.saturating_sub(before_ns);
    let played = real_ns as f64 / speed.clamp(SLOWEST, FASTEST);
    let capped = played > LONGEST_GAP_NS as f64;
    Gap { real_ns, played_ns: if capped { LONGEST_GAP_NS } else { played as u64 }, capped }
}

/// The first record at or after a time, by halving: exact where the wall clock was never set back.
///
/// # Errors
/// When a record cannot be read.
pub fn at_time(reader: &Reader, wall_ns: u64) -> Result<u64, ReadError> {
    let (mut low, mut high) = (0, reader.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if reader.record(middle)?.wall_ns() < wall_ns { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

/// Where a player is and how it goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Player {
    /// The next record to show.
    pub at: u64,
    /// How many there are so far.
    pub len: u64,
    pub playing: bool,
    pub speed: f64,
    /// Playing time since the last record was shown, in nanoseconds.
    waited_ns: u64,
}

/// What a person asks of the player.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wish {
    PlayOrPause,
    Faster,
    Slower,
    /// So many records on, or back.
    Step(i64),
    /// To a record.
    Seek(u64),
    /// To the live end.
    End,
}

impl Player {
    /// A player that begins at record `at` of `len`, playing.
    pub fn new(at: u64, len: u64, speed: f64) -> Self {
        Self { at: at.min(len), len, playing: true, speed: speed.clamp(SLOWEST, FASTEST), waited_ns: 0 }
    }

    /// Does what the viewer asked for.
    pub fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::PlayOrPause => self.playing = !self.playing,
            Wish::Faster => self.speed = next_speed(self.speed, true),
            Wish::Slower => self.speed = next_speed(self.speed, false),
            Wish::Step(by) => self.seek(self.at.saturating_add_signed(by)),
            Wish::Seek(to) => self.seek(to),
            Wish::End => self.seek(self.len),
        }
    }

    fn seek(&mut self, to: u64) {
        self.at = to.min(self.len);
        self.waited_ns = 0;
    }

    /// Lets playing time pass. `true` when the next record is due, which is shown then; `gap` is the one before it.
    pub fn passed(&mut self, elapsed_ns: u64, gap: Gap) -> bool {
        if !self.playing || self.at >= self.len {
            return false;
        }
        self.waited_ns = self.waited_ns.saturating_add(elapsed_ns);
        if self.waited_ns < gap.played_ns {
            return false;
        }
        self.waited_ns = 0;
        self.at += 1;
        true
    }
}

/// 0.1, 0.2, 0.5, 1, 2, 5, … 1000.
fn next_speed(speed: f64, up: bool) -> f64 {
    const STEPS: [f64; 13] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
    let next =
        if up { STEPS.iter().find(|step| **step > speed + 1e-9) } else { STEPS.iter().rev().find(|step| **step < speed - 1e-9) };
    next.copied().unwrap_or(speed)
}
