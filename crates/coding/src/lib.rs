//! Content codings (RFC 9110 §8.4.1): which of them a client takes, packing and unpacking piece by
//! piece, and dictionaries (RFC 9842). Pure: no sockets, no clock.
