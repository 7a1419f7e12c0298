//! `remit audit replay --level view`: the timeline, played in a terminal or printed.

use super::source::Source;
use crate::stdout::print_json;
use anyhow::{Result, anyhow};
use clap::Args;
use crossterm::{
    cursor, event,
    event::{Event, KeyCode, KeyEventKind},
    execute, queue,
    style::Print,
    terminal::{self, Clear, ClearType},
};
use remit_clock::Ambient;
use remit_insight::{
    moment_ns,
    timeline::{self, Gap, Line, Player, Wish},
};
use remit_ledger::Reader;
use std::{
    io::{IsTerminal as _, Write as _, stdout},
    thread::sleep,
    time::Duration,
};

/// How often the player looks at keys and at the time.
const TICK: Duration = Duration::from_millis(30);
/// How often a player at the live end looks for more.
const LOOK_NS: u64 = 500_000_000;
const HELP: &str = "space play/pause  + - speed  ← → step  PgUp PgDn 20  g/G begin/end  0-9 Enter go to record  q quit";

/// Which part of the timeline is shown, and how fast.
#[derive(Clone, Debug, Args)]
pub(super) struct Viewing {
    /// View: how fast, 0.1 to 1000 times what really passed; printed at once when there is no terminal and no speed
    #[arg(long, value_name = "FACTOR")]
    pub(super) speed: Option<f64>,
    /// View: begin at this record or time
    #[arg(long, value_name = "WHERE")]
    pub(super) from: Option<String>,
    /// View: print up to this record or time instead of playing
    #[arg(long, value_name = "WHERE")]
    pub(super) to: Option<String>,
    /// View: the same as --from
    #[arg(long, value_name = "WHERE", conflicts_with = "from")]
    pub(super) at: Option<String>,
}

pub(super) fn run(args: &Viewing, source: &Source, json: bool, ambient: &Ambient) -> Result<()> {
    let reader = source.open()?;
    let now = ambient.clock.now().wall_ns;
    let place = |text: &Option<String>, flag: &str| -> Result<Option<u64>> {
        let Some(text) = text else { return Ok(None) };
        if let Ok(index) = text.parse::<u64>() {
            return Ok(Some(index));
        }
        let time = moment_ns(text, now).map_err(|why| anyhow!("{flag}: {why}, nor a record's number"))?;
        Ok(Some(timeline::at_time(&reader, time)?))
    };
    let from = place(&args.at, "--at")?.or(place(&args.from, "--from")?).unwrap_or(0);
    let to = place(&args.to, "--to")?.unwrap_or(reader.len()).min(reader.len());
    if json || args.to.is_some() || !stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return list(args, json, &reader, from, to);
    }
    play(&reader, source, Player::new(from, reader.len(), args.speed.unwrap_or(1.0)), ambient)
}

/// The timeline on standard output, in its own time when a speed is given.
fn list(args: &Viewing, json: bool, reader: &Reader, from: u64, to: u64) -> Result<()> {
    let mut before: Option<u64> = None;
    for index in from..to {
        let line = timeline::line(reader, index)?;
        if let (Some(speed), Some(before)) = (args.speed, before) {
            let gap = timeline::gap(before, line.wall_ns, speed);
            if gap.capped && !json {
                outln!("{}", capped(gap));
            }
            stdout().flush()?;
            sleep(Duration::from_nanos(gap.played_ns));
        }
        before = Some(line.wall_ns);
        if json { print_json(&serde_json::to_value(&line)?)? } else { outln!("{}", line.text()) }
    }
    Ok(())
}

fn capped(gap: Gap) -> String {
    format!("{:>6}  … {:.1} s without a record, shortened", "", Duration::from_nanos(gap.real_ns).as_secs_f64())
}

/// Gives the terminal back however the player ends.
struct Raw;

impl Raw {
    fn take() -> Result<Self> {
        terminal::enable_raw_mode()?;
        execute!(stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = execute!(stdout(), cursor::Show, terminal::LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

fn play(reader: &Reader, source: &Source, mut player: Player, ambient: &Ambient) -> Result<()> {
    let mut live: Option<Reader> = None;
    let _raw = Raw::take()?;
    let (mut last, mut looked, mut typed) = (ambient.clock.now().mono_ns, 0, String::new());
    let mut drawn = None;
    loop {
        let current = live.as_ref().unwrap_or(reader);
        let gap = gap_before(current, &player)?;
        let now = ambient.clock.now().mono_ns;
        player.passed(now.saturating_sub(last), gap);
        last = now;
        if player.at >= player.len && now.saturating_sub(looked) > LOOK_NS {
            looked = now;
            let newer = source.open()?;
            player.len = newer.len().max(player.len);
            live = Some(newer);
        }
        let current = live.as_ref().unwrap_or(reader);
        let state = (player.clone(), gap.capped, typed.clone(), terminal::size()?);
        if drawn.as_ref() != Some(&state) {
            draw(current, &player, gap, &typed)?;
            drawn = Some(state);
        }
        if event::poll(TICK)?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
        {
            let quit = key.code == KeyCode::Char('q')
                || key.code == KeyCode::Esc
                || (key.code == KeyCode::Char('c') && key.modifiers.contains(event::KeyModifiers::CONTROL));
            if quit {
                return Ok(());
            }
            if let Some(wish) = wish(key.code, &mut typed) {
                player.wish(wish);
            }
        }
    }
}

fn gap_before(reader: &Reader, player: &Player) -> Result<Gap> {
    if player.at == 0 || player.at >= player.len.min(reader.len()) {
        return Ok(timeline::gap(0, 0, player.speed));
    }
    let (before, after) = (reader.record(player.at - 1)?.wall_ns(), reader.record(player.at)?.wall_ns());
    Ok(timeline::gap(before, after, player.speed))
}

fn wish(key: KeyCode, typed: &mut String) -> Option<Wish> {
    match key {
        KeyCode::Char(' ') => Some(Wish::PlayOrPause),
        KeyCode::Char('+' | '=') | KeyCode::Up => Some(Wish::Faster),
        KeyCode::Char('-') | KeyCode::Down => Some(Wish::Slower),
        KeyCode::Right => Some(Wish::Step(1)),
        KeyCode::Left => Some(Wish::Step(-1)),
        KeyCode::PageDown => Some(Wish::Step(20)),
        KeyCode::PageUp => Some(Wish::Step(-20)),
        KeyCode::Char('g') | KeyCode::Home => Some(Wish::Seek(0)),
        KeyCode::Char('G') | KeyCode::End => Some(Wish::End),
        KeyCode::Char(digit) if digit.is_ascii_digit() && typed.len() < 18 => {
            typed.push(digit);
            None
        }
        KeyCode::Backspace => {
            typed.pop();
            None
        }
        KeyCode::Enter => std::mem::take(typed).parse().ok().map(Wish::Seek),
        _ => None,
    }
}

fn draw(reader: &Reader, player: &Player, gap: Gap, typed: &str) -> Result<()> {
    let (width, height) = terminal::size()?;
    let rows = u64::from(height.saturating_sub(2)).max(1);
    let first = player.at.saturating_sub(rows);
    let mut out = stdout();
    queue!(out, cursor::MoveTo(0, 0), Clear(ClearType::All))?;
    for (row, index) in (0_u16..).zip(first..player.at.min(reader.len())) {
        let text = timeline::line(reader, index).as_ref().map_or_else(ToString::to_string, Line::text);
        queue!(out, cursor::MoveTo(0, row), Print(cut(&text, width)))?;
    }
    let live = if player.at >= player.len { "  live end" } else { "" };
    let waiting = if gap.capped { capped(gap) } else { String::new() };
    let go = if typed.is_empty() { String::new() } else { format!("  go to {typed}") };
    let mark = if player.playing { "▶" } else { "⏸" };
    let status = format!("{mark} {}×  record {} of {}{live}{go}  {}", player.speed, player.at, player.len, waiting.trim());
    queue!(out, cursor::MoveTo(0, height.saturating_sub(2)), Print(cut(&status, width)))?;
    queue!(out, cursor::MoveTo(0, height.saturating_sub(1)), Print(cut(HELP, width)))?;
    out.flush()?;
    Ok(())
}

fn cut(text: &str, width: u16) -> String {
    text.chars().take(usize::from(width)).collect()
}
