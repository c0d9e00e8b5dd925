//! A simple reader of HTTP/1 messages. It believes nothing: what it does not expect ends the
//! test.

/// A message as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The head, byte for byte, with the empty line.
    pub head: Vec<u8>,
    /// The body, without its coding.
    pub body: Vec<u8>,
    /// The trailer fields as received, without the empty line.
    pub trailers: String,
    /// Whether the body came chunked.
    pub chunked: bool,
}

impl Message {
    /// The first line.
    #[must_use]
    pub fn start_line(&self) -> String {
        self.text().split("\r\n").next().unwrap_or_default().to_owned()
    }

    /// The head as text; bytes beyond ASCII are shown as replacement characters.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }

    /// The body as text.
    #[must_use]
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The status of a response.
    ///
    /// # Panics
    /// When it is no response.
    #[must_use]
    pub fn status(&self) -> u16 {
        let line = self.start_line();
        let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
        match status.and_then(|rest| rest.get(..3)?.parse().ok()) {
            Some(status) => status,
            None => panic!("no status line: {line:?}"),
        }
    }

    /// The method of a request.
    #[must_use]
    pub fn method(&self) -> String {
        self.start_line().split(' ').next().unwrap_or_default().to_owned()
    }

    /// The target of a request.
    #[must_use]
    pub fn target(&self) -> String {
        self.start_line().split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// The field lines, in order, without the line ends.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let text = self.text();
        text.split("\r\n").skip(1).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// The values of all fields of this name.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<String> {
        self.lines()
            .iter()
            .filter_map(|line| line.split_once(':'))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    /// The value of the only field of this name; `None`: there is none.
    ///
    /// # Panics
    /// When there are several.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        assert!(values.len() < 2, "several {name}: {}", self.text());
        values.pop()
    }

    /// Whether there is such a field.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Whether the sender says that the connection ends after this message.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.all("Connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// So many bytes.
    Known(usize),
    /// In the chunked coding.
    Chunked,
    /// To the end of the connection.
    UntilClose,
}

/// The length that a head declares; `otherwise` is that of a head that declares none.
pub(crate) fn length(head: &Message, otherwise: Length) -> Length {
    let (coding, length) = (head.get("Transfer-Encoding"), head.get("Content-Length"));
    match (coding, length) {
        (Some(coding), None) => {
            assert_eq!(coding, "chunked", "{}", head.text());
            Length::Chunked
        }
        (None, Some(length)) => Length::Known(length.parse().expect("Content-Length")),
        (None, None) => otherwise,
        (Some(_), Some(_)) => panic!("length and coding together: {}", head.text()),
    }
}

/// The request that the bytes begin with, and its length; `None`: it is not complete.
pub(crate) fn parse_request(bytes: &[u8]) -> Option<(Message, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = bytes[..end].to_vec();
    let mut message = Message { head, body: Vec::new(), trailers: String::new(), chunked: false };
    let count = match length(&message, Length::Known(0)) {
        Length::Known(count) => {
            message.body = bytes.get(end..end + count)?.to_vec();
            count
        }
        Length::Chunked => {
            message.chunked = true;
            parse_chunked(&bytes[end..], &mut message)?
        }
        Length::UntilClose => panic!("a request that ends with its connection"),
    };
    Some((message, end + count))
}

/// Adds the chunks that the bytes begin with to a message, and tells their length; `None`: they
/// are not complete.
pub(crate) fn parse_chunked(bytes: &[u8], message: &mut Message) -> Option<usize> {
    let mut at = 0;
    let line = |at: &mut usize| -> Option<String> {
        let length = bytes[*at..].windows(2).position(|window| window == b"\r\n")?;
        let text = String::from_utf8_lossy(&bytes[*at..*at + length]).into_owned();
        *at += length + 2;
        Some(text)
    };
    loop {
        let size = line(&mut at)?;
        let size = usize::from_str_radix(&size, 16).expect("chunk size");
        if size == 0 {
            break;
        }
        message.body.extend_from_slice(bytes.get(at..at + size)?);
        at += size;
        assert_eq!(bytes.get(at..at + 2)?, b"\r\n", "end of a chunk");
        at += 2;
    }
    loop {
        let field = line(&mut at)?;
        if field.is_empty() {
            return Some(at);
        }
        message.trailers.push_str(&field);
        message.trailers.push_str("\r\n");
    }
}
