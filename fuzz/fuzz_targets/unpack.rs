//! `unpack`: see `bifrons_fuzz::TARGETS`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| bifrons_fuzz::run("unpack", data));
