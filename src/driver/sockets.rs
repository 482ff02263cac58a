//! The listening sockets of the configuration, and what to do where one cannot be had.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use smol::Async;

use super::{stream, udp};
use crate::config::{Config, SipListen, SipTransport};
use crate::session::host_text;
use crate::sip::user_agent as sip;

/// A socket of `[sip] listen`.
pub enum SipSocket {
    Udp(udp::Listener),
    /// Of any transport over TCP.
    Tcp(Async<TcpListener>),
}

/// Everything that listens, bound.
pub struct Sockets {
    /// In the order of the configuration, with what the user agent is told of each.
    pub sip: Vec<(SipSocket, sip::Listener)>,
    pub http: Vec<Async<TcpListener>>,
}

impl Sockets {
    /// # Errors
    /// Names each socket that cannot be had, and what to do.
    pub fn bind(config: &Config) -> Result<Self, String> {
        let mut errors = Vec::new();
        let mut sip = Vec::new();
        let mut try_to_bind = |listen: &SipListen, sip: &mut Vec<(SipSocket, sip::Listener)>| {
            match bind_sip(listen) {
                Ok(bound) => sip.push(bound),
                Err(error) => errors.push(hint("[sip] listen", name(listen), &error)),
            }
        };
        for listen in &config.sip.listen {
            try_to_bind(listen, &mut sip);
        }
        for (twin, number) in ipv4_twins(&config.sip.listen) {
            // The port that the system chose, where it was to choose.
            let port = sip.get(number).map_or(0, |(_, bound)| bound.address.port());
            let address = SocketAddr::new(twin.address.ip(), port);
            try_to_bind(&SipListen { address, ..twin }, &mut sip);
        }
        let mut http = Vec::new();
        for &address in &config.control.listen {
            match stream::bind(address) {
                Ok(bound) => http.push(bound),
                Err(error) => {
                    errors.push(hint("[control] listen", format!("http://{address}"), &error));
                }
            }
        }
        match errors.is_empty() {
            true => Ok(Self { sip, http }),
            false => Err(errors.join("\n")),
        }
    }

    /// Base of the HTTP server as others reach it.
    pub fn control_url(&self, config: &Config) -> String {
        if let Some(url) = &config.control.public_url {
            return url.clone();
        }
        self.http_base(udp::own_address)
    }

    /// Base of the HTTP server as this machine reaches it.
    pub fn local_url(&self) -> String {
        self.http_base(|is_ipv6| match is_ipv6 {
            false => IpAddr::V4(Ipv4Addr::LOCALHOST),
            true => IpAddr::V6(Ipv6Addr::LOCALHOST),
        })
    }

    fn http_base(&self, of_unspecified: impl Fn(bool) -> IpAddr) -> String {
        let first = self.http.first().and_then(|socket| socket.get_ref().local_addr().ok());
        // Config::parse wants at least one.
        let address = first.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let ip = match address.ip().is_unspecified() {
            true => of_unspecified(address.is_ipv6()),
            false => address.ip(),
        };
        format!("http://{}:{}", host_text(ip), address.port())
    }
}

/// `[::]` is for both families where no listener of that port is there for IPv4, with the number
/// of the entry that it belongs to. Each family has a socket of its own (every IPv6 one says
/// `IPV6_V6ONLY`): no address is ever an IPv4 one in the clothes of IPv6. They come last, so that
/// the entries keep their numbers.
fn ipv4_twins(listen: &[SipListen]) -> Vec<(SipListen, usize)> {
    let is_udp = |one: &SipListen| one.transport == SipTransport::Udp;
    let is_there = |like: &SipListen| {
        listen.iter().any(|one| {
            one.address.is_ipv4()
                && one.address.port() == like.address.port()
                && is_udp(one) == is_udp(like)
        })
    };
    let both = |one: &SipListen| one.address.ip() == Ipv6Addr::UNSPECIFIED && !is_there(one);
    let wanted = listen.iter().enumerate().filter(|(_, one)| both(one));
    wanted
        .map(|(number, one)| {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, one.address.port()));
            (SipListen { address, ..*one }, number)
        })
        .collect()
}

fn bind_sip(listen: &SipListen) -> io::Result<(SipSocket, sip::Listener)> {
    let transport = transport_of(listen);
    let (socket, address) = match transport {
        sip::Transport::Udp => {
            let socket = udp::Listener::bind(listen.address)?;
            let address = socket.local_address()?;
            (SipSocket::Udp(socket), address)
        }
        _ => {
            let socket = stream::bind(listen.address)?;
            let address = socket.get_ref().local_addr()?;
            (SipSocket::Tcp(socket), address)
        }
    };
    let advertised = match address.ip().is_unspecified() {
        true => SocketAddr::new(udp::own_address(address.is_ipv6()), address.port()),
        false => address,
    };
    Ok((socket, sip::Listener { transport, address, advertised }))
}

fn transport_of(listen: &SipListen) -> sip::Transport {
    match listen.transport {
        SipTransport::Udp => sip::Transport::Udp,
        SipTransport::Tcp => sip::Transport::Tcp,
        SipTransport::Tls => sip::Transport::Tls,
        SipTransport::Ws => sip::Transport::Ws,
        SipTransport::Wss => sip::Transport::Wss,
    }
}

/// As the configuration spells it.
fn name(listen: &SipListen) -> String {
    format!("{}://{}", transport_of(listen), listen.address)
}

/// `[sip] listen udp://0.0.0.0:5060: the port is taken: stop ...`
fn hint(key: &str, socket: String, error: &io::Error) -> String {
    let todo = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is taken: stop the program that has it (see `ss -lnp`), or choose another"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE: choose a higher one, or \
             run as a service that has it"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: choose one of `ip address`, or 0.0.0.0 for all"
        }
        _ => return format!("{key} {socket}: {error}"),
    };
    format!("{key} {socket}: {todo}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(sip: &str, http: SocketAddr) -> Config {
        let environment = crate::config::Environment {
            variable: &|_| None,
            file: &|_, _| Err("no such file".into()),
            memory_bytes: 1 << 30,
        };
        let text = format!(
            "[control]\nlisten = [\"{http}\"]\n[sip]\nlisten = [\"udp://{sip}\", \"tcp://{sip}\"]\n"
        );
        Config::parse(std::path::Path::new("test.toml"), &text, &environment).unwrap()
    }

    #[test]
    fn every_taken_port_is_named_with_what_to_do() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let taken = udp.local_addr().unwrap();
        let http = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = config(&taken.to_string(), http.local_addr().unwrap());
        let error = Sockets::bind(&config).err().unwrap();
        assert!(error.contains(&format!("[sip] listen udp://{taken}: the port is taken")));
        assert!(error.contains("[control] listen http://127.0.0.1:"), "{error}");
        assert!(!error.contains("tcp://"), "{error}");
    }

    #[test]
    fn address_of_nobody_is_told_apart() {
        let config = config("192.0.2.77:5060", "127.0.0.1:0".parse().unwrap());
        let error = Sockets::bind(&config).err().unwrap();
        assert!(error.contains("this machine has no such address"), "{error}");
    }

    #[test]
    fn unspecified_ipv6_listener_is_for_both_families_unless_ipv4_has_its_own() {
        let listen =
            |transport, address: &str| SipListen { transport, address: address.parse().unwrap() };
        let all = [
            listen(SipTransport::Udp, "[::]:5060"),
            listen(SipTransport::Tcp, "[::]:5060"),
            listen(SipTransport::Tls, "[::1]:5061"),
            listen(SipTransport::Udp, "192.0.2.1:5060"),
        ];
        assert_eq!(ipv4_twins(&all), [(listen(SipTransport::Tcp, "0.0.0.0:5060"), 1)]);
    }

    #[test]
    fn both_families_get_the_same_port() {
        let config = config("[::]:0", "127.0.0.1:0".parse().unwrap());
        let sockets = Sockets::bind(&config).unwrap();
        let bound: Vec<SocketAddr> = sockets.sip.iter().map(|(_, one)| one.address).collect();
        let [udp6, tcp6, udp4, tcp4] = bound[..] else { panic!("{bound:?}") };
        assert!(udp6.is_ipv6() && tcp6.is_ipv6() && udp4.is_ipv4() && tcp4.is_ipv4());
        assert_eq!((udp6.port(), tcp6.port()), (udp4.port(), tcp4.port()));
    }

    #[test]
    fn unspecified_listener_advertises_an_address_that_can_be_reached() {
        let listen =
            SipListen { transport: SipTransport::Udp, address: "0.0.0.0:0".parse().unwrap() };
        let (_, listener) = bind_sip(&listen).unwrap();
        assert!(listener.address.ip().is_unspecified());
        assert!(!listener.advertised.ip().is_unspecified());
        assert_eq!(listener.advertised.port(), listener.address.port());
    }
}
