//! As much of a response as the clients here must understand.

/// The head of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head, with the empty line.
    pub length: usize,
    /// Its status.
    pub status: u16,
    /// `Content-Length`, 0 without one.
    pub body: u64,
    /// The sender will close the connection.
    pub close: bool,
}

impl Head {
    /// Reads a head at the start of `bytes`; `Ok(None)`: not all of it is there yet.
    ///
    /// # Errors
    /// It is none, or its body has no length.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if bytes.len() > 32 << 10 {
                Err("a response head that does not end".into())
            } else {
                Ok(None)
            };
        };
        let text = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .filter(|line| line.starts_with("HTTP/1."))
            .and_then(|line| line.get(9..12)?.parse().ok())
            .ok_or_else(|| format!("not a response: {:?}", text.lines().next()))?;
        let mut head = Self { length: end + 4, status, body: 0, close: false };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                head.body = value.trim().parse().map_err(|_| format!("Content-Length:{value}"))?;
            } else if name.eq_ignore_ascii_case("connection") {
                head.close = value.trim().eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(format!("the length of the body was lost: {line}"));
            }
        }
        Ok(Some(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\nConnection: close\r\n\r\nbody";
        for end in 0..58 {
            assert_eq!(Head::parse(&bytes[..end]), Ok(None), "{end}");
        }
        let head = Head { length: 58, status: 200, body: 12, close: true };
        assert_eq!(Head::parse(bytes), Ok(Some(head)));
    }

    #[test]
    fn what_has_no_length_is_refused() {
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(Head::parse(b"SSH-2.0-x\r\n\r\n").is_err());
    }
}
