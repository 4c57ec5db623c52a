//! What an attacker can send, and that it costs nobody anything: off-path, from the address of a
//! participant, before, during and after the handshake, and as a participant.

mod credentials;
mod handshake;
mod insider;
mod off_path;
mod scene;
mod srtp;
