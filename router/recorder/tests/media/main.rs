//! Media through a film, against ffmpeg: made by its encoders, read by its demuxers and decoders.

mod faults;
mod files;
mod payloads;
mod studio;
mod synth;
