//! A small store that all instances of one plugin share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest key, bytes (part of the ABI).
const KEY_BYTES_MAX: usize = 256;
/// What an entry costs beside its key and value.
const ENTRY_BYTES: usize = 64;

#[derive(Debug)]
struct Entry {
    value: Vec<u8>,
    expires: Option<Instant>,
}

#[derive(Debug, Default)]
struct Entries {
    map: HashMap<String, Entry>,
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Kv {
    entries: Mutex<Entries>,
    bytes_max: AtomicUsize,
}

impl Kv {
    pub(crate) fn new(bytes_max: usize) -> Kv {
        Kv {
            entries: Mutex::default(),
            bytes_max: AtomicUsize::new(bytes_max),
        }
    }

    /// Changes the bound. What is held already stays until it is replaced or expires.
    pub(crate) fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Relaxed);
    }

    fn bytes_max(&self) -> usize {
        self.bytes_max.load(Relaxed)
    }

    pub(crate) fn get(&self, key: &str, now: Instant) -> Option<Vec<u8>> {
        self.lock().live(key, now).map(|entry| entry.value.clone())
    }

    /// # Errors
    /// The bound is met, or the key is none.
    pub(crate) fn set(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
        now: Instant,
    ) -> Result<(), String> {
        check_key(key)?;
        let expires = expiry(ttl_ms, now);
        self.lock()
            .put(key, Entry { value, expires }, self.bytes_max(), now)
    }

    pub(crate) fn delete(&self, key: &str) {
        self.lock().remove(key);
    }

    /// # Errors
    /// The bound is met, or the key is none.
    pub(crate) fn increment(
        &self,
        key: &str,
        delta: i64,
        ttl_ms: Option<u64>,
        now: Instant,
    ) -> Result<i64, String> {
        check_key(key)?;
        let mut entries = self.lock();
        let (before, expires) = match entries.live(key, now) {
            Some(entry) => (number(&entry.value), entry.expires),
            None => (0, expiry(ttl_ms, now)),
        };
        let sum = before.saturating_add(delta);
        let value = sum.to_string().into_bytes();
        entries.put(key, Entry { value, expires }, self.bytes_max(), now)?;
        Ok(sum)
    }

    /// Bytes in use, with what each entry costs.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_key(key: &str) -> Result<(), String> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) {
        Ok(())
    } else {
        Err(format!("a key has 1 to {KEY_BYTES_MAX} bytes"))
    }
}

fn expiry(ttl_ms: Option<u64>, now: Instant) -> Option<Instant> {
    // What is further away than the clock can say is never.
    ttl_ms.and_then(|ms| now.checked_add(Duration::from_millis(ms)))
}

fn number(value: &[u8]) -> i64 {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn cost(key: &str, entry: &Entry) -> usize {
    key.len() + entry.value.len() + ENTRY_BYTES
}

impl Entries {
    fn live(&mut self, key: &str, now: Instant) -> Option<&Entry> {
        if self.map.get(key)?.expires.is_some_and(|at| at <= now) {
            self.remove(key);
            return None;
        }
        self.map.get(key)
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.map.remove(key) {
            self.bytes -= cost(key, &entry);
        }
    }

    fn put(
        &mut self,
        key: &str,
        entry: Entry,
        bytes_max: usize,
        now: Instant,
    ) -> Result<(), String> {
        let after = |entries: &Entries| {
            let old = entries.map.get(key).map_or(0, |old| cost(key, old));
            entries.bytes - old + cost(key, &entry)
        };
        if after(self) > bytes_max {
            self.forget_expired(now);
        }
        let bytes = after(self);
        if bytes > bytes_max {
            return Err(format!(
                "the store is full: it holds {} of {bytes_max} bytes",
                self.bytes
            ));
        }
        self.bytes = bytes;
        self.map.insert(key.to_owned(), entry);
        Ok(())
    }

    fn forget_expired(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.map.retain(|key, entry| {
            let live = entry.expires.is_none_or(|at| at > now);
            if !live {
                *bytes -= cost(key, entry);
            }
            live
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn values_live_as_long_as_they_may() {
        let (kv, now) = (Kv::new(10_000), Instant::now());
        kv.set("a", vec![1], None, now).unwrap();
        kv.set("b", vec![2], Some(1_000), now).unwrap();
        assert_eq!(kv.get("a", now + 1_000 * SECOND), Some(vec![1]));
        assert_eq!(kv.get("b", now), Some(vec![2]));
        assert_eq!(kv.get("b", now + SECOND), None);
        kv.delete("a");
        assert_eq!((kv.get("a", now), kv.bytes()), (None, 0));
    }

    #[test]
    fn the_bound_holds_and_expired_values_make_room() {
        let (kv, now) = (Kv::new(300), Instant::now());
        kv.set("a", vec![0; 100], Some(1_000), now).unwrap();
        kv.set("b", vec![0; 50], None, now).unwrap();
        let error = kv.set("c", vec![0; 50], None, now).unwrap_err();
        assert_eq!(error, "the store is full: it holds 280 of 300 bytes");
        // Replacing counts the difference.
        kv.set("b", vec![0; 70], None, now).unwrap();
        assert!(kv.set("b", vec![0; 71], None, now).is_err());
        kv.set("c", vec![0; 50], None, now + SECOND).unwrap();
        assert_eq!(kv.bytes(), 70 + 50 + 2 * 65);
        for key in ["", &"k".repeat(257)] {
            assert!(kv.set(key, Vec::new(), None, now).is_err());
            assert!(kv.increment(key, 1, None, now).is_err());
        }
    }

    #[test]
    fn sums_count_from_the_first_addition() {
        let (kv, now) = (Kv::new(1_000), Instant::now());
        assert_eq!(kv.increment("n", 2, Some(1_000), now), Ok(2));
        assert_eq!(kv.increment("n", 3, Some(1_000), now + SECOND / 2), Ok(5));
        assert_eq!(kv.get("n", now), Some(b"5".to_vec()));
        assert_eq!(kv.increment("n", 1, None, now + SECOND), Ok(1));
        kv.set("text", b"none".to_vec(), None, now).unwrap();
        assert_eq!(kv.increment("text", -4, None, now), Ok(-4));
        assert_eq!(kv.increment("n", i64::MAX, None, now), Ok(i64::MAX));
        let full = Kv::new(10);
        assert!(full.increment("n", 1, None, now).is_err());
    }
}
