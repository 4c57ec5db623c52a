//! What plugins may ask of the host, free of any version of the ABI.

pub(crate) mod clock;
pub(crate) mod crypto;
pub(crate) mod http;
pub(crate) mod kv;
pub(crate) mod log;
pub(crate) mod metrics;
