//! Which keys are taken.

use super::super::Key;
use super::signing::{Signer, element, p256_pem, pem, rsa_pem};

fn no_rsa(pem: &[u8]) -> String {
    Key::rs256(pem).unwrap_err().to_string()
}

/// An `RSAPublicKey` with a modulus of so many bits.
fn rsa_key(bits: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] >>= (8 - bits % 8) % 8;
    if modulus[0] >= 0x80 {
        modulus.insert(0, 0);
    }
    element(0x30, &[element(0x02, &modulus), element(0x02, &[1, 0, 1])].concat())
}

#[test]
fn a_key_knows_its_one_algorithm() {
    let (rsa, p256) = (Signer::rsa(), Signer::p256());
    assert_eq!(Key::hs256(&[7; 32]).unwrap().algorithm(), "HS256");
    assert_eq!(Key::rs256(&rsa.pem()).unwrap().algorithm(), "RS256");
    assert_eq!(Key::es256(&p256.pem()).unwrap().algorithm(), "ES256");
    assert!(no_rsa(&p256.pem()).contains("not one of RSA"));
    assert!(Key::es256(&rsa.pem()).unwrap_err().to_string().contains("not one of P-256"));
    assert!(!format!("{:?}", Key::hs256(b"s3cret-s3cret-s3cret-s3cret-s3cret").unwrap()).contains("s3cret"));
}

#[test]
fn a_short_key_is_refused() {
    assert!(Key::hs256(&[7; 31]).unwrap_err().to_string().contains("at least 32 bytes"));
    assert!(Key::hs256(b"").is_err());
    for bits in [2_048, 2_049, 3_072, 8_192] {
        assert!(Key::rs256(&rsa_pem(&rsa_key(bits))).is_ok(), "{bits}");
    }
    for bits in [512, 1_024, 2_047, 8_193] {
        assert!(no_rsa(&rsa_pem(&rsa_key(bits))).contains(&format!("this has {bits}")), "{bits}");
    }
}

#[test]
fn what_is_no_public_key_says_what_it_is() {
    let good = String::from_utf8(Signer::rsa().pem()).unwrap();
    for (text, word) in [
        (String::new(), "it is not PEM"),
        ("s3cret".to_owned(), "it is not PEM"),
        (good.replace("PUBLIC", "PRIVATE"), "private key"),
        (good.replace("PUBLIC", "RSA PRIVATE"), "private key"),
        (good.replace("PUBLIC KEY", "CERTIFICATE"), "it has a certificate"),
        (good.replace("PUBLIC KEY", "RSA PUBLIC KEY"), "it is not PEM: it must begin with -----BEGIN PUBLIC KEY-----"),
        (good.replace("END", "END "), "there is no -----END PUBLIC KEY-----"),
        (format!("{good}{good}"), "more than one key"),
        (good.replacen('M', "!", 1), "base64"),
        (good.replace("MIIB", "MIIC"), "not one of RSA"),
    ] {
        let error = no_rsa(text.as_bytes());
        assert!(error.contains(word), "{word}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    assert!(no_rsa(b"\xff").contains("not PEM"));
    let crlf = good.replace('\n', "\r\n");
    assert!(Key::rs256(format!("a comment\r\n{crlf}").as_bytes()).is_ok());
}

#[test]
fn der_that_is_cut_or_goes_on_is_no_key() {
    let key = rsa_key(2_048);
    for end in 0..key.len() {
        assert!(Key::rs256(&rsa_pem(&key[..end])).is_err(), "{end}");
    }
    assert!(Key::rs256(&rsa_pem(&[&key[..], &[0]].concat())).is_err());
    // Another object identifier, and another curve.
    assert!(Key::rs256(&pem(&[0x06, 0x01, 0x2a, 0x05, 0x00], &key)).is_err());
    assert!(Key::es256(&pem(&[0x06, 0x01, 0x2a], &[4; 65])).is_err());
    for point in [vec![4; 64], vec![4; 66], vec![2; 33], [vec![2], vec![9; 64]].concat()] {
        assert!(Key::es256(&p256_pem(&point)).is_err());
    }
}
