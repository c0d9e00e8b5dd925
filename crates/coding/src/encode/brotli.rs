//! brotli, by the crate of the same name.

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{
    BrotliEncoderDestroyInstance, BrotliEncoderOperation as Operation,
    BrotliEncoderParameter as Parameter, BrotliEncoderStateStruct,
};

use super::{EncodeError, window_bits};

/// The window of a body whose size is not known: 512 KiB. An encoder holds four times as much.
const WINDOW_OF_UNKNOWN: u32 = 19;
/// The largest window: 1 MiB.
const WINDOW: u32 = 20;
/// The smallest: 1 KiB, but 128 KiB from level 5 on. For less the encoder knows no tables of its
/// own, and takes some of 32 MiB.
const LEAST: u32 = 10;
const LEAST_OF_5: u32 = 17;

/// The largest window of a body and its dictionary: 4 MiB and a little more, for what cannot be
/// reached of it.
const MOST_OF_DICTIONARY: u32 = 23;

pub struct Packer {
    /// In a box: it is some ten KiB large.
    state: Box<BrotliEncoderStateStruct<StandardAlloc>>,
}

impl Packer {
    pub fn new(level: u8, size: Option<u64>) -> Self {
        let mut state = Box::new(BrotliEncoderStateStruct::new(StandardAlloc::default()));
        let least = if level < 5 { LEAST } else { LEAST_OF_5 };
        let most = if size.is_some() { WINDOW } else { WINDOW_OF_UNKNOWN };
        state.set_parameter(Parameter::BROTLI_PARAM_QUALITY, u32::from(level));
        state.set_parameter(Parameter::BROTLI_PARAM_LGWIN, window_bits(size, least, most));
        if let Some(size) = size {
            let hint = u32::try_from(size).unwrap_or(u32::MAX).min(1 << 30);
            state.set_parameter(Parameter::BROTLI_PARAM_SIZE_HINT, hint);
        }
        Self { state }
    }

    /// For a body that is there as a whole, by a dictionary, which stands in the window in front of
    /// it. `None`: the dictionary is of no use for it.
    pub fn by_dictionary(level: u8, dictionary: &[u8], body: &[u8]) -> Option<Self> {
        // A copy out of the dictionary has to end with it (RFC 9841 §9.2), and the library does not
        // always see to that: it goes on into the beginning of the body, which stands behind it in
        // its buffer. A last byte that the body does not have keeps every copy away from there.
        let mut guarded = dictionary.to_vec();
        *guarded.last_mut()? = absent(body)?;
        let mut state = Box::new(BrotliEncoderStateStruct::new(StandardAlloc::default()));
        let size = dictionary.len() as u64 + body.len() as u64;
        // Lower levels know no dictionaries, or remember no more than the end of a large one: 5 and 6
        // have room for 256 Ki positions, 7 for 2 Mi.
        let least = if size <= 256 << 10 { 5 } else { 7 };
        state.set_parameter(Parameter::BROTLI_PARAM_QUALITY, u32::from(level.max(least)));
        state.set_parameter(
            Parameter::BROTLI_PARAM_LGWIN,
            window_bits(Some(size), LEAST_OF_5, MOST_OF_DICTIONARY),
        );
        state.set_custom_dictionary(guarded.len(), &guarded);
        Some(Self { state })
    }

    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.run(Operation::BROTLI_OPERATION_PROCESS, input, out)
    }

    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.run(Operation::BROTLI_OPERATION_FLUSH, &[], out)
    }

    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.run(Operation::BROTLI_OPERATION_FINISH, &[], out)?;
        if self.state.is_finished() { Ok(()) } else { Err(EncodeError) }
    }

    /// Until all of the input is taken and all output fetched. The output is copied once, out of
    /// the buffer that the encoder makes it in.
    fn run(
        &mut self,
        operation: Operation,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let (mut left, mut at) = (input.len(), 0);
        loop {
            let done = self.state.compress_stream(
                operation,
                &mut left,
                input,
                &mut at,
                &mut 0,
                &mut [],
                &mut 0,
                &mut None,
                &mut |_, _, _, _| (),
            );
            if !done {
                return Err(EncodeError);
            }
            if self.state.has_more_output() {
                // Asks for as much as there is. What it gives may be longer than what counts.
                let mut size = 0;
                let output = self.state.take_output(&mut size);
                out.extend_from_slice(output.get(..size).ok_or(EncodeError)?);
            } else if left == 0 {
                return Ok(());
            }
        }
    }
}

/// A byte that does not occur.
fn absent(body: &[u8]) -> Option<u8> {
    let mut seen = [false; 256];
    for byte in body {
        seen[usize::from(*byte)] = true;
    }
    (0..=u8::MAX).rev().find(|byte| !seen[usize::from(*byte)])
}

impl Drop for Packer {
    fn drop(&mut self) {
        BrotliEncoderDestroyInstance(&mut self.state);
    }
}
