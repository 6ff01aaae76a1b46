use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
/// Streams that may be open.
const STREAMS: u32 = 100;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A connection on which the client's preface has come.
fn client(now: Instant) -> Accounting {
    client_with(STREAMS, now)
}

/// The same where so many streams may be open.
fn client_with(streams: u32, now: Instant) -> Accounting {
    let mut frames = Accounting::of_client(now, streams);
    frames.received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now).unwrap();
    settled(frames)
}

/// The peer has said its settings, which do not count here.
fn settled(mut frames: Accounting) -> Accounting {
    frames.received(&frame(SETTINGS, 0, 0, &[]), Instant::now()).unwrap();
    frames.without_progress.count = 0;
    frames
}

/// After how many of these the connection is ended, if within three times the bound.
fn ended_after(mut frames: Accounting, mut next: impl FnMut(u32, &mut Accounting) -> Vec<u8>) -> Option<(u32, Breach)> {
    let now = Instant::now();
    (1..3 * FRAMES_WITHOUT_PROGRESS).find_map(|number| {
        let bytes = next(number, &mut frames);
        frames.received(&bytes, now).err().map(|flood| (number, flood))
    })
}

#[test]
fn a_thousand_frames_without_progress_are_borne_and_one_more_is_a_flood() {
    let end = Some((FRAMES_WITHOUT_PROGRESS + 1, Breach::Control));
    let frames: [&[u8]; 6] = [
        &frame(PING, 0, 0, &[0; 8]),
        &frame(PRIORITY, 0, 1, &[0; 5]),
        &frame(RST_STREAM, 0, 1, &[0; 4]),
        &frame(77, 0, 0, &[0; 300]),
        &frame(DATA, 0, 1, &[]),
        &frame(DATA, PADDED, 1, &[3, 0, 0, 0]),
    ];

    for bytes in frames {
        assert_eq!(ended_after(client(Instant::now()), |_, _| bytes.to_vec()), end, "{bytes:?}");
        assert_eq!(
            ended_after(settled(Accounting::of_upstream(Instant::now())), |_, _| bytes.to_vec()),
            end,
            "{bytes:?}"
        );
    }
}

#[test]
fn a_clients_connection_begins_with_settings() {
    let now = Instant::now();
    let mut frames = Accounting::of_client(now, STREAMS);
    frames.received(&[b'x'; PREFACE_LENGTH], now).unwrap();

    assert_eq!(frames.received(&frame(PING, 0, 0, &[0; 8]), now), Err(Breach::Preface));
    assert_eq!(frames.farewell(Breach::Preface).unwrap()[16], PROTOCOL_ERROR);
}

#[test]
fn a_byte_of_a_body_in_either_direction_is_progress_and_so_is_the_head_of_an_answer() {
    let ping = frame(PING, 0, 0, &[0; 8]);
    let upload = |number: u32, _: &mut Accounting| {
        if number.is_multiple_of(900) { frame(DATA, 0, 1, b"x") } else { ping.clone() }
    };
    let download = |bytes: Vec<u8>| {
        let ping = ping.clone();
        move |number: u32, frames: &mut Accounting| {
            if number.is_multiple_of(900) {
                frames.sent(&bytes);
            }
            ping.clone()
        }
    };

    let mut uploading = client(Instant::now());
    uploading.received(&frame(HEADERS, END_HEADERS, 1, &[0x82]), Instant::now()).unwrap();
    assert_eq!(ended_after(uploading, &upload), None);
    assert!(ended_after(client(Instant::now()), upload).is_some(), "the stream is not open");
    assert_eq!(ended_after(client(Instant::now()), download(frame(DATA, 0, 1, b"x"))), None);
    assert_eq!(ended_after(client(Instant::now()), download(frame(HEADERS, END_HEADERS, 1, &[0x88]))), None);
    assert!(ended_after(client(Instant::now()), download(frame(PING, 1, 0, &[0; 8]))).is_some());
}

#[test]
fn the_last_bytes_of_a_body_are_progress_on_a_stream_that_was_answered_whole() {
    let (ping, last) = (frame(PING, 0, 0, &[0; 8]), frame(DATA, END_STREAM, 1, b"x"));
    let mut answered = client(Instant::now());
    answered.received(&frame(HEADERS, END_HEADERS, 1, &[0x82]), Instant::now()).unwrap();
    answered.sent(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]));

    let end = ended_after(answered, |number, _| if number == 900 { last.clone() } else { ping.clone() });

    assert_eq!(end, Some((900 + FRAMES_WITHOUT_PROGRESS + 1, Breach::Control)));
}

#[test]
fn frames_of_another_spell_are_not_counted() {
    let now = Instant::now();
    let mut frames = client(now);
    let pings = frame(PING, 0, 0, &[0; 8]).repeat(FRAMES_WITHOUT_PROGRESS as usize);

    all(&mut frames, &pings, now).unwrap();
    all(&mut frames, &pings, now + SPELL + Duration::from_millis(1)).unwrap();

    assert_eq!(all(&mut frames, &pings, now + SPELL + Duration::from_millis(2)), Err(Breach::Control));
}

/// Opens streams and resets each; of so many in ten the answer's head leaves before.
fn resets(answered: u32) -> Option<(u32, Breach)> {
    ended_after(client(Instant::now()), |number, frames| {
        let stream = number * 2 - 1;
        frames.received(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x82]), Instant::now()).unwrap();
        if number % 10 < answered {
            frames.sent(&frame(HEADERS, END_HEADERS, stream, &[0x88]));
        }
        frame(RST_STREAM, 0, stream, &[0; 4])
    })
}

#[test]
fn a_hundred_resets_of_which_over_half_are_unanswered_are_a_flood() {
    assert_eq!(resets(0), Some((100, Breach::Resets)));
    assert_eq!(resets(4), Some((100, Breach::Resets)));
    assert_eq!(resets(6), None);
}

/// So many streams are open, quiet and not answered.
fn crowded(streams: u32) -> Accounting {
    let now = Instant::now();
    let mut frames = client_with(streams, now);
    for number in 0..streams {
        let head = frame(HEADERS, END_HEADERS, number * 2 + 1, &[0x82]);
        frames.received(&head, now).unwrap();
        frames.without_progress.count = 0;
    }
    frames
}

#[test]
fn however_many_streams_may_be_open_an_upload_on_any_of_them_is_progress() {
    for stream in [1, 2 * 512 + 1, 2 * 999 + 1] {
        let upload = |number: u32, _: &mut Accounting| {
            if number.is_multiple_of(900) { frame(DATA, 0, stream, b"x") } else { frame(PING, 0, 0, &[0; 8]) }
        };

        assert_eq!(ended_after(crowded(1000), upload), None, "{stream}");
    }
}

#[test]
fn however_many_streams_may_be_open_resets_of_all_of_them_are_counted() {
    let end = ended_after(crowded(1000), |number, _| frame(RST_STREAM, 0, 2 * (1000 - number) + 1, &[0; 4]));

    assert_eq!(end, Some((100, Breach::Resets)));
}

#[test]
fn streams_beyond_those_that_may_be_open_are_known_only_up_to_a_number() {
    let mut frames = crowded(STREAMS);
    let now = Instant::now();
    for number in STREAMS..10 * STREAMS {
        frames.received(&frame(HEADERS, END_HEADERS, number * 2 + 1, &[0x82]), now).unwrap();
        frames.without_progress.count = 0;
    }

    let is_known = |number: u32| frames.streams.as_ref().is_some_and(|streams| streams.is_open(number * 2 + 1));
    assert_eq!([499, 500].map(is_known), [true, false]);
}

#[test]
fn a_stream_that_was_answered_whole_cannot_be_reset() {
    let end = ended_after(client(Instant::now()), |number, frames| {
        let stream = number * 2 - 1;
        frames.received(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x82]), Instant::now()).unwrap();
        frames.sent(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88]));
        frame(RST_STREAM, 0, stream, &[0; 4])
    });

    assert_eq!(end, None);
}

#[test]
fn bytes_on_a_stream_of_which_only_we_have_said_all_are_progress() {
    let mut frames = client(Instant::now());
    frames.received(&frame(HEADERS, END_HEADERS, 1, &[0x82]), Instant::now()).unwrap();
    frames.sent(&frame(HEADERS, END_HEADERS, 1, &[0x88]));
    frames.sent(&frame(DATA, END_STREAM, 1, &[]));

    let end = ended_after(frames, |_, _| frame(DATA, 0, 1, b"x"));

    assert_eq!(end, None);
}

#[test]
fn bytes_on_a_stream_that_both_sides_have_ended_are_none() {
    let mut frames = client(Instant::now());
    frames.received(&frame(HEADERS, END_HEADERS, 1, &[0x82]), Instant::now()).unwrap();
    frames.sent(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]));
    frames.received(&frame(DATA, END_STREAM, 1, b"x"), Instant::now()).unwrap();

    let end = ended_after(frames, |_, _| frame(DATA, 0, 1, b"x"));

    assert!(matches!(end, Some((_, Breach::Control))), "{end:?}");
}

#[test]
fn a_crowd_of_frames_is_handed_on_in_parts() {
    let now = Instant::now();
    let mut frames = client(now);
    let data = frame(DATA, 0, 1, b"x");
    let bytes = data.repeat(CROWD + 10);

    let taken = frames.received(&bytes, now).unwrap();

    assert_eq!(taken, data.len() * CROWD - 1);
    assert_eq!(frames.received(&bytes[taken..], now), Ok(data.len() * 10 + 1));
}

#[test]
fn a_head_is_within_until_its_last_byte() {
    let now = Instant::now();
    let mut frames = client(now);
    let mut within = |bytes: &[u8]| {
        frames.received(bytes, now).unwrap();
        frames.is_within_head()
    };

    assert!(!within(&[]));
    assert!(within(&frame(HEADERS, 0, 1, b"ab")));
    assert!(within(&frame(CONTINUATION, END_HEADERS, 1, b"cd")[..10]));
    assert!(!within(b"d"));
    assert!(within(&frame(PING, 0, 0, &[0; 8])[..3]));
}

#[test]
fn the_last_word_names_the_youngest_stream_and_never_falls_into_a_frame() {
    let now = Instant::now();
    let mut frames = client(now);
    frames.received(&frame(HEADERS, END_HEADERS, 5, &[0x82]), now).unwrap();
    let answer = frame(DATA, 0, 5, b"abc");

    assert_eq!(frames.farewell(Breach::Control).unwrap(), *frame(7, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 11]));
    frames.sent(&answer[..10]);
    assert_eq!(frames.farewell(Breach::Control), None);
    frames.sent(&answer[10..]);
    assert!(frames.farewell(Breach::Control).is_some());
}

/// A frame of either direction, kinds that are not known among them.
fn any_frame() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let parts = (any::<bool>(), 0_u8..12, any::<u8>(), 0_u32..40, vec(any::<u8>(), 0..40), 1_usize..200);
    parts.prop_map(|(is_received, kind, flags, stream, payload, times)| {
        (is_received, frame(kind, flags, stream, &payload).repeat(times))
    })
}

/// Tells all of these bytes.
fn all(frames: &mut Accounting, mut bytes: &[u8], now: Instant) -> Result<(), Breach> {
    while !bytes.is_empty() {
        bytes = &bytes[frames.received(bytes, now)?..];
    }
    Ok(())
}

/// What comes of bytes that pass in these pieces.
fn outcome(
    runs: &[(bool, Vec<u8>)],
    now: Instant,
    piece: impl Fn(usize) -> usize,
) -> (Option<(usize, Breach)>, String) {
    let mut frames = client(now);
    for (at, (is_received, bytes)) in runs.iter().enumerate() {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (next, others) = rest.split_at(piece(rest.len()).clamp(1, rest.len()));
            rest = others;
            if !*is_received {
                frames.sent(next);
            } else if let Err(flood) = all(&mut frames, next, now) {
                return (Some((at, flood)), String::new());
            }
        }
    }
    (None, format!("{:?} {:?} {}", frames.without_progress, frames.streams, frames.is_within_head()))
}

proptest! {
    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut(runs in vec(any_frame(), 1..30), cuts in vec(1_usize..50, 1..20)) {
        let turn = std::cell::Cell::new(0);
        let by_cuts = |_| cuts[turn.replace(turn.get() + 1) % cuts.len()];

        let now = Instant::now();

        let whole = outcome(&runs, now, |length| length);

        prop_assert_eq!(&outcome(&runs, now, by_cuts), &whole);
        prop_assert_eq!(&outcome(&runs, now, |_| 1), &whole);
    }

    #[test]
    fn any_bytes_are_counted_without_a_panic(received in vec(any::<u8>(), 0..2000), sent in vec(any::<u8>(), 0..2000)) {
        let now = Instant::now();
        let mut frames = Accounting::of_client(now, STREAMS);

        let _ = all(&mut frames, &received, now);
        frames.sent(&sent);

        prop_assert!(frames.without_progress.count <= FRAMES_WITHOUT_PROGRESS + 1);
    }
}
