//! Reads `text/event-stream` piece by piece, without waiting for its end.
//!
//! SPEC: WHATWG HTML "Server-sent events" §9.2.5, §9.2.6. `event` does not matter to MCP.

use std::time::Duration;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) data: Vec<u8>,
    pub(crate) id: Option<String>,
}

/// An event grew beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// The unfinished rest of a stream.
#[derive(Debug)]
pub(crate) struct Reader {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    after_cr: bool,
    limit: usize,
    retry: Option<Duration>,
    begun: bool,
}

impl Reader {
    pub(crate) fn new(limit: usize) -> Self {
        Self { line: Vec::new(), event: Event::default(), has_data: false, after_cr: false, limit, retry: None, begun: false }
    }

    /// How long the upstream wants us to wait before the stream is resumed.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the next bytes and gives back the events they complete.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, TooLarge> {
        let mut events = Vec::new();
        while let Some((first, after)) = bytes.split_first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = after;
                continue;
            }
            let length = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
            let (piece, rest) = bytes.split_at(length);
            if self.line.len() + self.event.data.len() + piece.len() > self.limit {
                return Err(TooLarge);
            }
            let Some((end, after)) = rest.split_first() else {
                self.line.extend_from_slice(piece);
                break;
            };
            self.after_cr = *end == b'\r';
            events.extend(if self.line.is_empty() {
                self.end_of_line(piece)
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(piece);
                self.end_of_line(&line)
            });
            bytes = after;
        }
        Ok(events)
    }

    fn end_of_line(&mut self, line: &[u8]) -> Option<Event> {
        // Some servers on Windows write a byte order mark first.
        let line =
            if std::mem::replace(&mut self.begun, true) { line } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) };
        if line.is_empty() {
            let has_data = std::mem::take(&mut self.has_data);
            let event = std::mem::take(&mut self.event);
            return (has_data || event.id.is_some()).then_some(event);
        }
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let field = halves.next().unwrap_or_default();
        let value = halves.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.has_data {
                    self.event.data.push(b'\n');
                }
                self.has_data = true;
                self.event.data.extend_from_slice(value);
            }
            b"retry" => {
                let milliseconds = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                self.retry = milliseconds.map(Duration::from_millis).or(self.retry);
            }
            b"id" if !value.contains(&0) => self.event.id = String::from_utf8(value.to_vec()).ok(),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut reader = Reader::new(1 << 16);
        pieces.iter().flat_map(|piece| reader.push(piece).unwrap()).map(|event| event.data).collect()
    }

    #[test]
    fn events_come_out_as_soon_as_they_end() {
        let mut reader = Reader::new(100);
        assert_eq!(reader.push(b"event: message\ndata: {\"a\"").unwrap(), []);
        assert_eq!(reader.push(b":1}\n").unwrap(), []);
        assert_eq!(reader.push(b"\nda").unwrap(), [Event { data: b"{\"a\":1}".to_vec(), id: None }]);
    }

    #[test]
    fn lines_end_in_three_ways_and_data_joins() {
        assert_eq!(read(&[b"data: a\r\ndata:b\r\n\r\n"]), [b"a\nb"]);
        assert_eq!(read(&[b"data: a\r\rdata: c\n\n"]), [b"a".to_vec(), b"c".to_vec()]);
        assert_eq!(read(&[b": comment\n\n: x\n\n"]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_byte_order_mark_before_the_first_line_is_no_part_of_it() {
        assert_eq!(read(&[b"\xef\xbb", b"\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n"]), [b"a"]);
    }

    #[test]
    fn an_endless_event_is_stopped() {
        let mut reader = Reader::new(64);
        assert_eq!(reader.push(&[b'x'; 65]), Err(TooLarge));
        let mut reader = Reader::new(64);
        let result = (0..100).try_for_each(|_| reader.push(b"data: 0123456789\n").map(|_| ()));
        assert_eq!(result, Err(TooLarge));
    }

    proptest! {
        #[test]
        fn where_the_pieces_are_cut_does_not_matter(cuts in proptest::collection::vec(0usize..60, 0..8)) {
            let whole: &[u8] = b"id: 7\r\nevent: message\r\ndata: {\"x\":1}\r\n\r\n:ping\n\ndata: second\n\n";
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < whole.len()).chain([0, whole.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), vec![b"{\"x\":1}".to_vec(), b"second".to_vec()]);
        }
    }
}
