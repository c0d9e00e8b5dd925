//! Configuration text: whatever it says, it is read or refused, and refusals can be shown.

use std::path::Path;

/// Reads a configuration.
pub fn read(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Err(errors) = config::parse("fuzz.kdl", text, Path::new("")) else { return };
    assert!(!errors.errors.is_empty(), "refused without a reason");
    for error in &errors.errors {
        assert!(!error.message.is_empty(), "an error that says nothing");
        if let Some(span) = error.span {
            assert!(text.get(span.offset()..span.offset() + span.len()).is_some(), "{span:?}");
        }
    }
    // Both forms point into the text, at places that the fuzzer chose.
    let _ = errors.to_string();
    let _ = errors.fancy(false, 80);
}
