//! A page of text that packs about as well as pages do.

use std::fmt::Write as _;

/// Syllables of which the words are made.
const SYLLABLES: [&str; 24] = [
    "an", "ber", "co", "den", "er", "fal", "go", "hin", "in", "ka", "lo", "men", "no", "or", "pre",
    "qui", "ra", "st", "ti", "un", "ver", "wa", "xi", "yo",
];
/// Different words.
const WORDS: u32 = 2000;

/// `length` bytes of it, the same each time.
pub fn page(length: usize) -> Vec<u8> {
    let mut random = Random(1);
    let mut text = String::with_capacity(length + 256);
    while text.len() < length {
        let class = random.below(8);
        let _ = write!(text, "<p class=\"block-{class}\"><a href=\"/articles/");
        let _ = write!(text, "{}\">", random.below(100_000));
        for _ in 0..20 + random.below(60) {
            // The least of three: few words are frequent, as in a language.
            let word = random.below(WORDS).min(random.below(WORDS)).min(random.below(WORDS));
            push_word(&mut text, word);
        }
        text.push_str("</a></p>\n");
    }
    text.truncate(length);
    text.into_bytes()
}

/// The word of a number: longer for those that are rare.
fn push_word(text: &mut String, word: u32) {
    let mut rest = word + 1;
    while rest > 0 {
        text.push_str(SYLLABLES[rest as usize % SYLLABLES.len()]);
        rest /= SYLLABLES.len() as u32;
    }
    text.push(' ');
}

/// A linear congruential generator (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % limit
    }
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn a_page_is_text_of_its_length() {
        let text = page(5000);
        assert_eq!(text.len(), 5000);
        assert!(text.is_ascii());
        assert_eq!(text, page(5000));
    }
}
