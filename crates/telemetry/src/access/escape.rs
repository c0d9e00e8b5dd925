//! What a peer sent, as text that cannot be anything else: neither the end of a line or of a
//! string, nor a command to a terminal, nor a change of what a reader sees.

/// How an escaped character is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Within a JSON string (RFC 8259 §7): `\u202e`. A byte that is not UTF-8 has no place in
    /// JSON; the string then holds the four characters `\xff`.
    Json,
    /// Within quotes of the combined form: `\xe2\x80\xae`, byte for byte.
    Quoted,
    /// Like `Quoted`, for a place without quotes: a space is escaped too.
    Bare,
}

/// Appends `text`, escaped. What is longer than `limit` bytes is cut there, and ends in
/// `...+N`, where N counts the bytes left out.
pub(super) fn push_text(out: &mut Vec<u8>, text: &[u8], limit: usize, style: Style) {
    if text.len() <= limit {
        if style != Style::Bare && is_all_plain(text) {
            return out.extend_from_slice(text);
        }
        return push_whole(out, text, style);
    }
    let cut = character_boundary(text, limit);
    push_whole(out, &text[..cut], style);
    out.extend_from_slice(b"...+");
    super::address::push_number(out, text.len() - cut);
}

/// Splits userinfo (RFC 3986 §3.2.1) out of a URL, an authority or an absolute-form target:
/// what stands before it and what stands after it. An origin-form target has none.
///
/// A password with an unescaped delimiter makes something that is no URL any more, and that
/// has been refused by then; still it must not get into the log. So where the authority does
/// not read as host and port, everything up to the last `@` goes.
pub(super) fn split_userinfo(url: &[u8]) -> (&[u8], &[u8]) {
    if url.first() == Some(&b'/') || !url.contains(&b'@') {
        return (url, b"");
    }
    let start = authority_start(url);
    let end = url[start..].iter().position(|b| b"/?#".contains(b)).map_or(url.len(), |n| start + n);
    let host = after_last_at(url, start, end);
    // `http:/…` is no host with an empty port.
    let no_scheme = start == 0 && url[..end].ends_with(b":");
    if is_host_and_port(&url[host..end]) && !no_scheme {
        return (&url[..start], &url[host..]);
    }
    (&url[..start], &url[after_last_at(url, start, url.len())..])
}

fn push_whole(out: &mut Vec<u8>, text: &[u8], style: Style) {
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_run(rest, style));
        out.extend_from_slice(plain);
        let Some(first) = special.first() else { return };
        let taken = if first.is_ascii() {
            push_ascii(out, *first, style);
            1
        } else {
            push_beyond_ascii(out, special, style)
        };
        rest = &special[taken..];
    }
}

/// Length of the start of `text` that can be copied as it is.
fn plain_run(text: &[u8], style: Style) -> usize {
    if style == Style::Bare {
        let special = |byte: &u8| !is_plain(*byte) || *byte == b' ';
        return text.iter().position(special).unwrap_or(text.len());
    }
    let mut run = 0;
    while text[run..].first_chunk().is_some_and(is_plain_block::<16>) {
        run += 16;
    }
    run + text[run..].iter().position(|byte| !is_plain(*byte)).unwrap_or(text.len() - run)
}

/// Most values are. The last block may overlap the one before it, which is quicker than to
/// look at what is left byte by byte.
fn is_all_plain(text: &[u8]) -> bool {
    if let Some(last) = text.last_chunk() {
        return text.as_chunks().0.iter().all(is_plain_block::<16>) && is_plain_block::<16>(last);
    }
    match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => is_plain_block::<8>(first) && is_plain_block::<8>(last),
        _ => text.iter().all(|byte| is_plain(*byte)),
    }
}

/// Without a branch in it, the compiler compares all bytes at once.
fn is_plain_block<const N: usize>(block: &[u8; N]) -> bool {
    block.iter().fold(true, |all, byte| all & is_plain(*byte))
}

const fn is_plain(byte: u8) -> bool {
    (byte >= 0x20) & (byte < 0x7f) & (byte != b'"') & (byte != b'\\')
}

fn push_ascii(out: &mut Vec<u8>, byte: u8, style: Style) {
    match (byte, style) {
        (b'"' | b'\\', _) => out.extend_from_slice(&[b'\\', byte]),
        (_, Style::Json) => push_unit(out, u16::from(byte)),
        (_, Style::Quoted | Style::Bare) => push_byte(out, byte),
    }
}

/// Appends the character that `text` begins with, or its first byte if there is none. Returns
/// how many bytes that took.
fn push_beyond_ascii(out: &mut Vec<u8>, text: &[u8], style: Style) -> usize {
    let head = &text[..text.len().min(4)];
    let first = head.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    let Some(character) = first else {
        if style == Style::Json {
            out.push(b'\\');
        }
        push_byte(out, text[0]);
        return 1;
    };
    let bytes = &text[..character.len_utf8()];
    if !misleads(character) {
        out.extend_from_slice(bytes);
    } else if style == Style::Json {
        character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| push_unit(out, *unit));
    } else {
        bytes.iter().for_each(|byte| push_byte(out, *byte));
    }
    bytes.len()
}

/// Characters that are not seen but change what is: C1 controls, line and paragraph
/// separators, the bidirectional controls of UAX #9, zero-width and tag characters.
const fn misleads(character: char) -> bool {
    matches!(
        character,
        '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// `\xhh`
fn push_byte(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(&[b'\\', b'x', hex(byte >> 4), hex(byte & 0xf)]);
}

/// `\uhhhh`
fn push_unit(out: &mut Vec<u8>, unit: u16) {
    let [high, low] = unit.to_be_bytes();
    let digits = [hex(high >> 4), hex(high & 0xf), hex(low >> 4), hex(low & 0xf)];
    out.extend_from_slice(b"\\u");
    out.extend_from_slice(&digits);
}

const fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[nibble as usize]
}

/// The last place at or before `limit` that does not cut a UTF-8 character in two.
fn character_boundary(text: &[u8], limit: usize) -> usize {
    let is_start = |at: &usize| text[*at] & 0xc0 != 0x80;
    // Further back than three bytes there is no character to save, only bytes.
    (limit.saturating_sub(3)..=limit).rev().find(is_start).unwrap_or(limit)
}

/// Behind `scheme://`, or 0.
fn authority_start(url: &[u8]) -> usize {
    let scheme = url
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(byte)))
        .unwrap_or(url.len());
    if scheme > 0 && url[scheme..].starts_with(b"://") { scheme + 3 } else { 0 }
}

/// Behind the last `@` of `url[start..end]`, or `start`.
fn after_last_at(url: &[u8], start: usize, end: usize) -> usize {
    url[start..end].iter().rposition(|byte| *byte == b'@').map_or(start, |at| start + at + 1)
}

fn is_host_and_port(authority: &[u8]) -> bool {
    let host_end = if authority.first() == Some(&b'[') {
        authority.iter().position(|byte| *byte == b']').map(|at| at + 1)
    } else {
        authority.iter().position(|byte| *byte == b':').or(Some(authority.len()))
    };
    match host_end.map(|end| &authority[end..]) {
        Some([]) => true,
        Some([b':', port @ ..]) => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}
