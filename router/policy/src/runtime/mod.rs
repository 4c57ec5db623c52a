//! Running components: the engine, the threads, and one actor for each instance.

pub(crate) mod actor;
pub(crate) mod engine;
pub(crate) mod instance;
pub(crate) mod memory;
pub(crate) mod meter;
pub(crate) mod threads;
