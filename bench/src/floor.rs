//! What physics asks of a durable, signed append and nothing else: a signature, two hashes, one write, one fdatasync
//! for the whole group.

use anyhow::Result;
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
};

/// The file is written over and over; it is made at its full length first, so that no metadata is left to write.
const LENGTH: usize = 64 << 20;

pub(crate) struct Floor {
    file: File,
    key: Ed25519KeyPair,
    at: usize,
    /// Stands for one record: as long as the product's.
    entry: Vec<u8>,
}

impl Floor {
    pub(crate) fn new(folder: &Path, entry: usize) -> Result<Self> {
        let mut file = File::create(folder.join("floor"))?;
        file.write_all(&vec![0; LENGTH])?;
        file.sync_all()?;
        file.seek(SeekFrom::Start(0))?;
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32])?;
        let _ = key.public_key();
        Ok(Self { file, key, at: 0, entry: vec![0x5a; entry] })
    }

    /// One group of appends, made durable together.
    pub(crate) fn group(&mut self, size: usize) -> Result<()> {
        let mut bytes = Vec::with_capacity(size * (self.entry.len() + 64));
        for _ in 0..size {
            let hash = digest(&SHA256, &self.entry);
            bytes.extend_from_slice(&self.entry);
            bytes.extend_from_slice(self.key.sign(hash.as_ref()).as_ref());
            bytes.extend_from_slice(digest(&SHA256, &self.entry).as_ref());
        }
        if self.at + bytes.len() > LENGTH {
            self.file.seek(SeekFrom::Start(0))?;
            self.at = 0;
        }
        self.at += bytes.len();
        self.file.write_all(&bytes)?;
        Ok(self.file.sync_data()?)
    }

    /// The disk alone: one small write and its fdatasync.
    pub(crate) fn sync(&mut self) -> Result<()> {
        if self.at + 512 > LENGTH {
            self.file.seek(SeekFrom::Start(0))?;
            self.at = 0;
        }
        self.at += 512;
        self.file.write_all(&[0x5a; 512])?;
        Ok(self.file.sync_data()?)
    }
}
