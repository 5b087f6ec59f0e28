//! Tokens that are good, and all the ways in which one can be wrong.

use serde_json::{Value, json};

use super::super::jwt::{Checked, Jwt, LEEWAY_MS};
use super::super::{Auth, Grants, Holder, Key, Settings};
use super::signing::{Signer, decoded, encoded, p256_pem, rsa_pem};

/// A time at which tokens are looked at, seconds since 1970.
const NOW: u64 = 1_767_225_600;

/// What A.1 to A.3 of RFC 7515 sign.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn key_of(signer: &Signer) -> Key {
    match signer {
        Signer::Secret(secret) => Key::hs256(secret).unwrap(),
        Signer::Rsa(_) => Key::rs256(&signer.pem()).unwrap(),
        Signer::P256(_) => Key::es256(&signer.pem()).unwrap(),
    }
}

fn jwt(keys: impl IntoIterator<Item = Key>) -> Jwt {
    Jwt::new(keys, Grants::new(["/user/{sub}/**"], ["/chat/**"]))
}

fn checked(jwt: Jwt) -> Checked {
    Checked::new(jwt).unwrap()
}

fn by(signer: &Signer) -> Checked {
    checked(jwt([key_of(signer)]))
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

/// The claims with one that is other.
fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn judge(rules: &Checked, token: &str) -> Result<Holder, &'static str> {
    rules.holder(token, NOW * 1_000)
}

#[test]
fn what_is_signed_with_the_key_is_believed() {
    for signer in [Signer::secret(), Signer::rsa(), Signer::p256()] {
        let holder = judge(&by(&signer), &signer.token(&claims())).unwrap();
        assert_eq!(holder.sub.as_deref(), Some("alice"));
        assert_eq!((&*holder.granted.subscribe, &*holder.granted.publish), ("/user/alice/**", "/chat/**"));
        assert_eq!(holder.ends_unix_ms, Some((NOW + 60) * 1_000 + LEEWAY_MS));
    }
}

#[test]
fn the_examples_of_the_rfc_are_believed_at_their_time() {
    let secret = decoded("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
    let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let point = [vec![4], decoded(x), decoded(y)].concat();
    for (key, header, signature) in [
        (
            Key::hs256(&secret).unwrap(),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            Key::rs256(&Signer::rsa().pem()).unwrap(),
            "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdb\
            F9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383\
            LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWy\
            wlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            Key::es256(&p256_pem(&point)).unwrap(),
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ] {
        let (name, token) = (key.algorithm(), format!("{header}.{PAYLOAD}.{signature}"));
        let rules = checked(Jwt { issuer: Some("joe".to_owned()), ..jwt([key]) });
        assert_eq!(rules.holder(&token, 1_300_819_379_000).unwrap().sub, None, "{name}");
        assert_eq!(rules.holder(&token, 1_300_819_380_000 + LEEWAY_MS), Err("token expired"), "{name}");
    }
}

#[test]
fn the_algorithm_is_that_of_the_key_whatever_the_token_says() {
    let (rsa, secret) = (Signer::rsa(), Signer::secret());
    let rules = by(&rsa);
    // No signature at all (CVE-2015-9235, CVE-2015-2951).
    for alg in ["none", "None", "NONE", ""] {
        let header = encoded(json!({"alg": alg}).to_string().as_bytes());
        let body = encoded(claims().to_string().as_bytes());
        assert_eq!(judge(&rules, &format!("{header}.{body}.")), Err("wrong algorithm"), "{alg}");
        assert_eq!(judge(&by(&secret), &format!("{header}.{body}.")), Err("wrong algorithm"), "{alg}");
    }
    // The public key taken for a secret, in each form in which somebody may have it.
    let pem = rsa.pem();
    for known in [pem.clone(), pem.trim_ascii().to_vec(), decoded(&encoded(&pem))] {
        let forger = Signer::Secret(known);
        assert_eq!(judge(&rules, &forger.token(&claims())), Err("wrong algorithm"));
        let lying = forger.token_with(&json!({"alg": "RS256"}), &claims());
        assert_eq!(judge(&rules, &lying), Err("bad signature"));
    }
    for header in
        [json!({}), json!({"alg": null}), json!({"alg": 1}), json!({"alg": ["RS256"]}), json!({"alg": "rs256"})]
    {
        assert_eq!(judge(&rules, &rsa.token_with(&header, &claims())), Err("wrong algorithm"), "{header}");
    }
    for alg in ["RS384", "PS256", "ES256", "HS256"] {
        assert_eq!(judge(&rules, &rsa.token_with(&json!({"alg": alg}), &claims())), Err("wrong algorithm"));
    }
}

#[test]
fn another_key_and_another_payload_are_a_bad_signature() {
    let other = Signer::Secret(b"another-secret-of-more-than-32-bytes".to_vec());
    assert_eq!(judge(&by(&Signer::secret()), &other.token(&claims())), Err("bad signature"));
    assert_eq!(judge(&by(&Signer::p256()), &Signer::p256().token(&claims())), Err("bad signature"));
    let other_rsa = Key::rs256(&rsa_pem(
        &[&[0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00][..], &[0xc5; 256], &[0x02, 0x03, 0x01, 0x00, 0x01]]
            .concat(),
    ))
    .unwrap();
    assert_eq!(judge(&checked(jwt([other_rsa])), &Signer::rsa().token(&claims())), Err("bad signature"));
    for signer in [Signer::secret(), Signer::rsa(), Signer::p256()] {
        let (rules, token) = (by(&signer), signer.token(&claims()));
        let parts: Vec<&str> = token.split('.').collect();
        let root = encoded(with("sub", "root").to_string().as_bytes());
        assert_eq!(judge(&rules, &format!("{}.{root}.{}", parts[0], parts[2])), Err("bad signature"));
        // Any byte of the signature.
        let mut signature = decoded(parts[2]);
        for at in 0..signature.len() {
            signature[at] ^= 1;
            let forged = format!("{}.{}.{}", parts[0], parts[1], encoded(&signature));
            assert_eq!(judge(&rules, &forged), Err("bad signature"), "{at}");
            signature[at] ^= 1;
        }
        for short in [&signature[1..], &signature[..signature.len() - 1], &[], &[0; 64], &[0; 256]] {
            let forged = format!("{}.{}.{}", parts[0], parts[1], encoded(short));
            assert_eq!(judge(&rules, &forged), Err("bad signature"));
        }
    }
}

#[test]
fn what_is_not_of_the_form_is_malformed() {
    let (rules, signer) = (by(&Signer::secret()), Signer::secret());
    let good = signer.token(&claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let sign = |signed: &str| format!("{signed}.{}", encoded(&signer.sign(signed.as_bytes())));
    let header = signed.split_once('.').unwrap().0;
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "unknown-token-without-dots".to_owned(),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!(".{good}"),
        format!("{good}="),
        format!("{good} "),
        format!("{signed}.{signature}!"),
        // Bits that stand for nothing (RFC 4648 section 3.5): another text for the same bytes.
        format!("{signed}.{}", twin(signature)),
        sign(&format!("{header}.e30=")),
        sign(&format!("{}.e30", "e30=")),
        sign(&format!("{}.e30", encoded(b"[]"))),
        sign(&format!("{}.e30", encoded(b"not json"))),
        sign(&format!("{header}.{}", encoded(b"\"text\""))),
        sign(&format!("{header}.{}", encoded(b"{\"exp\":1767225660} x"))),
        sign(&format!("{header}.{}", encoded(b"{\"sub\":\"\xff\"}"))),
        sign(&format!("{header}.{}", encoded("[".repeat(5_000).as_bytes()))),
    ] {
        assert_eq!(judge(&rules, &token), Err("malformed token"), "{token}");
    }
    let deep = format!("{{\"exp\":1767225660,\"x\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(judge(&rules, &sign(&format!("{header}.{}", encoded(deep.as_bytes())))), Err("malformed token"));
}

/// The text that differs in the last bit of its last letter.
fn twin(text: &str) -> String {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (most, last) = text.split_at(text.len() - 1);
    let place = LETTERS.find(last).unwrap();
    format!("{most}{}", &LETTERS[place ^ 1..=place ^ 1])
}

#[test]
fn times_are_those_of_the_question() {
    let signer = Signer::secret();
    let rules = checked(Jwt { leeway_ms: 5_000, ..jwt([key_of(&signer)]) });
    let at = |claims: &Value, ms: u64| rules.holder(&signer.token(claims), ms).map(|holder| holder.ends_unix_ms);
    let exp = json!({"exp": 1_000});
    assert_eq!(at(&exp, 0), Ok(Some(1_005_000)));
    assert_eq!(at(&exp, 1_004_999), Ok(Some(1_005_000)));
    assert_eq!(at(&exp, 1_005_000), Err("token expired"));
    let nbf = json!({"exp": 1_000, "nbf": 500});
    assert_eq!(at(&nbf, 494_999), Err("token not yet valid"));
    assert_eq!(at(&nbf, 495_000), Ok(Some(1_005_000)));
    assert_eq!(at(&json!({"exp": 1_000.5}), 1_005_499), Ok(Some(1_005_500)));
    assert_eq!(at(&json!({"exp": 1_000.5}), 1_005_500), Err("token expired"));
    for far in [json!(u64::MAX), json!(1e300), json!(1.5e18)] {
        assert!(at(&json!({"exp": far}), 0).unwrap().unwrap() > 1 << 60, "{far}");
        assert_eq!(at(&json!({"exp": 1_000, "nbf": far}), 0), Err("token not yet valid"), "{far}");
    }
    for odd in [json!("1000"), json!(null), json!(-1), json!([1_000]), json!({}), json!(true)] {
        assert_eq!(at(&json!({"exp": odd}), 0), Err("exp is not a time"), "{odd}");
        assert_eq!(at(&json!({"exp": 1_000, "nbf": odd}), 0), Err("nbf is not a time"), "{odd}");
    }
}

#[test]
fn a_token_needs_an_expiry_unless_it_is_said_that_it_does_not() {
    let signer = Signer::secret();
    let token = signer.token(&json!({"sub": "alice"}));
    assert_eq!(judge(&by(&signer), &token), Err("token without exp"));
    let lax = checked(Jwt { require_exp: false, ..jwt([key_of(&signer)]) });
    assert_eq!(judge(&lax, &token).unwrap().ends_unix_ms, None);
    assert_eq!(judge(&lax, &signer.token(&json!({"exp": 1}))), Err("token expired"));
}

#[test]
fn issuer_and_audience_are_who_they_have_to_be() {
    let signer = Signer::secret();
    let (issuer, audience) = (Some("https://id.example".to_owned()), vec!["encke".to_owned(), "chat".to_owned()]);
    let rules = checked(Jwt { issuer, audience, ..jwt([key_of(&signer)]) });
    let judged = |iss: Value, aud: Value| {
        let mut claims = with("iss", iss);
        claims["aud"] = aud;
        judge(&rules, &signer.token(&claims)).map(drop)
    };
    let ours = || json!("https://id.example");
    for aud in [json!("encke"), json!("chat"), json!(["other", "chat"]), json!([1, "encke"])] {
        assert_eq!(judged(ours(), aud), Ok(()));
    }
    for aud in [json!("other"), json!("enck"), json!([]), json!(null), json!(1), json!(["other"]), json!({"encke": 1})]
    {
        assert_eq!(judged(ours(), aud.clone()), Err("wrong audience"), "{aud}");
    }
    for iss in [json!("https://id.example/"), json!(null), json!(["https://id.example"]), json!("")] {
        assert_eq!(judged(iss.clone(), json!("encke")), Err("wrong issuer"), "{iss}");
    }
    assert_eq!(judge(&rules, &signer.token(&claims())), Err("wrong issuer"));
    assert_eq!(judge(&rules, &signer.token(&with("iss", ours()))), Err("wrong audience"));
    // A token for somebody else is not for this server, even if nobody has said what it is called.
    assert_eq!(judge(&by(&signer), &signer.token(&with("aud", "other"))), Err("wrong audience"));
    assert!(judge(&by(&signer), &signer.token(&with("iss", "whoever"))).is_ok());
}

#[test]
fn of_several_keys_the_token_names_its_own() {
    let (old, new) = (Signer::secret(), Signer::p256());
    let rules = checked(jwt([key_of(&old).with_id("old"), key_of(&new).with_id("new")]));
    let made = |signer: &Signer, kid: Value| {
        let header = json!({"alg": signer.algorithm(), "kid": kid});
        judge(&rules, &signer.token_with(&header, &claims())).map(drop)
    };
    assert_eq!(made(&old, json!("old")), Ok(()));
    assert_eq!(made(&new, json!("new")), Ok(()));
    assert_eq!(made(&new, json!("old")), Err("wrong algorithm"));
    for kid in [json!("older"), json!(""), json!(null), json!(0), json!(["old"])] {
        assert_eq!(made(&old, kid.clone()), Err("unknown key id"), "{kid}");
    }
    assert_eq!(judge(&rules, &old.token(&claims())), Err("no key id"));
    // A single key: with an id it is for tokens of that id and for those without; without one it is for all.
    let (named, bare) = (checked(jwt([key_of(&old).with_id("old")])), by(&old));
    let other = old.token_with(&json!({"alg": "HS256", "kid": "x"}), &claims());
    assert_eq!(judge(&named, &other), Err("unknown key id"));
    assert!(judge(&named, &old.token(&claims())).is_ok() && judge(&bare, &other).is_ok());
}

#[test]
fn what_must_be_understood_and_is_not_is_refused() {
    let signer = Signer::secret();
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!(null)] {
        let token = signer.token_with(&json!({"alg": "HS256", "crit": crit, "b64": false}), &claims());
        assert_eq!(judge(&by(&signer), &token), Err("unknown crit"), "{crit}");
    }
}

#[test]
fn patterns_that_a_token_lists_count_only_where_that_is_said() {
    let signer = Signer::secret();
    let mut listed = with("rooms", json!(["/a", "/b/**", "no pattern", "/meta/**", 7, "/c/{sub}", "/d\n/**", ""]));
    listed["posts"] = json!(["/service/x"]);
    let token = signer.token(&listed);
    let usual = judge(&by(&signer), &token).unwrap().granted;
    assert_eq!((&*usual.subscribe, &*usual.publish), ("/user/alice/**", "/chat/**"));
    let claims = |name: &str| Some(name.to_owned());
    let rules = checked(Jwt {
        subscribe_claim: claims("rooms"),
        publish_claim: claims("posts"),
        ..Jwt::new([key_of(&signer)], Grants::default())
    });
    let granted = judge(&rules, &token).unwrap().granted;
    assert_eq!((&*granted.subscribe, &*granted.publish), ("/a\n/b/**\n/c/{sub}", "/service/x"));
    let bare = judge(&rules, &signer.token(&super::forged::claims())).unwrap().granted;
    assert_eq!((&*bare.subscribe, &*bare.publish), ("", ""));
    let odd = judge(&rules, &signer.token(&with("rooms", "/a")));
    assert_eq!(odd, Err("a claim with patterns is not an array"));
    let many = judge(&rules, &signer.token(&with("rooms", vec!["/a"; 257])));
    assert_eq!(many, Err("the token lists too many patterns"));
}

#[test]
fn no_claim_widens_a_pattern() {
    let signer = Signer::rsa();
    for sub in [json!("*"), json!("**"), json!("a/b"), json!(""), json!(7), json!(["alice"]), json!("x".repeat(300))] {
        let holder = judge(&by(&signer), &signer.token(&with("sub", sub.clone()))).unwrap();
        assert_eq!(holder.granted.subscribe, "", "{sub}");
    }
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let key = || key_of(&Signer::secret());
    for (rules, word) in [
        (jwt([]), "needs a key"),
        (jwt([key(), key()]), "needs an id"),
        (jwt([key().with_id("a"), key()]), "needs an id"),
        (jwt([key().with_id("a"), key().with_id("b"), key().with_id("a")]), "two keys \"a\""),
        (Jwt { leeway_ms: 3_600_001, ..jwt([key()]) }, "at most an hour"),
        (Jwt::new([key()], Grants::new(["x"], [""; 0])), "must be a channel"),
    ] {
        let error = Auth::new(Settings { jwt: Some(rules), ..Settings::default() }).unwrap_err().to_string();
        assert!(error.starts_with("jwt: ") && error.contains(word), "{error}");
    }
}
