//! plugins/signaling-rooms
