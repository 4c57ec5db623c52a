//! The program, as the kernel's verifier reads it (bpf(2), Documentation/bpf/standardization/instruction-set.rst).

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use crate::driver::SocketId;

/// Key of the table of clients: address (IPv4 in the first four bytes), port in network order, number of the socket.
pub(super) const KEY_BYTES: u32 = 20;

/// The key of a client's address.
pub(super) fn key(socket: SocketId, remote: SocketAddr) -> [u8; KEY_BYTES as usize] {
    let mut key = [0; KEY_BYTES as usize];
    match remote.ip() {
        IpAddr::V4(v4) => key[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => key[..16].copy_from_slice(&v6.octets()),
    }
    key[16..18].copy_from_slice(&remote.port().to_be_bytes());
    key[18..].copy_from_slice(&socket.0.to_ne_bytes());
    key
}

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high ones.
    registers: u8,
    offset: i16,
    immediate: i32,
}

// BPF_ALU64 and BPF_JMP with an immediate (BPF_K) or a register (BPF_X).
const MOVE_IMMEDIATE: u8 = 0xb7;
const MOVE: u8 = 0xbf;
const ADD_IMMEDIATE: u8 = 0x07;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_IF_NOT_EQUAL: u8 = 0x55;
// BPF_ST | BPF_MEM of 16 and 64 bits; BPF_LD | BPF_IMM | BPF_DW.
const STORE_16: u8 = 0x6a;
const STORE_64: u8 = 0x7a;
const LOAD_MAP: u8 = 0x18;
/// BPF_PSEUDO_MAP_FD: the immediate is a descriptor.
const MAP_DESCRIPTOR: u8 = 1;
/// The frame pointer.
const FRAME: u8 = 10;

// Helpers (enum bpf_func_id).
const MAP_LOOKUP: i32 = 1;
const LOAD_BYTES: i32 = 26;
const LOAD_BYTES_RELATIVE: i32 = 68;
const SELECT_REUSEPORT: i32 = 82;
/// BPF_HDR_START_NET.
const FROM_NETWORK_HEADER: i32 = 1;
/// SK_PASS.
const PASS: i32 = 1;

/// Where the key is on the stack, and its port.
const KEY: i32 = -24;
const KEY_PORT: i32 = KEY + 16;
const KEY_SOCKET: i16 = KEY as i16 + 18;

/// Offset of the source's address in the network header, and its length (RFC 791 §3.1, RFC 8200 §3).
const SOURCE_V4: (i32, i32) = (12, 4);
const SOURCE_V6: (i32, i32) = (8, 16);

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: source << 4 | destination,
        offset,
        immediate,
    }
}

fn set(register: u8, value: i32) -> Instruction {
    instruction(MOVE_IMMEDIATE, register, 0, 0, value)
}

fn copy(destination: u8, source: u8) -> Instruction {
    instruction(MOVE, destination, source, 0, 0)
}

fn add(register: u8, value: i32) -> Instruction {
    instruction(ADD_IMMEDIATE, register, 0, 0, value)
}

fn call(helper: i32) -> Instruction {
    instruction(CALL, 0, 0, 0, helper)
}

fn map(register: u8, descriptor: BorrowedFd<'_>) -> [Instruction; 2] {
    [
        instruction(
            LOAD_MAP,
            register,
            MAP_DESCRIPTOR,
            0,
            descriptor.as_raw_fd(),
        ),
        instruction(0, 0, 0, 0, 0),
    ]
}

/// For the group of one address: who has this source?
pub(super) fn build(
    v4: bool,
    socket: SocketId,
    (clients, sockets): (BorrowedFd<'_>, BorrowedFd<'_>),
) -> Vec<Instruction> {
    let (source, bytes) = if v4 { SOURCE_V4 } else { SOURCE_V6 };
    let number = i32::from(i16::from_ne_bytes(socket.0.to_ne_bytes()));
    let mut code = vec![
        copy(6, 1),
        instruction(STORE_64, FRAME, 0, KEY as i16, 0),
        instruction(STORE_64, FRAME, 0, KEY as i16 + 8, 0),
        // The port is the first thing of the UDP header, with which the packet begins here.
        set(2, 0),
        copy(3, FRAME),
        add(3, KEY_PORT),
        set(4, 2),
        call(LOAD_BYTES),
        instruction(JUMP_IF_NOT_EQUAL, 0, 0, 0, 0),
        instruction(STORE_16, FRAME, 0, KEY_SOCKET, number),
        copy(1, 6),
        set(2, source),
        copy(3, FRAME),
        add(3, KEY),
        set(4, bytes),
        set(5, FROM_NETWORK_HEADER),
        call(LOAD_BYTES_RELATIVE),
        instruction(JUMP_IF_NOT_EQUAL, 0, 0, 0, 0),
    ];
    code.extend(map(1, clients));
    code.extend([
        copy(2, FRAME),
        add(2, KEY),
        call(MAP_LOOKUP),
        instruction(JUMP_IF_EQUAL, 0, 0, 0, 0),
        // What was found is the place in the group.
        copy(1, 6),
    ]);
    code.extend(map(2, sockets));
    code.extend([copy(3, 0), set(4, 0), call(SELECT_REUSEPORT)]);
    // Whatever came of it: without a socket of ours, the kernel takes one by its hash.
    let end = code.len();
    for (index, instruction) in code.iter_mut().enumerate() {
        if matches!(instruction.code, JUMP_IF_EQUAL | JUMP_IF_NOT_EQUAL) {
            instruction.offset = (end - index - 1) as i16;
        }
    }
    code.extend([set(0, PASS), instruction(EXIT, 0, 0, 0, 0)]);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_of_one_socket_and_one_address() {
        let v4 = key(SocketId(0x0102), "192.0.2.7:4660".parse().unwrap());
        assert_eq!(v4[..4], [192, 0, 2, 7]);
        assert_eq!(v4[4..16], [0; 12]);
        assert_eq!(v4[16..18], [0x12, 0x34]);
        assert_eq!(v4[18..], 0x0102_u16.to_ne_bytes());
        let v6 = key(SocketId(0), "[2001:db8::7]:1".parse().unwrap());
        assert_eq!(v6[..4], [0x20, 1, 0x0d, 0xb8]);
        assert_eq!((v6[15], v6[17]), (7, 1));
    }
}
