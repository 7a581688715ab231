//! Which handler answers which method, and the way of one request: fault, authentication, body, handler, permission,
//! parameters — in PVE's order and with PVE's answers where it ends early.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response, header, request::Parts};
use percent_encoding::percent_decode_str;

use super::{
    Sandbox,
    access::{Who, csrf_is_good, ticket_user},
    call::Call,
    faults::FaultKind,
    params,
    upload::{self, Body, Broken, is_upload},
    wire::{self, Answered, Format, Refusal},
};
use crate::pve::{SendError, api::Given};

/// What answers a method. Most handlers need not wait for anything; those that do (file locks, the guest agent) are
/// `Slow`.
#[derive(Clone, Copy)]
pub enum Handler {
    Quick(fn(&Call) -> Answered),
    Slow(fn(Arc<Call>) -> BoxFuture<'static, Answered>),
}

/// One line of a family's table: the path is the template of the API's schema.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub handler: Handler,
}

impl Route {
    pub const fn get(path: &'static str, handler: fn(&Call) -> Answered) -> Self {
        Self { method: Method::GET, path, handler: Handler::Quick(handler) }
    }
    pub const fn post(path: &'static str, handler: fn(&Call) -> Answered) -> Self {
        Self { method: Method::POST, path, handler: Handler::Quick(handler) }
    }
    pub const fn put(path: &'static str, handler: fn(&Call) -> Answered) -> Self {
        Self { method: Method::PUT, path, handler: Handler::Quick(handler) }
    }
    pub const fn delete(path: &'static str, handler: fn(&Call) -> Answered) -> Self {
        Self { method: Method::DELETE, path, handler: Handler::Quick(handler) }
    }
    /// A handler that waits: `Route::slow(Method::PUT, "/…", |call| Box::pin(update(call)))`.
    pub const fn slow(
        method: Method,
        path: &'static str,
        handler: fn(Arc<Call>) -> BoxFuture<'static, Answered>,
    ) -> Self {
        Self { method, path, handler: Handler::Slow(handler) }
    }
}

/// All handlers, by template and method.
pub struct Router(HashMap<&'static str, Vec<(Method, Handler)>>);

impl Router {
    pub fn new(families: &[&'static [Route]]) -> Self {
        let mut all: HashMap<_, Vec<_>> = HashMap::new();
        for route in families.iter().flat_map(|family| family.iter()) {
            all.entry(route.path).or_default().push((route.method.clone(), route.handler));
        }
        Self(all)
    }
    pub fn find(&self, method: &Method, template: &str) -> Option<Handler> {
        self.0.get(template)?.iter().find(|(known, _)| known == method).map(|(_, handler)| *handler)
    }
    /// Every method that is served, as `(method, template)`.
    pub fn served(&self) -> impl Iterator<Item = (&Method, &'static str)> {
        self.0.iter().flat_map(|(path, methods)| methods.iter().map(move |(method, _)| (method, *path)))
    }
}

/// Bodies larger than this are refused.
pub const BODY_LIMIT: usize = 512 * 1024;
/// How long a failed authentication is held back.
const AUTH_DELAY: Duration = Duration::from_secs(3);

/// Credentials of a request, before anybody has looked whether they are good.
#[derive(Debug, Default)]
struct Presented {
    token: Option<String>,
    ticket: Option<String>,
    csrf: Option<String>,
}

fn presented(parts: &Parts) -> Presented {
    let text = |name: header::HeaderName| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let mut out = Presented {
        csrf: text("csrfpreventiontoken".parse().unwrap_or(header::EXPIRES)).map(str::to_owned),
        ..Presented::default()
    };
    let unescape = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    for cookies in parts.headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()) {
        let ticket = cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("PVEAuthCookie="));
        out.ticket = ticket.map(unescape).or(out.ticket);
    }
    if let Some(auth) = text(header::AUTHORIZATION) {
        let after = |scheme: &str| auth.strip_prefix(scheme)?.strip_prefix(['=', ' ']).map(unescape);
        out.token = after("PVEAPIToken");
        out.ticket = out.ticket.or_else(|| after("PVEAuthCookie"));
    }
    out
}

/// The paths that need no login.
fn is_open(method: &Method, path: &str) -> bool {
    match path {
        "/access/domains" => method == Method::GET,
        "/access/ticket" => method == Method::GET || method == Method::POST,
        "/access/openid/login" | "/access/openid/auth-url" => true,
        _ => false,
    }
}

impl Sandbox {
    /// Answers one request.
    ///
    /// # Errors
    /// Where a fault asks for it: the connection is refused, or closed without an answer.
    pub async fn handle(&self, request: Request<Bytes>) -> Result<Response<Bytes>, SendError> {
        let (parts, body) = request.into_parts();
        self.serve(parts, Body::Whole(body)).await
    }

    /// Answers one request, whose body may come piece by piece.
    pub(super) async fn serve(&self, parts: Parts, body: Body) -> Result<Response<Bytes>, SendError> {
        let full = percent_decode_str(parts.uri.path()).decode_utf8_lossy().into_owned();
        let (format, path) = match full.strip_prefix("/api2/") {
            Some(rest) => rest.split_once('/').map_or((rest, String::new()), |(f, p)| (f, p.to_owned())),
            None => ("", String::new()),
        };
        let path = format!("/{}", path.trim_matches('/'));
        let faults = self.faults().take(&parts.method, &path);
        for fault in &faults {
            match fault {
                FaultKind::Refuse => return Err(SendError::NeverSent("Connection refused".to_owned())),
                FaultKind::Stall => std::future::pending::<()>().await,
                FaultKind::Status595 => return Ok(wire::empty(595, "Connection refused", self.clock().now())),
                FaultKind::OfflineNode(node) => self.set_online(node, false),
                _ => {}
            }
        }
        let latency = self.options().latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let response = self.answer(&parts, body, (&full, format, &path), faults.clone().into()).await?;
        if faults.contains(&FaultKind::Drop) {
            return Err(SendError::Lost("connection closed before the answer".to_owned()));
        }
        if faults.contains(&FaultKind::Status596) {
            return Ok(wire::empty(596, "Connection timed out", self.clock().now()));
        }
        Ok(response)
    }

    async fn answer(
        &self,
        parts: &Parts,
        body: Body,
        (full, format, path): (&str, &str, &str),
        faults: Arc<[FaultKind]>,
    ) -> Result<Response<Bytes>, SendError> {
        let method = &parts.method;
        let now = || self.clock().now();
        if ![Method::GET, Method::POST, Method::PUT, Method::DELETE].contains(method) {
            return Ok(wire::empty(501, &format!("method '{method}' not available"), now()));
        }
        if !full.starts_with("/api2/") {
            return Ok(wire::bare(501, &format!("no such file '{full}'"), now()));
        }
        let presented = presented(parts);
        let who = match self.authenticate(method, path, &presented, &faults) {
            Ok(who) => who,
            Err(reason) => {
                self.clock().sleep(AUTH_DELAY).await;
                return Ok(wire::empty(401, reason, now()));
            }
        };
        let read = match body {
            body if is_upload(method, path) => {
                // Asked before anything is taken, so that nobody fills the disk who may not.
                if let Err(refusal) = self.may_upload(&who, path) {
                    self.clock().sleep(AUTH_DELAY).await;
                    return Ok(wire::empty(refusal.status, &refusal.message, now()));
                }
                self.receive(parts, body).await
            }
            Body::Whole(body) => read_params(parts, &body).map_err(|(status, text)| Broken::Refused(status, text)),
            Body::Stream(_) => return Err(SendError::Lost("connection closed".to_owned())),
        };
        let given = match read {
            Ok(given) => given,
            Err(Broken::Refused(status, message)) => return Ok(wire::bare(status, &message, now())),
            Err(Broken::Lost(failure)) => return Err(failure),
        };
        let format = match format {
            "json" => Format::Json,
            "extjs" => Format::Extjs,
            other => return Ok(wire::bare(501, &format!("no formatter for uri {path}, {other}"), now())),
        };
        let answered = self.dispatch(method, path, who, given, presented.token.is_some(), faults).await;
        if answered.as_ref().is_err_and(|refusal| refusal.status == 401) {
            self.clock().sleep(AUTH_DELAY).await;
        }
        Ok(wire::render(answered, format, now()))
    }

    fn may_upload(&self, who: &Who, path: &str) -> Result<(), Refusal> {
        let Some((endpoint, vars)) = self.api().lookup(&Method::POST, path) else { return Ok(()) };
        let given = vars.into_iter().map(|(name, value)| (name.to_owned(), Given::Text(value))).collect();
        self.state().admit(who, &endpoint.access, &given)
    }

    async fn receive(&self, parts: &Parts, body: Body) -> Result<crate::pve::api::Params, Broken> {
        if parts.headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(Broken::Refused(501, "chunked transfer encoding not supported".to_owned()));
        }
        let name = format!("/var/tmp/pveupload-{:032x}", self.state().random.u128(..));
        upload::receive(self.uploads(), parts, body, name).await
    }

    fn authenticate(
        &self,
        method: &Method,
        path: &str,
        presented: &Presented,
        faults: &[FaultKind],
    ) -> Result<Who, &'static str> {
        const FAILED: &str = "Authentication failed!";
        if is_open(method, path) {
            return Ok(Who::nobody());
        }
        let now = self.clock().now();
        let state = self.state();
        if let Some(token) = &presented.token {
            return state.access.token_owner(token, now).ok_or(FAILED);
        }
        let ticket = presented.ticket.as_ref().ok_or("No ticket")?;
        if faults.contains(&FaultKind::ExpiredTicket) {
            return Err(FAILED);
        }
        let user = ticket_user(self.key(), "PVE", ticket, now).ok_or(FAILED)?;
        state.access.active_user(&user, now).ok_or(FAILED)?;
        if method != Method::GET && !is_upload(method, path) {
            let good = presented.csrf.as_ref().is_some_and(|token| csrf_is_good(self.key(), &user, token, now));
            if !good {
                return Err("Permission denied - invalid csrf token");
            }
        }
        Ok(Who::user(&user))
    }

    async fn dispatch(
        &self,
        method: &Method,
        path: &str,
        who: Who,
        mut given: crate::pve::api::Params,
        by_token: bool,
        faults: Arc<[FaultKind]>,
    ) -> Answered {
        let unknown = || Refusal::not_implemented(method.as_str(), path);
        let (endpoint, vars) = self.api().lookup(method, path).ok_or_else(unknown)?;
        let handler = self.router().find(method, endpoint.path).ok_or_else(unknown)?;
        for (name, value) in vars {
            if given.get(name).is_some_and(|other| *other != Given::Text(value.clone())) {
                let text = "duplicate parameter (already defined in URI) with conflicting values!";
                return Err(Refusal::param(name, text));
            }
            given.insert(name.to_owned(), Given::Text(value));
        }
        if by_token && !endpoint.allow_token {
            let what = format!("URI '{path}' not available with API token, need proper ticket.\n");
            return Err(Refusal::forbidden(&what));
        }
        self.state().admit(&who, &endpoint.access, &given)?;
        if let Some(Given::Text(node)) = endpoint.proxy_to.and_then(|name| given.get(name)) {
            self.reach(node)?;
        }
        let params = endpoint.validate(&given).map_err(|errors| Refusal::params(errors.into_iter().collect()))?;
        let call = Call { sandbox: self.clone(), who, endpoint, params, faults };
        match handler {
            Handler::Quick(handler) => handler(&call),
            Handler::Slow(handler) => handler(Arc::new(call)).await,
        }
    }

    /// Whether requests can be passed on to the node.
    fn reach(&self, node: &str) -> Result<(), Refusal> {
        if node == "localhost" {
            return Ok(());
        }
        match self.state().nodes.get(node) {
            Some(found) if found.online => Ok(()),
            Some(_) => Err(Refusal::new(595, "No route to host")),
            None => Err(Refusal::failed(format!(
                "hostname lookup '{node}' failed - failed to get address info for: {node}: Name or service not known"
            ))),
        }
    }
}

/// The parameters of the query (GET, DELETE) or the body (POST, PUT).
fn read_params(parts: &Parts, body: &Bytes) -> Result<crate::pve::api::Params, (u16, String)> {
    if parts.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err((501, "chunked transfer encoding not supported".to_owned()));
    }
    if parts.method == Method::GET || parts.method == Method::DELETE {
        if !body.is_empty() {
            return Err((501, format!("Unexpected content for method '{}'", parts.method)));
        }
        return Ok(params::form(parts.uri.query().unwrap_or_default()));
    }
    if body.len() > BODY_LIMIT {
        return Err((501, "for data too large".to_owned()));
    }
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match content_type.split(';').next().unwrap_or_default().trim() {
        "" | "application/x-www-form-urlencoded" => Ok(params::form(&String::from_utf8_lossy(body))),
        "application/json" if body.is_empty() => Ok(params::form("")),
        "application/json" => params::json(body)
            .map_err(|error| (500, format!("{error} at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 934.\n"))),
        _ => Err((506, format!("upload 'Content-Type '{content_type}' not implemented"))),
    }
}
