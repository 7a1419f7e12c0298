//! Writes canonical JSON (RFC 8785) member by member, without a tree of values in between.

use super::FIELD_LIMIT;
use remit_model::json;
use serde::Serialize;
use serde_json::{Map, Value};

/// A canonical object under construction.
///
/// INVARIANT: members are put in the order of their names, and every type handed to [`CanonicalWriter::put`] declares its fields
/// in that order; numbers among them are integers within ±(2^53 - 1). Debug builds check the first, and a test compares
/// whole records with the form made from a tree.
pub(crate) struct CanonicalWriter<'o> {
    out: &'o mut Vec<u8>,
    #[cfg(debug_assertions)]
    last: String,
    begun: bool,
}

impl<'o> CanonicalWriter<'o> {
    /// Writes one object, braces included.
    pub(crate) fn object(out: &'o mut Vec<u8>, fill: impl FnOnce(&mut CanonicalWriter<'_>)) {
        out.push(b'{');
        let mut members = Self {
            out,
            #[cfg(debug_assertions)]
            last: String::new(),
            begun: false,
        };
        fill(&mut members);
        members.out.push(b'}');
    }

    /// A text, a word, an integer, or a type made of these.
    pub(crate) fn put(&mut self, name: &str, value: impl Serialize) {
        // Writing into memory cannot fail, and no type of ours has keys that are no texts.
        let _ = serde_json::to_writer(self.name(name), &value);
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        json::write_text(value, self.name(name));
    }

    pub(crate) fn some(&mut self, name: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// Any JSON there is.
    pub(crate) fn value(&mut self, name: &str, value: &Value) {
        json::write(value, self.name(name));
    }

    pub(crate) fn map(&mut self, name: &str, members: &Map<String, Value>) {
        json::write_members(members, self.name(name));
    }

    pub(crate) fn within(&mut self, name: &str, fill: impl FnOnce(&mut CanonicalWriter<'_>)) {
        CanonicalWriter::object(self.name(name), fill);
    }

    /// A list of objects, each filled from an item.
    pub(crate) fn each<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut CanonicalWriter<'_>, T),
    ) {
        let out = self.name(name);
        out.push(b'[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            CanonicalWriter::object(out, |members| fill(members, item));
        }
        out.push(b']');
    }

    /// A list, absent when empty and cut at [`FIELD_LIMIT`]; [`CanonicalWriter::total`] then says how long it was.
    pub(crate) fn list(&mut self, name: &str, items: &[impl Serialize]) {
        if let Some(kept) = items.get(..items.len().min(FIELD_LIMIT)).filter(|kept| !kept.is_empty()) {
            self.put(name, kept);
        }
    }

    /// The true length of a list that was cut, as `<list>_total`.
    pub(crate) fn total(&mut self, name: &str, items: &[impl Sized]) {
        if items.len() > FIELD_LIMIT {
            self.put(name, items.len().to_string());
        }
    }

    /// How many bytes are written.
    pub(crate) fn written(&self) -> usize {
        self.out.len()
    }

    /// Begins a member; its value is to be appended to what this gives back.
    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        #[cfg(debug_assertions)]
        {
            debug_assert!(!self.begun || json::by_utf16(&self.last, name).is_lt(), "`{name}` after `{}`", self.last);
            name.clone_into(&mut self.last);
        }
        if std::mem::replace(&mut self.begun, true) {
            self.out.push(b',');
        }
        json::write_text(name, self.out);
        self.out.push(b':');
        self.out
    }
}
