//! The folder: whose it is, who may write in it, what the files are called.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The file that says that the folder is ours, and what it says.
const FORMAT: &str = "format";
const FORMAT_TEXT: &str = "bifrons cache 1\n";

/// Why a folder cannot be used.
#[derive(Debug)]
pub enum DiskError {
    /// There is something in it, and nothing that says that it is a cache.
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// What is in it.
        found: String,
    },
    /// It was written by a version with another format.
    Version {
        /// The folder.
        folder: PathBuf,
    },
    /// It cannot be made, read or written.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { folder, found } => write!(
                f,
                "{}: this folder holds `{found}` and is not a cache; name an empty folder, or one \
                 that does not exist yet",
                folder.display()
            ),
            Self::Version { folder } => write!(
                f,
                "{}: the cache in this folder has the format of another version; name another \
                 folder, or remove this one",
                folder.display()
            ),
            Self::Io { path, error } => {
                write!(f, "{}: the cache on disk cannot be opened: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// What the files of late purges are named.
const LATE: &str = "late-";

/// A folder that is ours.
pub(super) struct Folder {
    path: PathBuf,
    /// Who holds its lock writes.
    lock: File,
}

impl Folder {
    /// Takes a folder, which is made where it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, DiskError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| DiskError::Io { path, error }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))?;
        claim(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed(path))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed(&lock_path))?;
        Ok(Self { path: path.to_owned(), lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nobody else writes, and nobody else will before [`Self::unlock`] or the end of
    /// this process.
    pub(super) fn try_lock(&self) -> io::Result<bool> {
        match self.lock.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(super) fn unlock(&self) -> io::Result<()> {
        self.lock.unlock()
    }

    pub(super) fn data(&self, volume: u32) -> PathBuf {
        self.path.join(format!("{volume:08x}.data"))
    }

    pub(super) fn index(&self, volume: u32) -> PathBuf {
        self.path.join(format!("{volume:08x}.index"))
    }

    pub(super) fn purges(&self) -> PathBuf {
        self.path.join("purges")
    }

    /// Where the next file of purges is made.
    pub(super) fn purges_new(&self) -> PathBuf {
        self.path.join("purges.new")
    }

    /// Where a process that has left the folder to another one notes purges.
    pub(super) fn late(&self, name: &str) -> PathBuf {
        self.path.join(format!("{LATE}{name}"))
    }

    /// All of these files.
    pub(super) fn lates(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(LATE)) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    /// The numbers of the volumes that are there, sorted; and of the index files.
    pub(super) fn volumes(&self) -> io::Result<(Vec<u32>, Vec<u32>)> {
        let (mut data, mut index) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let Some((stem, suffix)) = name.to_str().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let Ok(number) = u32::from_str_radix(stem, 16) else { continue };
            match suffix {
                "data" if stem.len() == 8 => data.push(number),
                "index" if stem.len() == 8 => index.push(number),
                _ => {}
            }
        }
        data.sort_unstable();
        index.sort_unstable();
        Ok((data, index))
    }
}

/// Makes sure that a folder is a cache of ours, or makes it one if it is empty.
fn claim(folder: &Path) -> Result<(), DiskError> {
    let file = folder.join(FORMAT);
    let failed = |error| DiskError::Io { path: file.clone(), error };
    match fs::read(&file) {
        Ok(text) if text == FORMAT_TEXT.as_bytes() => return Ok(()),
        Ok(text) if text.starts_with(b"bifrons cache ") => {
            return Err(DiskError::Version { folder: folder.to_owned() });
        }
        Ok(_) => {
            return Err(DiskError::Foreign { folder: folder.to_owned(), found: FORMAT.into() });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // What the root of a file system has, and what somebody who claims it at this moment, or was
    // killed doing so, may have left.
    let temporary = format!("{FORMAT}.new");
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let found = name.to_string_lossy();
        if found != "lost+found" && found != FORMAT && found != *temporary {
            return Err(DiskError::Foreign { folder: folder.to_owned(), found: found.into() });
        }
    }
    let temporary = folder.join(temporary);
    let write = || {
        let mut options = OpenOptions::new();
        let mut new =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        new.write_all(FORMAT_TEXT.as_bytes())?;
        new.sync_all()?;
        match fs::rename(&temporary, &file) {
            // Somebody else was faster, with the same text.
            Err(_) if file.exists() => Ok(()),
            result => result,
        }
    };
    write().map_err(failed)
}
