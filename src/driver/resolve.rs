//! Host names to addresses for the HTTP client, by the system's resolver on the blocking pool:
//! whatever names it knows. The names of SIP peers are `driver/dns.rs`'s.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use smol::future::FutureExt;
use smol::lock::Semaphore;

/// Looks names up, a few at one time.
#[derive(Clone)]
pub struct Resolver {
    /// Full: the next waits in line.
    places: Arc<Semaphore>,
}

impl Resolver {
    pub fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(LOOKUPS)) }
    }

    /// Every address of `host`, IPv4 first; empty: no such host, or no answer in time.
    pub async fn resolve(&self, host: String, port: u16) -> Vec<SocketAddr> {
        let look_up = async {
            let place = self.places.acquire_arc().await;
            let name = host.clone();
            smol::unblock(move || {
                // Held by the thread: it may outlast the caller's patience.
                let _place = place;
                (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>)
            })
            .await
        };
        let give_up = async {
            smol::Timer::after(TIMEOUT).await;
            Err(std::io::Error::from(std::io::ErrorKind::TimedOut))
        };
        match look_up.or(give_up).await {
            Ok(mut addresses) => {
                // Most phones and trunks speak IPv4 only.
                addresses.sort_by_key(SocketAddr::is_ipv6);
                addresses.dedup();
                addresses
            }
            Err(error) => {
                log::warn!("{host}: {error}");
                Vec::new()
            }
        }
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

/// Look-ups at one time: each holds a thread of the blocking pool while the system waits.
const LOOKUPS: usize = 4;
/// Time that a caller waits, queueing included; well under Timer B's 32 s.
const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_has_an_address_and_nonsense_has_none() {
        smol::block_on(async {
            let resolver = Resolver::new();
            let local = resolver.resolve("localhost".into(), 5060).await;
            assert!(local.iter().all(|address| address.ip().is_loopback()));
            assert!(!local.is_empty());
            assert_eq!(resolver.resolve("bad name".into(), 5060).await, []);
        });
    }
}
