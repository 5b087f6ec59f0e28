//! What is believed, and what is not. What a server makes of it is tested with the engine.

#[cfg(feature = "jwt")]
mod forged;
#[cfg(feature = "jwt")]
mod keys;
#[cfg(feature = "jwt")]
pub(crate) mod signing;

use super::*;

fn invalid(settings: Settings) -> String {
    Auth::new(settings).unwrap_err().to_string()
}

#[test]
fn settings_that_make_no_sense_are_refused_without_telling_secrets() {
    let token = |text: &str| Token::new(text, Grants::default());
    let with = |tokens: Vec<Token>| Settings { tokens, ..Settings::default() };
    for short in ["", "short", "fifteen-letters", "with spaces in the middle", "with a comma,and a colon:"] {
        let error = invalid(with(vec![token(short)]));
        assert!(error.contains("at least 16") && (short.is_empty() || !error.contains(short)), "{error}");
    }
    let same = invalid(with(vec![token("0123456789abcdef"), token("0123456789abcdef")]));
    assert_eq!(same, "there is the same token twice");
    let bad = Token { sub: Some("roof".to_owned()), ..Token::new("0123456789abcdef", Grants::new(["x"], [""; 0])) };
    let error = invalid(with(vec![bad]));
    assert!(error.starts_with("token roof: \"x\": must be a channel"), "{error}");
    let anonymous = Some(Grants::new([""; 0], ["/a/{x"]));
    assert_eq!(invalid(Settings { anonymous, ..Settings::default() }), "anonymous: \"/a/{x\": { without }");
    for ext in [vec![], vec![String::new()]] {
        assert!(invalid(Settings { ext, ..Settings::default() }).starts_with("ext "));
    }
}

#[test]
fn what_is_shown_for_debugging_has_no_secret() {
    let tokens = vec![Token::new("0123456789abcdef", Grants::default())];
    let settings = Settings { tokens, ..Settings::default() };
    assert!(!format!("{settings:?}").contains("0123456789abcdef"));
    assert!(!format!("{:?}", Auth::new(settings).unwrap()).contains("0123456789abcdef"));
}

#[test]
fn tokens_are_the_same_only_if_all_of_them_is() {
    for (a, b) in [("", ""), ("abc", "abc")] {
        assert!(found::same(a.as_bytes(), b.as_bytes()));
    }
    for (a, b) in [("", "a"), ("abc", "abd"), ("abc", "ab"), ("ab", "abc"), ("abc", "xbc")] {
        assert!(!found::same(a.as_bytes(), b.as_bytes()), "{a} {b}");
    }
}
