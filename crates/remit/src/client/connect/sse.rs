//! Server-sent events (WHATWG HTML §9.2), read block by block within a limit.

use anyhow::{Result, ensure};

/// Longest event, in bytes.
const EVENT_LIMIT: usize = 8 << 20;

/// One event: its data, and the id by which a broken stream can be resumed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) data: String,
    pub(super) id: Option<String>,
}

/// What of a stream has not yet become an event.
#[derive(Debug, Default)]
pub(super) struct Events {
    pending: Vec<u8>,
    data: String,
    id: Option<String>,
}

impl Events {
    /// Takes the next bytes of the stream; gives back the events that they complete.
    ///
    /// # Errors
    /// An event is longer than the limit.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        self.pending.extend_from_slice(bytes);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            let field = |name: &str| {
                let value = line.strip_prefix(name)?.strip_prefix(':')?;
                Some(value.strip_prefix(' ').unwrap_or(value).to_owned())
            };
            if line.is_empty() {
                let (data, id) = (std::mem::take(&mut self.data), self.id.take());
                if !data.is_empty() || id.is_some() {
                    events.push(Event { data, id });
                }
            } else if let Some(more) = field("data") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(&more);
            } else if let Some(id) = field("id") {
                self.id = Some(id);
            }
        }
        let long = self.pending.len().max(self.data.len());
        ensure!(long <= EVENT_LIMIT, "the server sent an event of over {EVENT_LIMIT} bytes");
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let stream = ": hello\r\n\r\nid: 1\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nevent: message\ndata:{\"b\":2}\n\nid: 3\ndata:\n\ndata: unfinished";
        let whole = Events::default().feed(stream.as_bytes()).unwrap();
        let event = |data: &str, id: Option<&str>| Event { data: data.to_owned(), id: id.map(str::to_owned) };
        assert_eq!(whole, [event("{\"a\":\n1}", Some("1")), event("{\"b\":2}", None), event("", Some("3"))]);
        for size in 1..20 {
            let mut events = Events::default();
            let cut: Vec<Event> = stream.as_bytes().chunks(size).flat_map(|block| events.feed(block).unwrap()).collect();
            assert_eq!(cut, whole, "in blocks of {size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        assert!(Events::default().feed(&vec![b'x'; EVENT_LIMIT + 1]).is_err());
        let mut events = Events::default();
        let line = [b"data: ".to_vec(), vec![b'x'; EVENT_LIMIT + 1], b"\n".to_vec()].concat();
        assert!(events.feed(&line).is_err());
    }
}
