//! Everything about buffers that needs no system call and no unsafe code: who owns which buffer,
//! what a control message says, how a run is cut. Kept apart so that it runs under Miri and property
//! tests (`cargo +nightly miri test -p rillway-ring bookkeeping`).

pub(crate) mod address;
pub(crate) mod control;
pub(crate) mod envelope;
pub(crate) mod outbox;
pub(crate) mod provided;
pub(crate) mod ticket;

#[cfg(test)]
mod tests;
