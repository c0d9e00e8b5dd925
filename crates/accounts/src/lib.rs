//! What users of the forward face have used, and what they have left.
#![forbid(unsafe_code)]
