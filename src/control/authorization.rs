//! Who may use the Management API: networks, the account, its key, and how often.
//!
//! Keys are compared in constant time and never logged.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::message::ApiError;
use super::parameters::Parameters;
use crate::config;
use crate::random::Random;

/// A new API key: 128 random bits in hexadecimal. The driver makes one at the first start where
/// the config holds none, and keeps it in `data_dir/api_key`.
pub fn new_api_key(random: &mut Random) -> String {
    random.hex(API_KEY_BYTES)
}

/// Whether the address is in one of the networks of `allow_from`.
pub fn is_allowed(control: &config::Control, address: IpAddr) -> bool {
    control.allow_from.iter().any(|network| network.contains(address))
}

/// Checks `api_key` and the account (reference 1.3): `account_id`, `account_name` or
/// `account_email` beside `api_key`.
///
/// # Errors
/// 100 for the key, 115 for the account; alike for every wrong key.
pub fn check(
    control: &config::Control,
    api_key: &str,
    parameters: &Parameters,
) -> Result<(), ApiError> {
    let given = parameters.text("api_key").unwrap_or_default();
    if api_key.is_empty() || !is_same(api_key, given) {
        return Err(ApiError::new(100, "authorization failed: api_key is missing or wrong"));
    }
    let id = parameters.text("account_id").map(|id| id.parse() == Ok(control.account_id));
    let name = parameters.text("account_name").map(|name| name == control.account_name);
    let email = parameters.text("account_email").map(|email| email == account_email(control));
    let given = [id, name, email];
    if given.contains(&Some(false)) {
        return Err(ApiError::new(115, "the account is not this gateway's account"));
    }
    match given.contains(&Some(true)) {
        true => Ok(()),
        false => Err(ApiError::new(100, "authorization failed: account_id is missing")),
    }
}

/// What stands for the account's e-mail address.
pub fn account_email(control: &config::Control) -> String {
    format!("{}@localhost", control.account_name)
}

/// In constant time for keys of one length.
pub fn is_same(ours: &str, theirs: &str) -> bool {
    let difference = |(a, b): (u8, u8)| a ^ b;
    ours.len() == theirs.len()
        && ours.bytes().zip(theirs.bytes()).map(difference).fold(0, |all, one| all | one) == 0
}

/// Requests of one key: `RATE` per second, `BURST` at once (reference 1.6).
#[derive(Debug)]
pub struct RateLimit {
    /// When the bucket is full again. Invariant: at most `BURST` requests ahead of the present.
    full_at: Instant,
}

impl RateLimit {
    pub fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one request, or says that there were too many.
    pub fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + INTERVAL;
        if full_at > now + INTERVAL * BURST {
            return false;
        }
        self.full_at = full_at;
        true
    }
}

const API_KEY_BYTES: usize = 16;
/// 20 requests per second.
const INTERVAL: Duration = Duration::from_millis(50);
const BURST: u32 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::message::Request;

    fn checked(query: &str) -> Result<(), u16> {
        let request = Request {
            id: 1,
            peer: "127.0.0.1:1".parse().unwrap(),
            is_secure: false,
            method: "GET".into(),
            target: format!("/?{query}"),
            headers: Vec::new(),
            body: Vec::new(),
        };
        let parameters = Parameters::of(&request).unwrap();
        check(&config::Control::default(), "secret", &parameters).map_err(|error| error.code)
    }

    #[test]
    fn key_and_one_name_of_the_account_are_required() {
        assert_eq!(checked("account_id=1&api_key=secret"), Ok(()));
        assert_eq!(checked("account_name=branch&api_key=secret"), Ok(()));
        assert_eq!(checked("account_email=branch@localhost&api_key=secret"), Ok(()));
        assert_eq!(checked("account_id=1"), Err(100));
        assert_eq!(checked("account_id=1&api_key=Secret"), Err(100));
        assert_eq!(checked("account_id=1&api_key=secre"), Err(100));
        assert_eq!(checked("api_key=secret"), Err(100));
        assert_eq!(checked("account_id=2&api_key=secret"), Err(115));
        assert_eq!(checked("account_id=1&account_name=x&api_key=secret"), Err(115));
    }

    #[test]
    fn empty_key_opens_nothing() {
        let none = Parameters::default();
        assert_eq!(check(&config::Control::default(), "", &none).unwrap_err().code, 100);
    }

    #[test]
    fn burst_and_rate_are_bounded() {
        let start = Instant::now();
        let mut limit = RateLimit::new(start);
        let taken = (0..100).filter(|_| limit.take(start)).count();
        assert_eq!(taken, 60);
        let later = start + Duration::from_secs(1);
        let taken = (0..100).filter(|_| limit.take(later)).count();
        assert_eq!(taken, 20);
        let much_later = start + Duration::from_secs(100);
        let taken = (0..100).filter(|_| limit.take(much_later)).count();
        assert_eq!(taken, 60);
    }

    #[test]
    fn key_has_128_bits() {
        assert_eq!(new_api_key(&mut Random::seeded(1)).len(), 32);
    }
}
