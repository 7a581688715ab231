//! Under which names this server is spoken to, and from which web pages: what keeps a page in somebody's browser from
//! speaking to it unasked.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, Method, StatusCode,
    header::{HOST, LINK, LOCATION, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE},
    uri::Authority,
};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::{Problem, door};
use crate::config::Web;

/// Which hosts and origins are good.
pub struct Hosts {
    /// Names, with or without a port; lower case.
    names: Vec<String>,
    origins: Vec<String>,
    /// Other machines can get here.
    exposed: bool,
}

impl Hosts {
    pub fn new(web: &Web) -> Arc<Self> {
        let public = web.public_url.as_deref().and_then(|url| url.split_once("://")).map(|(scheme, rest)| {
            let authority = rest.split('/').next().unwrap_or_default();
            (authority, format!("{scheme}://{authority}"))
        });
        let lower = |texts: &[String], more: Option<&str>| {
            texts.iter().map(String::as_str).chain(more).map(str::to_ascii_lowercase).collect()
        };
        // A proxy may or may not pass on the port that it is reached at.
        let host = public.as_ref().map(|(authority, _)| split_port(authority).0);
        Arc::new(Self {
            names: lower(&web.allowed_hosts, host),
            origins: lower(&web.allowed_origins, public.as_ref().map(|(_, origin)| origin.as_str())),
            exposed: web.is_exposed(),
        })
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let host = self.host(headers)?;
        let mut origins = headers.get_all(ORIGIN).into_iter();
        let origin = match (origins.next(), origins.next()) {
            (None, _) => return Ok(()),
            (Some(origin), None) => origin.to_str().unwrap_or_default().to_ascii_lowercase(),
            (Some(_), Some(_)) => return Err(Problem::new(StatusCode::BAD_REQUEST, "expected one Origin header")),
        };
        if self.is_good_origin(&origin, &host) {
            return Ok(());
        }
        let why = format!("pages of {origin} may not call this server");
        Err(Problem::new(StatusCode::FORBIDDEN, why)
            .hint("its operator can allow them with PROXMOX_MCP_ALLOWED_ORIGINS"))
    }

    /// The request's host, where it is one of ours.
    fn host(&self, headers: &HeaderMap) -> Result<String, Problem> {
        let bad = || Problem::new(StatusCode::BAD_REQUEST, "expected one Host header with a name and perhaps a port");
        let mut all = headers.get_all(HOST).into_iter();
        let (Some(host), None) = (all.next(), all.next()) else { return Err(bad()) };
        let text = host.to_str().map_err(|_| bad())?.to_ascii_lowercase();
        let authority: Authority = text.parse().map_err(|_| bad())?;
        if text.contains('@') || authority.host().is_empty() {
            return Err(bad());
        }
        let host = authority.host();
        let named = self.names.iter().any(|name| name == "*" || *name == text || name == host);
        // Nobody can make an address in numbers lead to another machine than it names.
        let by_number = match address(host) {
            Some(ip) => ip.is_loopback() || self.exposed,
            None => host == "localhost",
        };
        if named || by_number {
            return Ok(text);
        }
        Err(Problem::new(StatusCode::FORBIDDEN, format!("this server is not called {host}"))
            .hint("its operator can add the name to PROXMOX_MCP_ALLOWED_HOSTS"))
    }

    fn is_good_origin(&self, origin: &str, host: &str) -> bool {
        let listed = |pattern: &String| {
            pattern == "*"
                || pattern == origin
                || pattern.strip_suffix(":*").is_some_and(|base| strip_port(origin) == Some(base))
        };
        if self.origins.iter().any(listed) {
            return true;
        }
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        // The host was found to be one of ours, so its own pages are ours, too.
        if with_port(authority, scheme) == with_port(host, scheme) {
            return true;
        }
        let name = split_port(authority).0;
        !self.exposed && (name == "localhost" || address(name).is_some_and(|ip| ip.is_loopback()))
    }
}

/// An address in numbers, as it stands in a URL.
fn address(host: &str) -> Option<IpAddr> {
    let plain = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    plain.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// An origin without its port.
fn strip_port(origin: &str) -> Option<&str> {
    let authority = origin.split_once("://")?.1;
    let (host, _) = split_port(authority);
    Some(&origin[..origin.len() - authority.len() + host.len()])
}

fn with_port<'a>(authority: &'a str, scheme: &str) -> (&'a str, &'a str) {
    let (host, port) = split_port(authority);
    (host, port.unwrap_or(if scheme == "https" { "443" } else { "80" }))
}

/// Refuses what is not for this server, or from a page that may not call it.
pub async fn check(State(hosts): State<Arc<Hosts>>, mut request: Request, next: Next) -> Response {
    door::hide_credentials(request.headers_mut());
    match hosts.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// What browsers are told, behind [`check`]: whoever comes here may call. Preflights end here, without a key.
pub fn cors() -> CorsLayer {
    let exposed =
        ["mcp-session-id", "mcp-protocol-version", "x-request-id", "preference-applied"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        // Whatever they ask for: MCP has a header for each parameter.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.into_iter().chain([LOCATION, LINK, RETRY_AFTER, WWW_AUTHENTICATE]).collect::<Vec<_>>())
        .max_age(std::time::Duration::from_secs(600))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str], origins: &[&str], listen: &str) -> Hosts {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let web = Web {
            http: listen.parse().ok(),
            allowed_hosts: owned(names),
            allowed_origins: owned(origins),
            public_url: Some("https://Public.example/proxmox".to_owned()),
            ..Web::default()
        };
        Arc::into_inner(Hosts::new(&web)).unwrap_or_else(|| unreachable!())
    }

    fn verdict(hosts: &Hosts, headers: &[(HeaderName, &'static str)]) -> u16 {
        let header = |(name, value): &(HeaderName, &'static str)| (name.clone(), http::HeaderValue::from_static(value));
        hosts.check(&headers.iter().map(header).collect()).map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn a_host_is_this_machine_or_a_name_that_was_given() {
        let local = hosts(&["mcp.example", "other.example:8812"], &[], "127.0.0.1:8812");
        let open = hosts(&[], &[], "0.0.0.0:8812");
        let any = hosts(&["*"], &[], "127.0.0.1:1");
        for (host, expected) in [
            ("localhost", [200, 200, 200]),
            ("LocalHost:1234", [200, 200, 200]),
            ("127.0.0.1:8812", [200, 200, 200]),
            ("[::1]:8812", [200, 200, 200]),
            ("127.8.8.8", [200, 200, 200]),
            ("public.example", [200, 200, 200]),
            ("public.example:443", [200, 200, 200]),
            ("MCP.example:99", [200, 403, 200]),
            ("other.example:8812", [200, 403, 200]),
            ("other.example", [403, 403, 200]),
            ("192.168.1.7:8812", [403, 200, 200]),
            ("[fe80::1]", [403, 200, 200]),
            ("evil.example", [403, 403, 200]),
            ("localhost.evil.example", [403, 403, 200]),
            ("127.0.0.1.evil.example", [403, 403, 200]),
            ("", [400, 400, 400]),
            ("a b", [400, 400, 400]),
            ("me@localhost", [400, 400, 400]),
            ("localhost/x", [400, 400, 400]),
        ] {
            assert_eq!([&local, &open, &any].map(|hosts| verdict(hosts, &[(HOST, host)])), expected, "{host}");
        }
        assert_eq!(verdict(&local, &[]), 400);
        assert_eq!(verdict(&local, &[(HOST, "localhost"), (HOST, "localhost")]), 400);
    }

    #[test]
    fn an_origin_is_our_own_or_one_that_was_given() {
        let local = hosts(&[], &["https://chat.example", "http://dev.example:*"], "127.0.0.1:8812");
        let open = hosts(&[], &["null"], "0.0.0.0:8812");
        for (origin, expected) in [
            ("http://localhost:8812", [200, 200]),
            ("http://localhost:5173", [200, 403]),
            ("http://[::1]:5173", [200, 403]),
            ("https://public.example", [200, 200]),
            ("https://chat.example", [200, 403]),
            ("https://CHAT.example", [200, 403]),
            ("https://chat.example:444", [403, 403]),
            ("http://chat.example", [403, 403]),
            ("http://dev.example:3000", [200, 403]),
            ("http://dev.example", [200, 403]),
            ("http://dev.example.evil:1", [403, 403]),
            ("http://evil.example", [403, 403]),
            ("http://localhost.evil.example", [403, 403]),
            ("null", [403, 200]),
            ("", [403, 403]),
        ] {
            let headers = [(HOST, "localhost:8812"), (ORIGIN, origin)];
            assert_eq!([&local, &open].map(|hosts| verdict(hosts, &headers)), expected, "{origin}");
        }
        let twice = [(HOST, "localhost"), (ORIGIN, "http://localhost"), (ORIGIN, "http://localhost")];
        assert_eq!(verdict(&local, &twice), 400);
        assert_eq!(verdict(&local, &[(HOST, "localhost"), (ORIGIN, "http://localhost")]), 200);
    }
}
