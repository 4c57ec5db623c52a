//! Real sockets, the real gateway, the real binary.
