//! Packets into the contents of MP4 and WebM files, without clock or file.
//!
//! Each track puts its packets in order (`reorder`), its payloads together to frames (`depacketize`) and its
//! frames on the film's time line (`timeline`). The recording decides what goes into which file; `mp4` and
//! `webm` say what a file looks like. Memory is bounded: see [`Recording`].

mod depacketize;
mod ebml;
mod file;
mod frame;
mod mp4;
mod recording;
mod reorder;
mod repair;
#[cfg(test)]
mod tests;
mod timeline;
mod track;
mod webm;

pub use recording::Recording;
pub use repair::repair;
