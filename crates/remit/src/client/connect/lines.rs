//! JSON-RPC messages on standard input, one a line: read within a limit, and answered even when a line is not JSON.

use serde_json::Value;
use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// Longest message taken from standard input, in bytes.
pub(super) const LINE_LIMIT: usize = 8 << 20;

/// Reads one line into `line`, without its end. What exceeds [`LINE_LIMIT`] is read and dropped, so that the next line is
/// whole; `line` then holds one byte more than the limit.
///
/// Gives back `false` at the end of the input.
///
/// # Errors
/// The input cannot be read.
pub(super) async fn next<R: AsyncBufRead + Unpin>(input: &mut R, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    loop {
        let block = input.fill_buf().await?;
        if block.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = block.iter().position(|byte| *byte == b'\n');
        let taken = block.get(..end.unwrap_or(block.len())).unwrap_or_default();
        let room = (LINE_LIMIT + 1).saturating_sub(line.len());
        line.extend_from_slice(taken.get(..room.min(taken.len())).unwrap_or_default());
        let used = end.map_or(block.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// The id of a request that cannot be parsed: the member `id` of its outermost object, when it can be found and the text
/// is no answer.
pub(super) fn request_id(line: &[u8]) -> Option<Value> {
    let mut id = None;
    let mut rest = Scan { bytes: line, depth: 0 };
    while let Some(name) = rest.next_member() {
        match name {
            b"id" => id = rest.scalar(),
            b"result" | b"error" => return None,
            _ => {}
        }
    }
    id
}

/// Walks broken JSON as far as strings and brackets can still be told apart.
struct Scan<'a> {
    bytes: &'a [u8],
    depth: usize,
}

impl<'a> Scan<'a> {
    /// The next member's name in the outermost object; what follows its colon is up next.
    fn next_member(&mut self) -> Option<&'a [u8]> {
        while let Some((first, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            match first {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b'"' => {
                    let text = self.string()?;
                    let after = self.bytes.trim_ascii_start();
                    if let (1, Some((b':', value))) = (self.depth, after.split_first()) {
                        self.bytes = value.trim_ascii_start();
                        return Some(text);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The rest of a string whose opening quote is passed.
    fn string(&mut self) -> Option<&'a [u8]> {
        let mut escaped = false;
        let end = self.bytes.iter().position(|byte| {
            let closes = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            closes
        })?;
        let text = self.bytes.get(..end);
        self.bytes = self.bytes.get(end + 1..)?;
        text
    }

    /// A string or a number, as JSON-RPC has for ids.
    fn scalar(&self) -> Option<Value> {
        let mut values = serde_json::Deserializer::from_slice(self.bytes).into_iter::<Value>();
        values.next()?.ok().filter(|value| value.is_string() || value.is_number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::BufReader;

    #[test]
    fn a_broken_request_is_answered_by_its_own_id() {
        let found = [
            (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":{"text":"half \ud83d"}}}"#, json!(7)),
            (r#"{"method":"tools/call","params":{"id":1,"name":"\ud83d"},"id":"a-1"}"#, json!("a-1")),
            (r#"{"id":3,"method":"tools/call","params":{"#, json!(3)),
            (r#"{"note":"\"id\":9 }","id" : 4, "method":"x" oops"#, json!(4)),
        ];
        for (line, id) in found {
            assert!(serde_json::from_str::<Value>(line).is_err(), "{line} is broken");
            assert_eq!(request_id(line.as_bytes()), Some(id), "{line}");
        }
    }

    #[test]
    fn an_answer_a_notification_and_rubbish_have_no_request_id() {
        for line in [
            r#"{"jsonrpc":"2.0","id":7,"result":{"text":"\ud83d"}}"#,
            r#"{"jsonrpc":"2.0","error":{"message":"\ud83d"},"id":7}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/x","params":{"id":1,"text":"\ud83d"}}"#,
            r#"{"id":{"a":1},"method":"#,
            r#"{"id":null,"method":"#,
            "hello",
            "\"id\":7",
            "",
            "{\"id",
        ] {
            assert_eq!(request_id(line.as_bytes()), None, "{line}");
        }
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_cut_and_the_next_one_is_whole() {
        let long = vec![b'x'; LINE_LIMIT + 100];
        let input = [&long[..], b"\nnext\n\nlast"].concat();
        let mut input = BufReader::new(&input[..]);
        let mut line = Vec::new();
        let mut lengths = Vec::new();
        while next(&mut input, &mut line).await.unwrap() {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [LINE_LIMIT + 1, 4, 0, 4]);
    }
}
