//! `cache_rules`: see `bifrons_fuzz::TARGETS`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| bifrons_fuzz::run("cache_rules", data));
