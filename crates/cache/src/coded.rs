//! Bodies in other forms, kept beside the answer that they are made of.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::Image;
use crate::store::weight;

/// How many bodies that were made by dictionaries are kept of one answer. When there are more, the
/// clients with these dictionaries do without.
const MOST: usize = 8;

/// The whole body of an answer in other codings, once somebody has made it: by the number of the
/// coding where it is one that needs nothing else.
#[derive(Debug, Default)]
pub struct Coded {
    alone: [OnceLock<Bytes>; 3],
    by_dictionary: Mutex<Vec<ByDictionary>>,
    /// The same body as a file.
    image: OnceLock<Arc<Image>>,
}

#[derive(Debug, Clone)]
struct ByDictionary {
    /// The SHA-256 of the dictionary, and the number of the coding.
    of: ([u8; 32], u8),
    bytes: Bytes,
}

impl Coded {
    /// The body in a coding that needs a dictionary, made by the one with this SHA-256.
    #[must_use]
    pub fn by_dictionary(&self, dictionary: &[u8; 32], coding: u8) -> Option<Bytes> {
        let kept = self.by_dictionary.lock();
        kept.iter().find(|kept| kept.of == (*dictionary, coding)).map(|kept| kept.bytes.clone())
    }

    /// Whether another body by a dictionary would be kept.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.by_dictionary.lock().len() < MOST
    }

    /// Keeps such a body; `false`: it is kept already, or there are too many.
    pub(crate) fn keep(&self, dictionary: &[u8; 32], coding: u8, bytes: Bytes) -> bool {
        let of = (*dictionary, coding);
        let mut kept = self.by_dictionary.lock();
        let keeps = kept.len() < MOST && !kept.iter().any(|kept| kept.of == of);
        if keeps {
            kept.push(ByDictionary { of, bytes });
        }
        keeps
    }

    /// The body as it is, as a file.
    #[must_use]
    pub fn image(&self) -> Option<&Arc<Image>> {
        self.image.get()
    }

    /// Keeps it; `false`: there is one.
    pub(crate) fn keep_image(&self, image: Image) -> bool {
        self.image.set(Arc::new(image)).is_ok()
    }

    /// What all of them cost.
    pub(crate) fn weight(&self) -> u64 {
        let alone = self.alone.iter().filter_map(OnceLock::get).map(weight::bytes);
        let kept = self.by_dictionary.lock();
        alone.sum::<usize>() as u64
            + kept.iter().map(|kept| weight::by_dictionary(&kept.bytes)).sum::<u64>()
            + self.image.get().map_or(0, |image| weight::image(image.length()))
    }
}

impl Deref for Coded {
    type Target = [OnceLock<Bytes>; 3];

    fn deref(&self) -> &Self::Target {
        &self.alone
    }
}

impl Clone for Coded {
    fn clone(&self) -> Self {
        let by_dictionary = Mutex::new(self.by_dictionary.lock().clone());
        Self { alone: self.alone.clone(), by_dictionary, image: self.image.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_kept() {
        let coded = Coded::default();
        let body = |number: u8| Bytes::from(vec![number; 1000]);
        for number in 0..20_u8 {
            let fits = usize::from(number) < MOST;
            assert_eq!(coded.has_room(), fits);
            assert_eq!(coded.keep(&[number; 32], number % 2, body(number)), fits);
            assert!(!coded.keep(&[number; 32], number % 2, body(0)), "it is there, or has no room");
        }
        assert_eq!(coded.by_dictionary(&[7; 32], 1), Some(body(7)));
        assert_eq!(coded.by_dictionary(&[7; 32], 0), None, "in the other coding");
        assert_eq!(coded.by_dictionary(&[9; 32], 1), None);
        assert_eq!(coded.weight(), MOST as u64 * weight::by_dictionary(&body(1)));
        assert_eq!(coded.clone().by_dictionary(&[6; 32], 0), Some(body(6)));
    }
}
