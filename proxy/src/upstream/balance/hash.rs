//! Hashes that are the same on every worker, in every process and after every start: where a client goes depends on them.

/// The hash of some bytes: FNV-1a, mixed, so that all of its bits depend on all of them.
pub fn of(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// The hash of some bytes and a number.
pub fn with(bytes: &[u8], number: u64) -> u64 {
    mix(of(bytes) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Another number that looks as if it had nothing to do with this one (the last step of SplitMix64).
pub fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
