//! Real clients through both faces: what they send, and that they like what they get.
//!
//! `cargo xtask test` installs the clients where it may and names them by environment
//! variables. A test whose client is missing prints `skipped: …` and passes.

mod browser;
mod cache_suite;
mod curl;
mod dictionaries;
mod events;
mod forward2;
mod front;
mod gateway;
mod git;
mod grpc;
mod haproxy;
mod http2;
mod introduced;
mod nginx;
mod node;
mod program;
mod python;
mod web;
mod websocket;
mod wget;
