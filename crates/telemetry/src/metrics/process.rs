//! What the kernel says about this process. What cannot be read is left out.

use std::fs;

/// Resident memory in bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    // Not `statm`, which counts pages and does not say how large they are.
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Open file descriptors.
pub(super) fn open_fds() -> Option<u64> {
    // Since Linux 6.2 the size of the directory is their number; before, it is 0, and to list
    // a hundred thousand of them takes a while.
    match fs::metadata("/proc/self/fd").ok()?.len() {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64),
        number => Some(number),
    }
}

/// How many file descriptors may be open; `None` also when there is no limit.
pub(super) fn max_fds() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        assert!(resident_bytes().unwrap() > 64 * 1024);
        let before = open_fds().unwrap();
        assert!(before >= 3);
        assert!(max_fds().is_none_or(|max| max >= before));
    }
}
