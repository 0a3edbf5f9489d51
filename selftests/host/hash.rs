// SPDX-License-Identifier: GPL-2.0

//! The hash of names. Faults: another function than the one that was analysed, a length that does not
//! count.

use crate::policy::hash::{hash, Key};

/// The kernel's own test vectors of `hsiphash` on 64-bit machines, for inputs of 0, 1, 2 ... bytes.
const VECTORS: [u32; 18] = [
    0x050f_c4dc,
    0x7d57_ca93,
    0x4dc7_d44d,
    0xe7dd_f7fb,
    0x88d3_8328,
    0x4953_3b67,
    0xc59f_22a7,
    0x9bb1_1140,
    0x8d29_9a8e,
    0x6c06_3de4,
    0x92ff_097f,
    0xf94d_c352,
    0x57b4_d9a2,
    0x1229_ffa7,
    0xc0f9_5d34,
    0x2a51_9956,
    0x7d90_8b66,
    0x63db_d80c,
];

const KEY: Key = Key(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);

#[test]
fn it_is_the_kernels() {
    let bytes: Vec<u8> = (0..64).collect();
    for (len, want) in VECTORS.iter().enumerate() {
        assert_eq!(hash(KEY, &bytes[..len]), *want, "{len} bytes");
    }
}

#[test]
fn the_key_and_the_length_count() {
    assert_ne!(hash(KEY, b"x"), hash(Key(KEY.0, KEY.1 ^ 1), b"x"));
    assert_ne!(hash(KEY, &[0; 8]), hash(KEY, &[0; 9]));
    assert_ne!(hash(KEY, &[0; 255]), hash(KEY, &[0; 254]));
}
