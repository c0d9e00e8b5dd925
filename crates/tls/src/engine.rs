//! rustls' unbuffered connections, one call at a time, the same for both sides.
//!
//! The unbuffered interface decrypts in the buffer it is given and keeps none of its own, so
//! an idle connection costs its keys and its state and nothing else. One [`Engine::step`] is
//! one state of [`rustls::unbuffered::ConnectionState`], handled.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{CommonState, Error};

/// The protocol state of either side.
pub(crate) enum Engine {
    /// We accepted.
    Server(UnbufferedServerConnection),
    /// We connected.
    Client(UnbufferedClientConnection),
}

/// What a step came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was done, and there may be more: step again.
    Again,
    /// The handshake needs more bytes.
    Blocked,
    /// Application data may be sent, and needs more bytes to be received; so many bytes of
    /// what was outgoing were written.
    Writable(usize),
    /// The peer sent `close_notify`. Comes once.
    PeerClosed,
    /// Both sides did.
    Closed,
}

/// What is to be encrypted when the connection is ready for it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outgoing<'a> {
    /// Application data.
    Data(&'a [u8]),
    /// The closure alert (RFC 8446 §6.1).
    CloseNotify,
}

impl Engine {
    /// The state both sides have in common.
    pub(crate) fn state(&self) -> &CommonState {
        match self {
            Self::Server(conn) => conn,
            Self::Client(conn) => conn,
        }
    }

    /// Handles the next state.
    ///
    /// `received` is decrypted in place, and always has to be all that was received and not
    /// yet used; the number returned is how many of its first bytes are now used up, also if
    /// the step failed. Plaintext goes to `sink`, handshake messages and alerts behind `tx`.
    /// `outgoing` is encrypted into its buffer, only if the result is [`Step::Writable`].
    pub(crate) fn step(
        &mut self,
        received: &mut [u8],
        sink: &mut dyn FnMut(&[u8]),
        tx: &mut Vec<u8>,
        outgoing: Option<(Outgoing<'_>, &mut [u8])>,
    ) -> (usize, Result<Step, Error>) {
        match self {
            Self::Server(conn) => handle(conn.process_tls_records(received), sink, tx, outgoing),
            Self::Client(conn) => handle(conn.process_tls_records(received), sink, tx, outgoing),
        }
    }

    /// Moves what rustls has ready to send behind `tx`, without looking at received bytes:
    /// the rest of a flight, or the alert that belongs to an error.
    pub(crate) fn drain(&mut self, tx: &mut Vec<u8>) {
        while self.state().wants_write() {
            let (_, Ok(Step::Again)) = self.step(&mut [], &mut |_| {}, tx, None) else { return };
        }
    }
}

fn handle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    sink: &mut dyn FnMut(&[u8]),
    tx: &mut Vec<u8>,
    outgoing: Option<(Outgoing<'_>, &mut [u8])>,
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    sink(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Again),
            }
        },
        Ok(ConnectionState::EncodeTlsData(message)) => encode(message, tx),
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            transmit.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Blocked),
        Ok(ConnectionState::WriteTraffic(mut traffic)) => match outgoing {
            Some((outgoing, out)) => encrypt(&mut traffic, outgoing, out),
            None => Ok(Step::Writable(0)),
        },
        Ok(ConnectionState::PeerClosed) => Ok(Step::PeerClosed),
        Ok(ConnectionState::Closed) => Ok(Step::Closed),
        // Early data is never offered nor accepted.
        Ok(state) => Err(Error::General(format!("unexpected state {state:?}"))),
    };
    (discard, step)
}

fn encode<Data>(mut message: EncodeTlsData<'_, Data>, tx: &mut Vec<u8>) -> Result<Step, Error> {
    let at = tx.len();
    let size = match message.encode(&mut []) {
        Ok(_) => return Ok(Step::Again),
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Err(error) => return Err(Error::General(error.to_string())),
    };
    tx.resize(at + size, 0);
    match message.encode(&mut tx[at..]) {
        Ok(_) => Ok(Step::Again),
        Err(error) => Err(Error::General(error.to_string())),
    }
}

fn encrypt<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    outgoing: Outgoing<'_>,
    out: &mut [u8],
) -> Result<Step, Error> {
    let written = match outgoing {
        Outgoing::Data(data) => traffic.encrypt(data, out),
        Outgoing::CloseNotify => traffic.queue_close_notify(out),
    };
    match written {
        Ok(n) => Ok(Step::Writable(n)),
        Err(EncryptError::EncryptExhausted) => Err(Error::EncryptError),
        Err(error) => Err(Error::General(error.to_string())),
    }
}
