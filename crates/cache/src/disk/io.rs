//! All that is done to files, in one place, so that tests can let it fail at any byte.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What is done to files.
#[derive(Default)]
pub(super) struct Io {
    #[cfg(test)]
    pub faults: super::tests::faults::Faults,
}

impl Io {
    /// Writes at a place, whatever was there.
    pub(super) fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_write(file, bytes, at)?;
        file.write_all_at(bytes, at)
    }

    /// Writes at the end of a file that was opened for that.
    pub(super) fn append(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_write(file, bytes, 0)?;
        file.write_all(bytes)
    }

    /// Reads just so many bytes.
    pub(super) fn read(&self, file: &File, into: &mut [u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_read()?;
        file.read_exact_at(into, at)
    }

    /// A new file, which nobody else may read.
    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        #[cfg(test)]
        self.faults.before_change()?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(path)?;
        #[cfg(test)]
        self.faults.after_create(&file)?;
        Ok(file)
    }

    /// A file, made where it is missing, to which all writes go at the end.
    pub(super) fn append_to(&self, path: &Path) -> io::Result<File> {
        #[cfg(test)]
        self.faults.before_change()?;
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
    }

    /// A file that is there, to be written.
    pub(super) fn open_to_write(&self, path: &Path) -> io::Result<File> {
        #[cfg(test)]
        self.faults.before_change()?;
        OpenOptions::new().read(true).write(true).open(path)
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_change()?;
        fs::remove_file(path)
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_change()?;
        fs::rename(from, to)
    }

    pub(super) fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_change()?;
        file.set_len(length)
    }

    /// Makes sure that what was written outlives a loss of power.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        {
            // No test takes the power away, and all of them would wait.
            self.faults.before_sync(file)
        }
        #[cfg(not(test))]
        file.sync_data()
    }
}
