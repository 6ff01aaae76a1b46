//! The upstream of a gRPC callout: the name of a cluster, or a serialised `envoy.config.core.v3.GrpcService` that has one.

/// The name of the cluster in `GrpcService.envoy_grpc.cluster_name`, whose numbers are 1 and 1.
pub fn cluster_name(service: &[u8]) -> Option<&[u8]> {
    field_one(field_one(service)?)
}

/// The last length-delimited field 1 of a message; `None` when the bytes are no message or have no such field.
fn field_one(mut message: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => drop(varint(&mut message)?),
            1 => drop(take(&mut message, 8)?),
            5 => drop(take(&mut message, 4)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let value = take(&mut message, length)?;
                if tag >> 3 == 1 {
                    found = Some(value);
                }
            }
            _ => return None,
        }
    }
    found
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (value, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(value)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_found_among_other_fields() {
        assert_eq!(cluster_name(b"\x0a\x06\x0a\x04auth"), Some(&b"auth"[..]));
        // A timeout (3) of one second before, and an authority (2) inside.
        assert_eq!(cluster_name(b"\x1a\x02\x08\x01\x0a\x09\x12\x01x\x0a\x04auth"), Some(&b"auth"[..]));
    }

    #[test]
    fn what_is_no_such_message_has_no_cluster() {
        for bytes in
            [&b""[..], b"auth", b"\x0a", b"\x0a\x06\x0a\x05auth", b"\x0a\x00", b"\x12\x06\x0a\x04auth", b"\xff"]
        {
            assert_eq!(cluster_name(bytes), None, "{bytes:?}");
        }
        let whole = b"\x0a\x06\x0a\x04auth";
        for end in 0..whole.len() {
            assert_eq!(cluster_name(&whole[..end]), None, "{end}");
        }
        assert_eq!(cluster_name(&[0xff; 64]), None);
    }
}
