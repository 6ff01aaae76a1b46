//! `compress` and `uncompress`: zlib streams (RFC 1950), as in Envoy.
//!
//! Both work in steps and stop where the time of the entry is over, so no input holds the thread for longer than the guest
//! itself could.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::deadline::Deadline;
use crate::limits;
use crate::types::Status;

/// Bytes that go in or come out between two looks at the clock.
const STEP: usize = 64 * 1024;

/// A zlib stream of `bytes`.
pub(super) fn compress(bytes: &[u8], deadline: &mut Deadline) -> Result<Vec<u8>, Status> {
    let mut stream = Compress::new(Compression::default(), true);
    run(bytes, deadline, |step, block, last| {
        let flush = if last { FlushCompress::Finish } else { FlushCompress::None };
        let (seen, made) = (stream.total_in(), stream.total_out());
        let status = stream.compress(step, block, flush).map_err(|_| Status::SerializationFailure)?;
        Progress::new(stream.total_in() - seen, stream.total_out() - made, status)
    })
}

/// What a zlib stream holds; what follows the stream is ignored, as zlib does. More than 16 MiB is a bad argument.
pub(super) fn uncompress(bytes: &[u8], deadline: &mut Deadline) -> Result<Vec<u8>, Status> {
    let mut stream = Decompress::new(true);
    run(bytes, deadline, |step, block, _| {
        let (seen, made) = (stream.total_in(), stream.total_out());
        let status = stream.decompress(step, block, FlushDecompress::None).map_err(|_| Status::SerializationFailure)?;
        Progress::new(stream.total_in() - seen, stream.total_out() - made, status)
    })
}

/// What one step did.
struct Progress {
    read: usize,
    written: usize,
    ended: bool,
}

impl Progress {
    fn new(read: u64, written: u64, status: flate2::Status) -> Result<Progress, Status> {
        let size = |bytes: u64| usize::try_from(bytes).map_err(|_| Status::InternalFailure);
        Ok(Progress { read: size(read)?, written: size(written)?, ended: status == flate2::Status::StreamEnd })
    }
}

/// Feeds `bytes` to `step` (input, room for output, whether it is the last input) until the stream ends.
fn run(
    mut bytes: &[u8],
    deadline: &mut Deadline,
    mut step: impl FnMut(&[u8], &mut [u8], bool) -> Result<Progress, Status>,
) -> Result<Vec<u8>, Status> {
    let mut block = vec![0; STEP];
    let mut output = Vec::new();
    while !deadline.is_over() {
        let input = bytes.get(..STEP).unwrap_or(bytes);
        let progress = step(input, &mut block, input.len() == bytes.len())?;
        if output.len() + progress.written > limits::UNCOMPRESSED {
            return Err(Status::BadArgument);
        }
        output.extend_from_slice(block.get(..progress.written).unwrap_or_default());
        bytes = bytes.get(progress.read..).unwrap_or_default();
        if progress.ended {
            return Ok(output);
        }
        if progress.read == 0 && progress.written == 0 {
            return Err(Status::SerializationFailure);
        }
    }
    Err(Status::InternalFailure)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::{Duration, Instant};

    use super::*;

    fn ample() -> Deadline {
        Deadline::new(Instant::now(), Duration::from_secs(60), 10)
    }

    /// As zlib itself writes `tollgate tollgate tollgate`.
    const STREAM: &[u8] = b"\x78\x9c\x2b\xc9\xcf\xc9\x49\x4f\x2c\x49\x55\x28\x41\x67\x00\x00\x8c\x39\x0a\x55";

    #[test]
    fn a_stream_of_zlib_itself_is_read() {
        assert_eq!(uncompress(STREAM, &mut ample()).unwrap(), b"tollgate tollgate tollgate");
    }

    #[test]
    fn what_is_compressed_comes_back_whatever_its_size() {
        let long: Vec<u8> = (0..1_000_000_u32).flat_map(|number| (number % 997).to_le_bytes()).collect();
        for bytes in [&b""[..], b"a", &long[..STEP], &long[..STEP + 1], &long] {
            let stream = compress(bytes, &mut ample()).unwrap();

            assert!(stream.len() <= bytes.len() / 2 + 11);
            assert_eq!(uncompress(&stream, &mut ample()).unwrap(), bytes);
        }
    }

    #[test]
    fn bytes_behind_the_stream_are_ignored_and_a_stream_cut_short_is_refused() {
        let more = [STREAM, b"more"].concat();
        let less = &STREAM[..STREAM.len() - 1];

        assert_eq!(uncompress(&more, &mut ample()).unwrap(), b"tollgate tollgate tollgate");
        for bad in [less, b"", b"no stream"] {
            assert_eq!(uncompress(bad, &mut ample()), Err(Status::SerializationFailure));
        }
    }

    #[test]
    fn what_becomes_16_mib_is_given_and_one_byte_more_is_not() {
        let most = compress(&vec![0; limits::UNCOMPRESSED], &mut ample()).unwrap();
        let bomb = compress(&vec![0; limits::UNCOMPRESSED + 1], &mut ample()).unwrap();

        assert_eq!(uncompress(&most, &mut ample()).unwrap().len(), limits::UNCOMPRESSED);
        assert_eq!(uncompress(&bomb, &mut ample()), Err(Status::BadArgument));
    }

    #[test]
    fn work_stops_where_the_time_of_the_entry_is_over() {
        let mut spent = Deadline::new(Instant::now(), Duration::ZERO, 1);

        assert_eq!(compress(b"a", &mut spent), Err(Status::InternalFailure));
        assert_eq!(uncompress(STREAM, &mut spent), Err(Status::InternalFailure));
    }
}
