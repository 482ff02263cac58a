//! A connection to one of a host's addresses, the families taking turns (RFC 8305).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use smol::Timer;
use smol::future::{BoxedLocal, or};
use smol::net::TcpStream;

/// The first connection that stands; the error of the last attempt where none does.
pub async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut untried = in_turn(addresses).into_iter();
    let mut attempts: Vec<BoxedLocal<io::Result<TcpStream>>> = Vec::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match untried.next() {
            Some(address) => attempts.push(Box::pin(TcpStream::connect(address))),
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        let has_more = untried.len() > 0;
        let next = async {
            match has_more {
                true => Timer::after(ATTEMPT_DELAY).await,
                false => std::future::pending().await,
            };
            None
        };
        match or(first(&mut attempts), next).await {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => failure = error,
            // Nobody answers yet: the next address beside it.
            None => {}
        }
    }
}

/// The first attempt that ends; it is taken out.
async fn first(
    attempts: &mut Vec<BoxedLocal<io::Result<TcpStream>>>,
) -> Option<io::Result<TcpStream>> {
    poll_fn(|cx| {
        for place in 0..attempts.len() {
            if let Poll::Ready(result) = attempts[place].as_mut().poll(cx) {
                drop(attempts.swap_remove(place));
                return Poll::Ready(Some(result));
            }
        }
        Poll::Pending
    })
    .await
}

/// One of each family after the other, the resolver's first in front.
fn in_turn(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == is_first_v6);
    let mut turns = Vec::new();
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    while turns.len() < MOST_ADDRESSES {
        let before = turns.len();
        turns.extend(first.next());
        turns.extend(second.next());
        if turns.len() == before {
            break;
        }
    }
    turns
}

/// RFC 8305 §5: the recommended Connection Attempt Delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses of one host that are tried. More: the rest is left out, time is up before that.
const MOST_ADDRESSES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use smol::net::TcpListener;

    #[test]
    fn families_take_turns() {
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let [a, b, c] = ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"].map(address);
        let d = address("[2001:db8::1]:1");
        assert_eq!(in_turn(&[a, b, c, d]), [a, d, b, c]);
        assert_eq!(in_turn(&[d, a]), [d, a]);
        assert_eq!(in_turn(&[]), []);
        assert_eq!(in_turn(&[a; 20]).len(), MOST_ADDRESSES);
    }

    #[test]
    fn address_that_refuses_gives_way_to_the_next() {
        smol::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let refusing = closed.local_addr().unwrap();
            drop(closed);
            let listening = listener.local_addr().unwrap();
            let stream = connect(&[refusing, listening]).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), listening);
            let error = connect(&[refusing]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            assert!(connect(&[]).await.is_err());
        });
    }
}
