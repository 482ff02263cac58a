//! Who calls: P-Asserted-Identity and P-Preferred-Identity (RFC 3325), Remote-Party-ID
//! (draft-ietf-sip-privacy-04, still what many PBXs speak), Privacy (RFC 3323), Diversion
//! (RFC 5806).
//!
//! A trunk's [`Policy`] says what is believed of an INVITE that comes from it and what is put on
//! one that goes there. History-Info, User-to-User and other fields are not looked into: they are
//! passed, where the policy names them.

use super::header::Name;
use super::message::Message;
use super::name_addr::NameAddr;
use super::uri::{Scheme, Uri};

/// What a trunk is believed and told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whether what the trunk says of its callers beside From is believed.
    pub is_trusted: bool,
    pub form: Form,
    pub from_user: FromUser,
    /// Domain of From and of what is asserted; empty: the server's where there is an account,
    /// else ours.
    pub from_domain: String,
    /// The trunk's own number, asserted where the caller hides; empty: its username.
    pub number: String,
    pub privacy: Privacy,
    pub called: Called,
    /// Further fields of an INVITE that scripts see and may set.
    pub pass_headers: Vec<String>,
}

/// How a trunk is told the caller beside From.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    None,
    /// P-Asserted-Identity: the peer trusts us (RFC 3325 §9.1).
    Asserted,
    /// P-Preferred-Identity: the peer decides (§9.2).
    Preferred,
    RemoteParty,
}

/// Whom From names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FromUser {
    #[default]
    Caller,
    /// The account, as providers want that know nobody else.
    Account,
}

/// The Privacy field of a call whose caller hides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Privacy {
    None,
    #[default]
    Id,
    User,
    Header,
    /// All of them.
    Full,
}

impl Privacy {
    fn value(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Id => Some("id"),
            Self::User => Some("user"),
            Self::Header => Some("header"),
            Self::Full => Some("header;user;id"),
        }
    }
}

/// Where the number stands that is called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Called {
    #[default]
    RequestUri,
    /// In To: of providers that put the account into the Request-URI.
    To,
}

/// The caller as a trusted trunk asserts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Number or name; [`ANONYMOUS`] where the caller hides.
    pub user: String,
    pub display_name: String,
    pub uri: Uri,
}

/// A call that was to a number of ours and goes elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diverted {
    pub number: String,
    /// The Diversion fields with which it came, the latest first.
    pub earlier: Vec<String>,
}

impl Policy {
    /// Whether scripts see and may set this field of an INVITE.
    pub fn passes(&self, name: &str) -> bool {
        self.pass_headers.iter().any(|passed| passed.eq_ignore_ascii_case(name))
    }

    /// The caller of a trunk's INVITE; `None`: whoever From names.
    pub fn caller(&self, invite: &Message) -> Option<Caller> {
        if !self.is_trusted {
            return None;
        }
        let claim = claim(invite);
        // RFC 3323 §4.2, RFC 3325 §9.3: neither the asserted nor the written identity is shown.
        let hides = invite
            .headers
            .all(&Name::Privacy)
            .flat_map(|value| value.split([';', ',']))
            .any(|wish| matches!(&*wish.trim().to_ascii_lowercase(), "id" | "user"));
        let (is_hidden, is_nameless) = match &claim {
            Some(claim) => (hides || claim.hides_number, claim.hides_name),
            None => (hides, false),
        };
        if is_hidden {
            let uri = anonymous().uri;
            let display_name = ANONYMOUS_NAME.to_owned();
            return Some(Caller { user: ANONYMOUS.to_owned(), display_name, uri });
        }
        let NameAddr { mut display_name, uri, .. } = claim?.identity;
        if display_name.is_empty() {
            display_name.clone_from(&invite.from.display_name);
        }
        if is_nameless {
            display_name.clear();
        }
        Some(Caller { user: uri.user.clone().unwrap_or_default(), display_name, uri })
    }

    /// The number that is called.
    pub fn number(&self, invite: &Message) -> String {
        let uri = match self.called {
            Called::RequestUri => invite.request_uri(),
            Called::To => Some(&invite.to.uri),
        };
        uri.and_then(|uri| uri.user.clone()).unwrap_or_default()
    }

    /// Tells the trunk the caller beside From: `identity` is who calls, or, where they hide, who
    /// vouches for them. What the script wrote itself stays.
    pub fn assert(&self, invite: &mut Message, identity: &NameAddr, is_hidden: bool) {
        if let (true, Some(privacy)) = (is_hidden, self.privacy.value())
            && invite.header(&Name::Privacy).is_none()
        {
            invite.headers.push(Name::Privacy, privacy);
        }
        let name = match self.form {
            Form::None => return,
            Form::Asserted => Name::PAssertedIdentity,
            Form::Preferred => Name::PPreferredIdentity,
            Form::RemoteParty => Name::RemotePartyId,
        };
        if invite.header(&name).is_some() || identity.uri.user.is_none() {
            return;
        }
        let mut identity = identity.clone();
        if self.form == Form::RemoteParty {
            let privacy = if is_hidden { "full" } else { "off" };
            let parameters = [("party", "calling"), ("screen", "yes"), ("privacy", privacy)];
            for (name, value) in parameters {
                identity.set_parameter(name, Some(value.to_owned()));
            }
        }
        invite.headers.push(name, identity.to_string());
    }

    /// Tells the trunk who answered, by name.
    pub fn assert_answer(&self, response: &mut Message, mut identity: NameAddr) {
        let name = match self.form {
            Form::RemoteParty => {
                identity.set_parameter("party", Some("called".to_owned()));
                Name::RemotePartyId
            }
            Form::None | Form::Asserted | Form::Preferred => Name::PAssertedIdentity,
        };
        response.headers.push(name, identity.to_string());
    }
}

/// Takes off a request what only its first receiver was to know (RFC 3325 §5).
pub fn forget(request: &mut Message) {
    for name in [Name::PAssertedIdentity, Name::PPreferredIdentity, Name::RemotePartyId] {
        request.headers.remove(&name);
    }
}

/// The Diversion fields of an INVITE (RFC 5806), the latest first.
pub fn diversions(invite: &Message) -> Vec<String> {
    let values = invite.headers.all(&Name::Diversion);
    values
        .filter(|value| value.len() <= DIVERSION_BYTES)
        .take(DIVERSIONS)
        .map(str::to_owned)
        .collect()
}

impl Diverted {
    /// Says on the INVITE which way the call came; the number is at `host`.
    pub fn add_to(&self, invite: &mut Message, host: &str) {
        let mut diverting = NameAddr::new(Uri::sip(&self.number, host, None));
        // RFC 5806 §4: what a script does is like a programmed forwarding.
        diverting.set_parameter("reason", Some("unconditional".to_owned()));
        invite.headers.push(Name::Diversion, diverting.to_string());
        for earlier in &self.earlier {
            invite.headers.push(Name::Diversion, earlier.as_str());
        }
    }
}

/// Whether a caller id is that of somebody who hides.
pub fn is_anonymous(caller: &str) -> bool {
    caller.eq_ignore_ascii_case(ANONYMOUS)
}

/// RFC 3323 §4.1.1.3.
pub fn anonymous() -> NameAddr {
    let uri = Uri::sip(ANONYMOUS, "anonymous.invalid", None);
    NameAddr { display_name: ANONYMOUS_NAME.to_owned(), ..NameAddr::new(uri) }
}

/// What stands beside From.
struct Claim {
    identity: NameAddr,
    hides_number: bool,
    hides_name: bool,
}

/// What is asserted comes before what is preferred; a broken value is none.
fn claim(invite: &Message) -> Option<Claim> {
    let first = |name: &Name| {
        let list = invite.headers.name_addrs(name).ok()?;
        list.into_iter().find(is_caller)
    };
    let plain = |identity| Claim { identity, hides_number: false, hides_name: false };
    first(&Name::PAssertedIdentity)
        .map(plain)
        .or_else(|| first(&Name::RemotePartyId).map(remote_party))
        .or_else(|| first(&Name::PPreferredIdentity).map(plain))
}

/// A Remote-Party-ID may be the called one's too.
fn is_caller(identity: &NameAddr) -> bool {
    let is_calling = identity.parameter("party").is_none_or(|party| party == "calling");
    let has_user = identity.uri.user.is_some();
    is_calling
        && has_user
        && matches!(identity.uri.scheme, Scheme::Sip | Scheme::Sips | Scheme::Tel)
}

fn remote_party(identity: NameAddr) -> Claim {
    let privacy = identity.parameter("privacy").unwrap_or_default().to_ascii_lowercase();
    let wishes = |wanted: &str| privacy.split(['-', ',']).any(|wish| wish == wanted);
    let is_full = wishes("full");
    Claim {
        hides_number: is_full || wishes("uri"),
        hides_name: is_full || wishes("name"),
        identity,
    }
}

/// The caller id of those who hide.
pub const ANONYMOUS: &str = "anonymous";
const ANONYMOUS_NAME: &str = "Anonymous";
/// Of one call, kept for those that go on from it.
const DIVERSIONS: usize = 5;
const DIVERSION_BYTES: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Method;

    fn trusting() -> Policy {
        Policy { is_trusted: true, ..Policy::default() }
    }

    fn invite(fields: &[(&str, &str)]) -> Message {
        let from: NameAddr = "\"Bob\" <sip:100@pbx.example>".parse().unwrap();
        let to: NameAddr = "<sip:+4930123@branch.example>".parse().unwrap();
        let uri = "sip:account@192.0.2.1".parse().unwrap();
        let mut invite = Message::request(Method::Invite, uri, from, to, "c".to_owned(), 1);
        for (name, value) in fields {
            invite.headers.push(Name::from(*name), *value);
        }
        invite
    }

    fn caller(policy: &Policy, fields: &[(&str, &str)]) -> Option<(String, String)> {
        let caller = policy.caller(&invite(fields))?;
        Some((caller.user, caller.display_name))
    }

    fn one(user: &str, display_name: &str) -> Option<(String, String)> {
        Some((user.to_owned(), display_name.to_owned()))
    }

    const PAI: (&str, &str) = ("P-Asserted-Identity", "\"Alice\" <sip:+4930555@pbx.example>");

    #[test]
    fn nothing_beside_from_is_believed_of_an_untrusted_trunk() {
        assert_eq!(caller(&Policy::default(), &[PAI, ("Privacy", "id")]), None);
    }

    #[test]
    fn rfc3325_asserted_identity_comes_before_the_others() {
        let rpid = ("Remote-Party-ID", "\"Carol\" <sip:300@pbx.example>;party=calling");
        let ppi = ("P-Preferred-Identity", "<sip:400@pbx.example>");
        let policy = trusting();
        assert_eq!(caller(&policy, &[ppi, rpid, PAI]), one("+4930555", "Alice"));
        assert_eq!(caller(&policy, &[ppi, rpid]), one("300", "Carol"));
        assert_eq!(caller(&policy, &[ppi]), one("400", "Bob"));
        assert_eq!(caller(&policy, &[]), None);
    }

    #[test]
    fn rfc3325_9_1_tel_and_second_values_are_understood() {
        let policy = trusting();
        let tel = ("P-Asserted-Identity", "tel:+14085264000");
        assert_eq!(caller(&policy, &[tel]), one("+14085264000", "Bob"));
        let both = ("P-Asserted-Identity", "<sip:proxy.example>, <tel:+14085264000>");
        assert_eq!(caller(&policy, &[both]), one("+14085264000", "Bob"));
    }

    #[test]
    fn broken_identity_is_none() {
        for value in ["", "<sip:", "\"", "<sip:a@b>, ,", "<urn:service:sos>"] {
            assert_eq!(caller(&trusting(), &[("P-Asserted-Identity", value)]), None, "{value}");
        }
    }

    #[test]
    fn rfc3323_private_caller_is_anonymous_whatever_is_asserted() {
        for privacy in ["id", "user", "header;user", "ID ; critical"] {
            let seen = caller(&trusting(), &[PAI, ("Privacy", privacy)]);
            assert_eq!(seen, one("anonymous", "Anonymous"), "{privacy}");
        }
        for privacy in ["none", "header", "session"] {
            let seen = caller(&trusting(), &[PAI, ("Privacy", privacy)]);
            assert_eq!(seen, one("+4930555", "Alice"), "{privacy}");
        }
        assert_eq!(caller(&trusting(), &[("Privacy", "id")]), one("anonymous", "Anonymous"));
    }

    #[test]
    fn remote_party_hides_number_or_name() {
        for (parameters, seen) in [
            ("party=calling;privacy=off;screen=yes", one("300", "Carol")),
            ("privacy=full", one("anonymous", "Anonymous")),
            ("party=calling;privacy=uri", one("anonymous", "Anonymous")),
            ("party=calling;privacy=name", one("300", "")),
            ("party=called", None),
        ] {
            let value = format!("\"Carol\" <sip:300@pbx.example>;{parameters}");
            assert_eq!(caller(&trusting(), &[("Remote-Party-ID", &value)]), seen, "{parameters}");
        }
    }

    #[test]
    fn called_number_is_in_the_request_uri_or_in_to() {
        let policy = Policy { called: Called::To, ..Policy::default() };
        assert_eq!(policy.number(&invite(&[])), "+4930123");
        assert_eq!(Policy::default().number(&invite(&[])), "account");
    }

    fn asserted(policy: &Policy, is_hidden: bool, fields: &[(&str, &str)]) -> Vec<String> {
        let mut invite = invite(fields);
        let identity = "\"Alice\" <sip:200@branch.example>".parse().unwrap();
        policy.assert(&mut invite, &identity, is_hidden);
        let fields = invite.headers.0.iter();
        fields.map(|field| format!("{}: {}", field.name, field.value)).collect()
    }

    #[test]
    fn caller_is_told_in_the_trunks_form() {
        let identity = "\"Alice\" <sip:200@branch.example>";
        for (form, expected) in [
            (Form::None, vec![]),
            (Form::Asserted, vec![format!("P-Asserted-Identity: {identity}")]),
            (Form::Preferred, vec![format!("P-Preferred-Identity: {identity}")]),
            (
                Form::RemoteParty,
                vec![format!("Remote-Party-ID: {identity};party=calling;screen=yes;privacy=off")],
            ),
        ] {
            let policy = Policy { form, ..Policy::default() };
            assert_eq!(asserted(&policy, false, &[]), expected);
        }
    }

    #[test]
    fn hidden_caller_asks_for_privacy() {
        for (privacy, value) in [
            (Privacy::Id, "id"),
            (Privacy::User, "user"),
            (Privacy::Header, "header"),
            (Privacy::Full, "header;user;id"),
        ] {
            let policy = Policy { privacy, ..Policy::default() };
            assert_eq!(asserted(&policy, true, &[]), [format!("Privacy: {value}")]);
        }
        let policy =
            Policy { privacy: Privacy::None, form: Form::RemoteParty, ..Policy::default() };
        let expected = "Remote-Party-ID: \"Alice\" <sip:200@branch.example>;party=calling;\
                        screen=yes;privacy=full";
        assert_eq!(asserted(&policy, true, &[]), [expected]);
    }

    #[test]
    fn what_the_script_wrote_stays() {
        let own = [("Privacy", "none"), ("P-Asserted-Identity", "<sip:1@x>")];
        let policy = Policy { form: Form::Asserted, ..Policy::default() };
        let expected = ["Privacy: none", "P-Asserted-Identity: <sip:1@x>"];
        assert_eq!(asserted(&policy, true, &own), expected);
    }

    #[test]
    fn rfc5806_diversions_are_kept_within_bounds() {
        let long = format!("<sip:{}@x>", "1".repeat(400));
        let fields = ["<sip:1@x>;reason=no-answer", &long, "<sip:2@x>", "<sip:3@x>", "<sip:4@x>"];
        let mut fields: Vec<_> = fields.map(|value| ("Diversion", value)).to_vec();
        fields.extend([("Diversion", "<sip:5@x>"), ("Diversion", "<sip:6@x>")]);
        let kept = diversions(&invite(&fields));
        assert_eq!(kept.len(), 5);
        assert_eq!(kept[0], "<sip:1@x>;reason=no-answer");
        let diverted = Diverted { number: "200".to_owned(), earlier: kept[..1].to_vec() };
        let mut onward = invite(&[]);
        diverted.add_to(&mut onward, "b.example");
        let values: Vec<&str> = onward.headers.all(&Name::Diversion).collect();
        let expected = ["<sip:200@b.example>;reason=unconditional", "<sip:1@x>;reason=no-answer"];
        assert_eq!(values, expected);
    }
}
