//! The plugin host: loads policy components, bounds what they may use, and speaks every supported version
//! of the ABI (`plugin-sdk/wit`). It never runs on a media core and does not know the router's core.
#![forbid(unsafe_code)]
