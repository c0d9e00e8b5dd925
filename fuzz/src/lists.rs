//! Lists of domains.

use policy::DomainList;

/// Reads a list, and asks it about what stands in it.
pub fn read(data: &[u8]) {
    let list = DomainList::read(data).expect("memory can be read");
    assert!(list.domains().len() <= data.len(), "more names than bytes");
    assert!(list.first_skipped().len() <= list.skipped());
    assert_eq!(list.warning().is_some(), list.skipped() > 0);
    for word in data.split(|byte| byte.is_ascii_whitespace()).take(100) {
        let Ok(name) = std::str::from_utf8(word) else { continue };
        // What an exception takes out was in, and nothing is in that was not put in.
        assert!(!list.contains(name) || list.domains().contains(name), "{name}");
    }
}
