//! `remit audit export`: records in other people's formats, to a file, a folder or standard output.

use super::{
    bundle,
    new_file::{create, write},
    source::Source,
};
use crate::{
    config, keys,
    stdout::{Stream, print_json},
};
use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use remit_clock::Ambient;
use remit_insight::{
    export::{Item, Names, cef, csv, jsonl, ocsf, otlp, scitt},
    moment_ns,
};
use remit_ledger::{Reader, Record, proof, record::RecordKey, tree};
use serde_json::json;
use std::{
    fs,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// Records in one OTLP request.
const BATCH: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// OCSF 1.8.0 events, one JSON object a line
    Ocsf,
    /// The same with the names of 1.9.0-dev
    #[value(name = "ocsf-1.9")]
    OcsfNext,
    /// OpenTelemetry logs, one OTLP/JSON request a line
    Otlp,
    /// The records with their place in the log
    Jsonl,
    /// A table for spreadsheets
    Csv,
    /// CEF in RFC 5424 syslog lines
    Cef,
    /// A folder with each entry and its C2SP tlog-proof
    TlogProof,
    /// A folder with a SCITT signed statement (COSE) for each record
    Scitt,
    /// A folder for an auditor: ledger, keys, format, how to verify
    Bundle,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Export {
    /// The format
    #[arg(long, value_enum)]
    pub(crate) format: Format,
    /// Where to: a new file, or a new folder for tlog-proof, scitt and bundle (default: standard output)
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) out: Option<PathBuf>,
    /// First record, by number
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) from: u64,
    /// The record after the last, by number (default: all that is published)
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<u64>,
    /// Only records since then: 30d, 12h, an RFC 3339 time or a date
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
    /// Write names where the keys at hand disclose them, not pseudonyms alone
    #[arg(long)]
    pub(crate) disclose: bool,
    #[command(flatten)]
    bundle: bundle::Contents,
    #[command(flatten)]
    pub(crate) source: Source,
}

pub(super) fn run(args: &Export, ambient: &Ambient) -> Result<()> {
    let now = ambient.clock.now().wall_ns;
    let since = args.since.as_deref().map(|text| moment_ns(text, now)).transpose()?;
    let reader = args.source.open()?;
    let to = args.to.unwrap_or(reader.len()).min(reader.len());
    if args.from > to {
        bail!("--from {} is beyond --to {to}; the ledger has {} published records", args.from, reader.len());
    }
    let range = Range { reader: &reader, from: args.from, to, since: since.unwrap_or(0), disclose: args.disclose };
    let written = match args.format {
        Format::TlogProof => proofs(&range, folder(args)?)?,
        Format::Scitt => statements(&range, args)?,
        Format::Bundle => {
            if args.from > 0 || args.to.is_some() || args.since.is_some() || args.disclose {
                bail!(
                    "a bundle is a whole ledger: a part of one cannot be verified; leave out --from, --to, --since and --disclose"
                );
            }
            return bundle::run(&args.bundle, &args.source, folder(args)?);
        }
        format => match &args.out {
            Some(file) => {
                let mut out = BufWriter::new(create(file)?);
                let written = lines(&range, format, &mut out)?;
                out.flush()
                    .and_then(|()| out.get_ref().sync_all())
                    .with_context(|| format!("cannot write {}", file.display()))?;
                written
            }
            // Standard output holds the export and nothing else.
            None => return lines(&range, format, &mut BufWriter::new(Stream)).map(|_| ()),
        },
    };
    let out = args.out.as_deref().unwrap_or(Path::new("-"));
    if args.source.config.json {
        return print_json(&json!({"records": written, "out": out}));
    }
    outln!("{written} records written to {}", out.display());
    Ok(())
}

/// What of which ledger.
struct Range<'a> {
    reader: &'a Reader,
    from: u64,
    to: u64,
    since: u64,
    disclose: bool,
}

impl Range<'_> {
    /// Hands every record of the range to `with`; gives back how many there were.
    fn each(&self, mut with: impl FnMut(&Item<'_>, &[u8]) -> Result<()>) -> Result<u64> {
        let mut count = 0;
        for index in self.from..self.to {
            let entry = self.reader.entry(index)?;
            let record = Record::parse(&entry).with_context(|| format!("record {index}"))?;
            if record.wall_ns() < self.since {
                continue;
            }
            with(&self.item(&record, &entry, index)?, &entry)?;
            count += 1;
        }
        Ok(count)
    }

    fn item<'r>(&'r self, record: &'r Record, entry: &[u8], index: u64) -> Result<Item<'r>> {
        let names = match self.disclose.then(|| self.reader.side(index)).transpose()?.flatten() {
            Some(side) if side.root() == record.commit_root() => Names::of(&side, record.chain().len()),
            Some(_) => {
                bail!("record {index}: what is beside the log is not what the record commits to; verify this ledger first")
            }
            None => Names::default(),
        };
        let checkpoint = self.reader.checkpoint();
        let leaf = tree::leaf_hash(entry).to_string();
        Ok(Item { record, index, origin: &checkpoint.origin, size: checkpoint.size, leaf, names })
    }
}

fn lines(range: &Range<'_>, format: Format, out: &mut impl Write) -> Result<u64> {
    if format == Format::Csv {
        out.write_all(&csv::header())?;
    }
    if format == Format::Otlp {
        return batches(range, out);
    }
    let written = range.each(|item, _| {
        let line = match format {
            Format::Ocsf => ocsf::line(item, ocsf::Edition::Current),
            Format::OcsfNext => ocsf::line(item, ocsf::Edition::Next),
            Format::Csv => csv::line(item),
            Format::Cef => cef::line(item),
            _ => jsonl::line(item),
        };
        Ok(out.write_all(&line)?)
    })?;
    out.flush()?;
    Ok(written)
}

fn batches(range: &Range<'_>, out: &mut impl Write) -> Result<u64> {
    let mut written = 0;
    let mut from = range.from;
    while from < range.to {
        let to = range.to.min(from.saturating_add(BATCH as u64));
        let entries = (from..to).map(|index| Ok((index, range.reader.entry(index)?))).collect::<Result<Vec<_>>>()?;
        let records =
            entries.iter().map(|(index, entry)| Ok((*index, entry, Record::parse(entry)?))).collect::<Result<Vec<_>>>()?;
        let wanted = records.iter().filter(|(_, _, record)| record.wall_ns() >= range.since);
        let items = wanted.map(|(index, entry, record)| range.item(record, entry, *index)).collect::<Result<Vec<_>>>()?;
        out.write_all(&otlp::request(&items))?;
        written += items.len() as u64;
        from = to;
    }
    out.flush()?;
    Ok(written)
}

/// SPEC: LG-24: the proof, and the entry's bytes beside it.
fn proofs(range: &Range<'_>, dir: &Path) -> Result<u64> {
    range.each(|item, entry| {
        write(&dir.join(format!("{}.json", item.index)), entry)?;
        let proof = proof::Proof::of(range.reader, item.index)?;
        write(&dir.join(format!("{}.tlog-proof", item.index)), &proof.to_bytes())
    })
}

/// A statement needs a private key, so only the one who runs the server can make it.
fn statements(range: &Range<'_>, args: &Export) -> Result<u64> {
    let loaded = config::load(&args.source.config.config).map_err(|problems| {
        config::report(&problems)
            .context("a signed statement is signed with the server's record key, so the configuration is needed")
    })?;
    let seed = keys::read(&loaded.at(&loaded.config.server.keys_dir)).context("no record key to sign with")?.record;
    let key = RecordKey::from_seed(&seed).map_err(|fault| anyhow!("{fault}"))?;
    let dir = folder(args)?;
    write(&dir.join("key.jwk"), key.jwk().to_string().as_bytes())?;
    range.each(|item, entry| {
        let statement = scitt::statement(item, entry, key.kid(), |bytes| key.sign_cose(bytes));
        write(&dir.join(format!("{}.cose", item.index)), &statement.context("the record key refused to sign")?)
    })
}

/// The folder to write into, made now.
fn folder(args: &Export) -> Result<&Path> {
    let dir = args.out.as_deref().context("this format is a folder: name one with --out DIR")?;
    fs::create_dir(dir)
        .with_context(|| format!("cannot make {}: it must be new, and the folder it is in must exist", dir.display()))?;
    Ok(dir)
}
