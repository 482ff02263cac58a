//! Protected streams in offer and answer, as RFC 4568, RFC 8643 and phones have them.

use std::net::IpAddr;

use super::crypto::{Mki, OwnKeys, Suite};
use super::description::{Description, Direction};
use super::format::Codec::{Pcma, Pcmu};
use super::offer_answer::{
    Agreed, Error, Local, Profile, Protection, Srtp, Wishes, agree, answer, offer,
};

/// 30 and 46 bytes of 0x11 in base64.
const OURS_128: &str = "ERERERERERERERERERERERERERERERERERERERER";
const OURS_256: &str = "EREREREREREREREREREREREREREREREREREREREREREREREREREREREREREREQ==";
/// Of RFC 4568 §5.1.1.
const THEIRS: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

fn local(srtp: Option<(bool, Profile)>) -> Local {
    let srtp = srtp.map(|(is_required, profile)| Srtp {
        keys: OwnKeys::new([0x11; OwnKeys::BYTES]),
        is_required,
        profile,
    });
    Local {
        address: IpAddr::from([192, 0, 2, 1]),
        port: 16384,
        origin_id: 1,
        origin_version: 1,
        codecs: vec![Pcma, Pcmu],
        direction: Direction::SendRecv,
        wishes: Wishes::default(),
        srtp,
    }
}

const OFF: Option<(bool, Profile)> = None;
const OPTIONAL: Option<(bool, Profile)> = Some((false, Profile::Plain));
const REQUIRED: Option<(bool, Profile)> = Some((true, Profile::Secure));

fn peer(sections: &str) -> Description {
    let text =
        format!("v=0\no=- 1 1 IN IP4 198.51.100.7\ns=-\nc=IN IP4 198.51.100.7\nt=0 0\n{sections}");
    Description::parse(text.as_bytes()).expect("a good description")
}

/// `m=` and `a=crypto` of our answer, and the protection.
fn answered(
    srtp: Option<(bool, Profile)>,
    sections: &str,
) -> Result<(Vec<String>, Option<Box<Protection>>), Error> {
    let (answer, Agreed { srtp, .. }) = answer(&local(srtp), &peer(sections))?;
    let text = String::from_utf8(answer.to_bytes()).unwrap();
    assert_eq!(Description::parse(text.as_bytes()), Ok(answer));
    Ok((lines(&text), srtp))
}

fn lines(text: &str) -> Vec<String> {
    let is_ours = |line: &&str| line.starts_with("m=") || line.starts_with("a=crypto");
    text.lines().filter(is_ours).map(str::to_owned).collect()
}

/// RFC 4568 §5.1.2: the suite and the tag of the first line that we can go by, our own key.
#[test]
fn offer_is_answered_with_its_first_suite_that_we_have_under_its_tag_with_our_key() {
    let sections = format!(
        "m=audio 49170 RTP/SAVP 0\n\
         a=crypto:1 F8_128_HMAC_SHA1_80 inline:{THEIRS}\n\
         a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{THEIRS}|2^20|1:4 FEC_ORDER=FEC_SRTP\n\
         a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:{THEIRS}|2^20|1:4\n\
         a=crypto:8 AES_CM_128_HMAC_SHA1_80 inline:{THEIRS}\n"
    );
    for policy in [OPTIONAL, REQUIRED] {
        let (lines, srtp) = answered(policy, &sections).unwrap();
        assert_eq!(
            lines,
            [
                "m=audio 16384 RTP/SAVP 0".to_owned(),
                format!("a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:{OURS_128}")
            ]
        );
        let srtp = srtp.unwrap();
        assert_eq!((srtp.suite, srtp.profile), (Suite::AesCm128HmacSha1_32, Profile::Secure));
        assert_eq!(srtp.own.as_bytes(), [0x11; 30]);
        assert_eq!(srtp.remote.as_bytes()[..4], *b"=-n@");
        assert_eq!(srtp.remote_mki, Some(Mki { value: 1, bytes: 4 }));
    }
}

#[test]
fn key_of_256_bits_is_answered_with_one() {
    let theirs = "A".repeat(62);
    let (lines, srtp) = answered(
        OPTIONAL,
        &format!(
            "m=audio 4000 RTP/SAVPF 8\na=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:{theirs}==\n"
        ),
    )
    .unwrap();
    assert_eq!(lines[0], "m=audio 16384 RTP/SAVPF 8");
    assert_eq!(lines[1], format!("a=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:{OURS_256}"));
    assert_eq!(srtp.unwrap().own.as_bytes(), [0x11; 46]);
}

/// RFC 8643 §3: keys in an offer of RTP/AVP are answered there.
#[test]
fn opportunistic_offer_is_answered_in_its_profile() {
    let key = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIRS}\n");
    let sections = format!("m=audio 4000 RTP/AVP 0\n{key}");
    for policy in [OPTIONAL, REQUIRED] {
        let (lines, srtp) = answered(policy, &sections).unwrap();
        assert_eq!(lines[0], "m=audio 16384 RTP/AVP 0");
        assert_eq!(lines[1], format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{OURS_128}"));
        assert_eq!(srtp.unwrap().profile, Profile::Opportunistic);
    }
    let (lines, srtp) = answered(OFF, &sections).unwrap();
    assert_eq!((lines.len(), srtp), (1, None));
}

#[test]
fn what_is_not_protected_is_refused_where_it_must_be() {
    let plain = "m=audio 4000 RTP/AVP 0\n";
    let keyless = "m=audio 4000 RTP/SAVP 0\na=crypto:1 AEAD_AES_256_GCM inline:AAAA\n";
    let half = format!(
        "m=audio 4000 RTP/AVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIRS} \
         UNENCRYPTED_SRTP\n"
    );
    assert!(answered(OPTIONAL, plain).unwrap().1.is_none());
    assert!(answered(OPTIONAL, &half).unwrap().1.is_none());
    for (policy, sections, error) in [
        (REQUIRED, plain, Error::Unprotected),
        (REQUIRED, half.as_str(), Error::Unprotected),
        (REQUIRED, keyless, Error::Unprotected),
        (OPTIONAL, keyless, Error::Unprotected),
        (OFF, keyless, Error::Protocol("RTP/SAVP".to_owned())),
    ] {
        assert_eq!(answered(policy, sections), Err(error), "{sections}");
    }
}

/// Grandstream's and Yealink's "optional": two streams, the protected one first.
#[test]
fn of_two_streams_the_first_that_may_be_is_taken() {
    let sections = format!(
        "m=audio 5004 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIRS}\n\
         m=audio 5004 RTP/AVP 0\n"
    );
    let (lines, srtp) = answered(OPTIONAL, &sections).unwrap();
    assert_eq!(lines[0], "m=audio 16384 RTP/SAVP 0");
    assert_eq!(lines[2], "m=audio 0 RTP/AVP 0");
    assert!(srtp.is_some());
    let (lines, srtp) = answered(OFF, &sections).unwrap();
    assert_eq!(lines, ["m=audio 0 RTP/SAVP 0", "m=audio 16384 RTP/AVP 0"]);
    assert!(srtp.is_none());
}

#[test]
fn our_offers_ask_as_their_profile_says() {
    let text = |srtp| String::from_utf8(offer(&local(srtp)).to_bytes()).unwrap();
    let keys = [
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{OURS_128}"),
        format!("a=crypto:2 AES_256_CM_HMAC_SHA1_80 inline:{OURS_256}"),
        format!("a=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:{OURS_128}"),
        format!("a=crypto:4 AES_256_CM_HMAC_SHA1_32 inline:{OURS_256}"),
    ];
    for (profile, protocol, keys) in [
        (Profile::Plain, "RTP/AVP", &keys[..0]),
        (Profile::Opportunistic, "RTP/AVP", &keys[..]),
        (Profile::Secure, "RTP/SAVP", &keys[..]),
    ] {
        let lines = lines(&text(Some((false, profile))));
        assert_eq!(lines[0], format!("m=audio 16384 {protocol} 8 0 101"));
        assert_eq!(lines[1..], *keys);
    }
    assert_eq!(text(OFF), text(OPTIONAL));
}

fn agreed(
    (is_required, profile): (bool, Profile),
    sections: &str,
) -> Result<Option<Box<Protection>>, Error> {
    let local = local(Some((is_required, profile)));
    agree(&local, &offer(&local), &peer(sections)).map(|agreed| agreed.srtp)
}

/// RFC 4568 §5.1.3.
#[test]
fn answer_to_our_keys_is_that_of_the_line_it_chose() {
    let secure = (true, Profile::Secure);
    let srtp = agreed(
        secure,
        &format!(
            "m=audio 4000 RTP/SAVP 0\na=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:{THEIRS}|2^31\n"
        ),
    );
    let srtp = srtp.unwrap().unwrap();
    assert_eq!((srtp.suite, srtp.profile), (Suite::AesCm128HmacSha1_32, Profile::Secure));
    assert_eq!((srtp.own.as_bytes(), &srtp.remote.as_bytes()[..2]), (&[0x11; 30][..], &b"=-"[..]));
    for (wrong, error) in [
        // Another suite under the tag, a tag that was not there, no key at all.
        (format!("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{THEIRS}\n"), Error::Unprotected),
        (format!("a=crypto:9 AES_CM_128_HMAC_SHA1_80 inline:{THEIRS}\n"), Error::Unprotected),
        (String::new(), Error::Unprotected),
    ] {
        for protocol in ["RTP/SAVP", "RTP/AVP"] {
            let sections = format!("m=audio 4000 {protocol} 0\n{wrong}");
            assert_eq!(agreed(secure, &sections), Err(error.clone()), "{sections}");
        }
    }
}

#[test]
fn opportunistic_offer_may_be_answered_either_way() {
    let offered = (false, Profile::Opportunistic);
    let key = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIRS}\n");
    let srtp = agreed(offered, &format!("m=audio 4000 RTP/AVP 0\n{key}")).unwrap().unwrap();
    assert_eq!(srtp.profile, Profile::Opportunistic);
    assert_eq!(agreed(offered, "m=audio 4000 RTP/AVP 0\n"), Ok(None));
    // Keys that nobody asked for do not count; a profile that nobody asked for does.
    let plain = (false, Profile::Plain);
    assert_eq!(agreed(plain, &format!("m=audio 4000 RTP/AVP 0\n{key}")), Ok(None));
    let secure = format!("m=audio 4000 RTP/SAVP 0\n{key}");
    assert_eq!(agreed(plain, &secure), Err(Error::Protocol("RTP/SAVP".to_owned())));
}

#[test]
fn more_lines_than_are_kept_do_no_harm() {
    let line = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIRS}\n");
    let description = peer(&format!("m=audio 4000 RTP/SAVP 0\n{}", line.repeat(100)));
    assert_eq!(description.media[0].crypto.len(), super::parse::MAX_CRYPTO);
}
