//! The messages, written from `rillway.management.v1.proto` by `tests/schema`; never by hand.

// What `prost-build` writes follows its own style.
#![allow(
    clippy::pedantic,
    clippy::all,
    unreachable_pub,
    unused_qualifications,
    missing_docs
)]

include!("generated.inc");
