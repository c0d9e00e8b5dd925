//! Bodies that are given so often that they are kept once more as files, in memory alone: the kernel
//! sends those without copying them (`sendfile`).

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Images at most: each is an open file.
const MOST: usize = 512;

/// How many there are, and their bytes.
#[derive(Debug, Default)]
pub(crate) struct Images {
    count: AtomicUsize,
    bytes: AtomicU64,
}

/// The whole body of an answer as a file that has no name.
#[derive(Debug)]
pub struct Image {
    file: File,
    length: u64,
    images: Arc<Images>,
}

impl Images {
    /// Counts one more; `None`: there is no room for it.
    pub(crate) fn add(self: &Arc<Self>, file: File, length: u64, most: u64) -> Option<Image> {
        if !self.have_room(length, most) {
            return None;
        }
        // Two at once may both be let in: the bounds are not sharp.
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(length, Ordering::Relaxed);
        Some(Image { file, length, images: Arc::clone(self) })
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed) as u64
    }

    /// Whether another one would be kept, where all of them may have `most` bytes.
    pub(crate) fn have_room(&self, length: u64, most: u64) -> bool {
        self.count.load(Ordering::Relaxed) < MOST
            && self.bytes.load(Ordering::Relaxed) + length <= most
    }
}

impl Image {
    /// The file, with the body and nothing else in it.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// How long the body is.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        self.images.count.fetch_sub(1, Ordering::Relaxed);
        self.images.bytes.fetch_sub(self.length, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_no_more_than_there_may_be() {
        let images = Arc::new(Images::default());
        let add = |length, most| images.add(File::open("/dev/null").unwrap(), length, most);
        let large = add(900, 1000);
        assert!(large.is_some() && add(101, 1000).is_none());
        drop(large);
        let mut kept: Vec<_> = (0..MOST).map(|_| add(1, 1000).unwrap()).collect();
        assert!(!images.have_room(1, 1000) && add(1, 1000).is_none(), "files are open too");
        kept.pop();
        assert!(add(1, 1000).is_some());
    }
}
