#![no_main]
#![doc = "See `targets::pairs`."]
#![allow(dead_code, reason = "each binary runs one target of the file they share")]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::pairs(input));
