//! Session tickets: what a server has to remember of a session, sealed and given to the client to keep.
//!
//! All workers share the key, which is replaced after its time; what the one before sealed is opened for as long again. A
//! ticket tells its key by a name, and one that nothing here sealed is no more than a handshake in full.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, MAX_TAG_LEN, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

/// Bytes that tell a key.
const NAME: usize = 16;

/// See the module.
pub(super) struct Tickets {
    keys: ArcSwap<Keys>,
    /// How long a key seals.
    time: Duration,
}

struct Keys {
    sealing: Arc<Key>,
    since: Instant,
    before: Option<Arc<Key>>,
}

struct Key {
    name: [u8; NAME],
    secret: RandomizedNonceKey,
}

impl Tickets {
    /// Tickets under a key that nobody knows; `None` when the system has no random bytes to give.
    pub(super) fn new(time: Duration) -> Option<Self> {
        let keys = Keys { sealing: Key::random()?, since: Instant::now(), before: None };
        Some(Self { keys: ArcSwap::from_pointee(keys), time })
    }

    fn seal(&self, now: Instant, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.current(now)?;
        let mut sealed = plain.to_vec();
        let nonce = key.secret.seal_in_place_append_tag(Aad::from(key.name), &mut sealed).ok()?;
        Some([&key.name, &nonce.as_ref()[..], &sealed].concat())
    }

    fn open(&self, now: Instant, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = self.keys.load();
        let age = now.saturating_duration_since(keys.since);
        let key = match &keys.before {
            _ if keys.sealing.name == *name => (age < self.time * 2).then_some(&keys.sealing)?,
            Some(before) if before.name == *name => (age < self.time).then_some(before)?,
            _ => return None,
        };
        let (nonce, mut bytes) = (Nonce::try_assume_unique_for_key(nonce).ok()?, sealed.to_vec());
        let length = key.secret.open_in_place(nonce, Aad::from(key.name), &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }

    /// The key that seals, a fresh one where the time of the last is over.
    fn current(&self, now: Instant) -> Option<Arc<Key>> {
        let keys = self.keys.load();
        let age = now.saturating_duration_since(keys.since);
        if age < self.time {
            return Some(Arc::clone(&keys.sealing));
        }
        let before = (age < self.time * 2).then(|| Arc::clone(&keys.sealing));
        let fresh = Arc::new(Keys { sealing: Key::random()?, since: now, before });
        // Of several workers one replaces it, and the others take up what that one made.
        self.keys.compare_and_swap(&*keys, fresh);
        Some(Arc::clone(&self.keys.load().sealing))
    }
}

impl Key {
    fn random() -> Option<Arc<Self>> {
        let (mut name, mut secret) = ([0; NAME], [0; 32]);
        rand::fill(&mut name).ok()?;
        rand::fill(&mut secret).ok()?;
        Some(Arc::new(Self { name, secret: RandomizedNonceKey::new(&AES_256_GCM, &secret).ok()? }))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.time.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(Instant::now(), plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        // No ticket of ours is as short.
        let is_whole = cipher.len() > NAME + NONCE_LEN + MAX_TAG_LEN;
        is_whole.then(|| self.open(Instant::now(), cipher)).flatten()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_ticket_is_opened_until_its_key_was_replaced_for_as_long_as_it_sealed() {
        let tickets = Tickets::new(HOUR).unwrap();
        let start = Instant::now();
        let ticket = tickets.seal(start, b"session").unwrap();

        let later = tickets.seal(start + HOUR + HOUR / 2, b"other").unwrap();

        assert_ne!(ticket[..NAME], later[..NAME]);
        let opened = |ticket: &[u8], now| tickets.open(now, ticket);
        assert_eq!(opened(&ticket, start + HOUR * 2), Some(b"session".to_vec()));
        assert_eq!(opened(&later, start + HOUR * 2), Some(b"other".to_vec()));
        assert_eq!(opened(&ticket, start + HOUR * 5 / 2), None);
        assert_eq!(opened(&later, start + HOUR * 4), None);
    }

    #[test]
    fn two_tickets_of_one_session_differ() {
        let tickets = Tickets::new(HOUR).unwrap();

        assert_ne!(tickets.encrypt(b"session"), tickets.encrypt(b"session"));
    }

    #[test]
    fn what_was_not_sealed_here_is_not_opened() {
        let tickets = Tickets::new(HOUR).unwrap();
        let ticket = tickets.encrypt(b"session").unwrap();
        assert_eq!(tickets.decrypt(&ticket), Some(b"session".to_vec()));

        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(tickets.decrypt(&forged), None, "{at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "{at}");
        }
        assert_eq!(Tickets::new(HOUR).unwrap().decrypt(&ticket), None);
    }

    #[test]
    fn nothing_of_a_key_is_printed() {
        assert_eq!(format!("{:?}", Tickets::new(HOUR).unwrap()), "Tickets(<redacted>)");
    }
}
