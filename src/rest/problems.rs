//! Which status an error is. 5xx is for what is wrong on this side: a Proxmox that cannot be reached, or answers nothing that
//! can be understood, and this program's own faults. What Proxmox refuses is the caller's, whatever status it has there: it
//! says 500 for a locked guest, too.

use http::StatusCode;

use crate::{
    error::{Error, Kind},
    web::Problem,
};

/// The one table.
pub fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::BadArgument => StatusCode::BAD_REQUEST,
        // Of this server, or of Proxmox for the token that this server has: the caller cannot help either by itself.
        Kind::Denied | Kind::Permission => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        // As things stand it cannot be done; another name, or another time, and it can.
        Kind::Ambiguous | Kind::Conflict | Kind::Locked => StatusCode::CONFLICT,
        // Understood, tried and come to nothing.
        Kind::Refused | Kind::TaskFailed | Kind::NotImplemented => StatusCode::UNPROCESSABLE_ENTITY,
        // Not 401: it is this server's login that Proxmox does not take, not the caller's.
        Kind::Unauthorized | Kind::Certificate | Kind::Unavailable | Kind::BadAnswer | Kind::Unclear => {
            StatusCode::BAD_GATEWAY
        }
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        // A client that cancels has gone: who still hears it, hears that the server ends.
        Kind::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Kind::BadSetting | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An error as it is told.
pub fn problem(error: &Error) -> Problem {
    if matches!(error.kind(), Kind::Internal) {
        tracing::error!("{error}");
    }
    Problem::of(status(error.kind()), error)
}
