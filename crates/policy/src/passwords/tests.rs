use super::*;

/// A PHC string with small parameters, so that tests are quick.
fn argon2_text(algorithm: Algorithm, version: Version, password: &[u8]) -> String {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
    let params = Params::new(32, 1, 1, None).unwrap();
    let mut output = [0; 32];
    Argon2::new(algorithm, version, params)
        .hash_password_into(password, b"somesalt", &mut output)
        .unwrap();
    let version = match version {
        Version::V0x10 => "",
        Version::V0x13 => "v=19$",
    };
    format!(
        "${}${version}m=32,t=1,p=1${}${}",
        algorithm.as_str(),
        BASE64.encode(b"somesalt"),
        BASE64.encode(output)
    )
}

fn slow(text: &str) -> Arc<SlowHash> {
    match Stored::hash(text) {
        Ok(Stored::Slow(hash)) => hash,
        Ok(Stored::Digest(_)) => panic!("a digest"),
        Err(error) => panic!("{text}: {error}"),
    }
}

fn fault(text: &str) -> HashError {
    Stored::hash(text).err().unwrap()
}

#[test]
fn every_accepted_kind_is_verified() {
    let bcrypt = bcrypt::hash_with_salt("secret", 4, [7; 16]).unwrap();
    let mut texts: Vec<String> =
        [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY]
            .into_iter()
            .map(|version| bcrypt.format_for_version(version))
            .collect();
    texts.push(argon2_text(Algorithm::Argon2id, Version::V0x13, b"secret"));
    texts.push(argon2_text(Algorithm::Argon2i, Version::V0x13, b"secret"));
    texts.push(argon2_text(Algorithm::Argon2id, Version::V0x10, b"secret"));
    for text in texts {
        let hash = slow(&text);
        assert!(hash.verify(b"secret"), "{text}");
        for wrong in [&b"Secret"[..], b"", b"secret ", b"secret\0", b"secret\0secret"] {
            assert!(!hash.verify(wrong), "{text}");
        }
    }
}

#[test]
fn hashes_of_other_programs_are_verified() {
    // A test vector of the Argon2 reference implementation, and two made by libcrypt.
    let argon2 = "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
                  $wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";
    assert!(slow(argon2).verify(b"password"));
    let bcrypt = "$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2";
    assert!(slow(bcrypt).verify(b"correct horse"));
    let empty = "$2b$05$abcdefghijklmnopqrstuu0oImNDIy4flhldV9YqunRgBAePKmw7m";
    assert!(slow(empty).verify(b""));
}

#[test]
fn a_plain_password_is_compared_whole() {
    let Stored::Digest(digest) = Stored::plain("secret") else { panic!("a digest") };
    assert!(is_digest_of(&digest, b"secret"));
    for wrong in [&b"secre"[..], b"secrett", b"", b"SECRET"] {
        assert!(!is_digest_of(&digest, wrong));
    }
}

#[test]
fn weak_damaged_and_ruinous_hashes_are_refused() {
    assert_eq!(fault("$apr1$x$y"), HashError::Kind("an MD5 hash (apr1)"));
    assert_eq!(
        fault("{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs="),
        HashError::Kind("an unsalted SHA-1 hash")
    );
    assert_eq!(fault("hunter2"), HashError::Kind("a DES crypt hash or a password in the clear"));
    assert_eq!(fault(""), HashError::Kind("a DES crypt hash or a password in the clear"));
    assert!(matches!(fault("$argon2d$v=19$m=32,t=1,p=1$c29tZXNhbHQ$AAAA"), HashError::Kind(_)));
    assert_eq!(fault("$2y$10$short"), HashError::Malformed("bcrypt"));
    let argon2 = argon2_text(Algorithm::Argon2id, Version::V0x13, b"secret");
    for (from, to) in [("v=19", "v=20"), ("m=32", "m=x"), ("m=32,t=1,p=1", "m=1,t=1,p=1")] {
        assert_eq!(fault(&argon2.replace(from, to)), HashError::Malformed("Argon2"), "{to}");
    }
    assert_eq!(fault("$argon2id$v=19$m=32,t=1,p=1"), HashError::Malformed("Argon2"));
    for (from, to) in [("m=32", "m=1048577"), ("t=1", "t=65")] {
        assert!(matches!(fault(&argon2.replace(from, to)), HashError::TooCostly(_)), "{to}");
    }
    let bcrypt = bcrypt::hash_with_salt("secret", 4, [7; 16]).unwrap().to_string();
    for cost in ["03", "19", "31"] {
        let text = bcrypt.replace("$04$", &format!("${cost}$"));
        assert!(matches!(fault(&text), HashError::TooCostly(_)), "{cost}");
    }
}

#[test]
fn costs_tell_kinds_and_parameters_apart() {
    let argon2 = argon2_text(Algorithm::Argon2id, Version::V0x13, b"secret");
    assert_eq!(slow(&argon2).cost(), slow(&argon2).cost());
    assert_ne!(slow(&argon2).cost(), slow(&argon2.replace("t=1", "t=2")).cost());
    assert_eq!(Stored::plain("a").cost(), Stored::plain("b").cost());
}
