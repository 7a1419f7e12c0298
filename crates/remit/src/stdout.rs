//! What a command says on standard output. A reader that goes away, as in `remit … | head -1`, ends the command quietly;
//! `println!` would panic.

use anyhow::Result;
use remit_model::display;
use serde_json::Value;
use std::{
    fmt,
    io::{self, ErrorKind, Write as _},
    process,
};

/// What a shell reports of a program that SIGPIPE ended: what the command would have come to is not known.
const NOBODY_READS: i32 = 141;

macro_rules! out {
    ($($text:tt)*) => { $crate::stdout::write(format_args!($($text)*)) };
}

macro_rules! outln {
    ($($text:tt)*) => { $crate::stdout::line(format_args!($($text)*)) };
}

pub(crate) fn write(text: fmt::Arguments<'_>) {
    if let Err(error) = io::stdout().lock().write_fmt(text) {
        ended(&error);
    }
}

pub(crate) fn line(text: fmt::Arguments<'_>) {
    write(format_args!("{text}\n"));
}

/// A JSON value, pretty-printed and safe on a terminal.
pub(crate) fn print_json(value: &Value) -> Result<()> {
    line(format_args!("{}", display::escape_json(&serde_json::to_string_pretty(value)?)));
    Ok(())
}

/// Ends the command, because standard output takes no more.
fn ended(error: &io::Error) -> ! {
    if error.kind() != ErrorKind::BrokenPipe {
        eprintln!("remit: cannot write to standard output: {error}");
        process::exit(1);
    }
    process::exit(NOBODY_READS)
}

/// Says that a server is ready. It serves whether or not that line is read.
pub(crate) fn announce(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Standard output for more than a line; it ends the command in the same way.
#[derive(Debug)]
pub(crate) struct Stream;

impl io::Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout()
            .lock()
            .write(bytes)
            .or_else(|error| if error.kind() == ErrorKind::Interrupted { Err(error) } else { ended(&error) })
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().lock().flush().or_else(|error| ended(&error))
    }
}
