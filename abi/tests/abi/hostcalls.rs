//! One test or more for each hostcall: what it does, what it answers, what it refuses.

use tollgate_abi::testing::RecordingStream;

mod basics;
mod buffers;
mod headers;
mod metrics;
mod properties;
mod shared_data;
mod streams;

fn plain() -> RecordingStream {
    RecordingStream::request([(":path", "/pets"), ("Accept", "a"), ("x", "1"), ("accept", "b")])
}
