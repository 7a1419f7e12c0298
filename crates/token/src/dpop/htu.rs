//! Comparing `htu` with the request's URL. SPEC: RFC 9449 §4.3 (9), RFC 3986 §6.2.2 and §6.2.3, DP-06.

/// Whether two URLs are the same for DPoP: scheme, host, port and path after normalisation, without query and fragment.
pub fn htu_matches(proof: &str, request: &str) -> bool {
    // What is already the one spelling needs no other.
    normalise(request).is_some_and(|request| proof == request || normalise(proof).is_some_and(|proof| proof == request))
}

/// The one spelling of an `http` or `https` URL, without query and fragment: lower-case scheme and host, no default
/// port, percent-encoding in upper case and only where needed, no dot segments, `/` for an empty path. `None` for
/// anything else, for a URL with user information, and for white space or other bytes no URL has.
pub fn normalise(url: &str) -> Option<String> {
    if !url.is_ascii()
        || url.bytes().any(|byte| {
            byte <= b' ' || byte == 0x7f || matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}')
        })
    {
        return None;
    }
    let url = url.split(['?', '#']).next()?;
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at_checked(at)?,
        None => (rest, "/"),
    };
    let (host, port) = host_and_port(authority)?;
    let mut normal = format!("{scheme}://{host}");
    if let Some(port) = port
        && port != default_port
    {
        normal.push(':');
        normal.push_str(&port.to_string());
    }
    normal.push_str(&without_dot_segments(&normal_percent(path)?));
    Some(normal)
}

fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    if authority.contains('@') {
        return None;
    }
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']')?;
        let (host, rest) = authority.split_at_checked(end + 1)?;
        (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))?)
    } else {
        authority.split_once(':').unwrap_or((authority, ""))
    };
    let inside = host.trim_start_matches('[').trim_end_matches(']');
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') || (host.starts_with('[') && byte == b':');
    if inside.is_empty() || !inside.bytes().all(allowed) {
        return None;
    }
    let port = match port {
        "" => None,
        digits if digits.bytes().all(|digit| digit.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    Some((host.to_ascii_lowercase(), port))
}

/// Decodes what needs no encoding, writes the rest in upper case. A stray `%` makes the URL invalid.
fn normal_percent(path: &str) -> Option<String> {
    let mut normal = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            normal.push(char::from(byte));
            continue;
        }
        let (high, low) = (char::from(bytes.next()?).to_digit(16)?, char::from(bytes.next()?).to_digit(16)?);
        let decoded = u8::try_from(high * 16 + low).ok()?;
        if decoded.is_ascii_alphanumeric() || matches!(decoded, b'-' | b'.' | b'_' | b'~') {
            normal.push(char::from(decoded));
        } else {
            normal.push('%');
            for digit in [high, low] {
                normal.push(char::from_digit(digit, 16)?.to_ascii_uppercase());
            }
        }
    }
    Some(normal)
}

/// SPEC: RFC 3986 §5.2.4, for a path that begins with `/`.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.split('/').skip(1) {
        open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut normal = String::with_capacity(path.len());
    for segment in kept {
        normal.push('/');
        normal.push_str(segment);
    }
    if open || normal.is_empty() {
        normal.push('/');
    }
    normal
}
