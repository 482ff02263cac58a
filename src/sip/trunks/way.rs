//! The way to a trunk: its server, an outbound proxy before it, and the service route that its
//! registrar told us (RFC 3608).

use std::collections::HashMap;

use crate::sip::header::Name;
use crate::sip::locate::Hop;
use crate::sip::message::Message;
use crate::sip::name_addr::NameAddr;
use crate::sip::stack::Stack;
use crate::sip::uri::{Scheme, Uri};
use crate::sip::user_agent::Trunk;

/// What registrars told us, by the trunk's name: at most [`SERVICE_ROUTES`] for each trunk of the
/// config.
#[derive(Debug, Default)]
pub struct ServiceRoutes(HashMap<String, Vec<Uri>>);

impl ServiceRoutes {
    /// Of a 2xx to a REGISTER: in the place of what was known (RFC 3608 §6.1). A route that is
    /// broken or too long is none.
    pub fn learn(&mut self, trunk: &str, response: &Message) {
        let routes = response.headers.name_addrs(&Name::ServiceRoute).unwrap_or_default();
        let is_usable = routes.len() <= SERVICE_ROUTES
            && routes.iter().all(|route| matches!(route.uri.scheme, Scheme::Sip | Scheme::Sips));
        match routes.is_empty() || !is_usable {
            true => self.forget(trunk),
            false => {
                let uris = routes.into_iter().map(|route| route.uri).collect();
                self.0.insert(trunk.to_owned(), uris);
            }
        }
    }

    pub fn forget(&mut self, trunk: &str) {
        self.0.remove(trunk);
    }
}

impl Stack {
    /// Next hop and Route values of a request outside a dialog. `None`: by a transport that we do
    /// not speak.
    pub fn way_of_trunk(&self, trunk: &Trunk) -> Option<(Hop, Vec<Uri>)> {
        let mut routes = proxy_of(trunk);
        if let Some(service) = self.service_routes.0.get(&trunk.name) {
            // Many registrars begin with the proxy that we are told to use anyway.
            let is_same = |uri: &Uri| {
                routes
                    .first()
                    .is_some_and(|proxy| (&proxy.host, proxy.port) == (&uri.host, uri.port))
            };
            let known = usize::from(service.first().is_some_and(is_same));
            routes.extend(service.iter().skip(known).cloned());
        }
        let hop = Hop::of(routes.first().unwrap_or(&trunk.server))?;
        Some((hop, routes))
    }
}

/// The way of a REGISTER: no service route is for it.
pub fn way_to_registrar(trunk: &Trunk) -> Option<(Hop, Vec<Uri>)> {
    let routes = proxy_of(trunk);
    let hop = Hop::of(routes.first().unwrap_or(&trunk.server))?;
    Some((hop, routes))
}

/// A proxy as the loose route to it (RFC 3261 §16.12).
pub fn loose(proxy: &Uri) -> Uri {
    let mut route = Uri { headers: None, ..proxy.clone() };
    route.set_parameter("lr", None);
    route
}

/// Puts a route on a request.
pub fn add_routes(request: &mut Message, routes: Vec<Uri>) {
    for route in routes {
        request.headers.push(Name::Route, NameAddr::new(route).to_string());
    }
}

fn proxy_of(trunk: &Trunk) -> Vec<Uri> {
    trunk.account.outbound_proxy.iter().map(loose).collect()
}

/// Proxies of one provider between us and its core.
const SERVICE_ROUTES: usize = 8;
