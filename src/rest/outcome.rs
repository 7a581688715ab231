//! What is told of a call that came back: its result, and the status that says what sort of result it is. Who only looks at
//! the status must not take for done what is not.

use std::sync::Arc;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header::LOCATION};
use serde_json::Value;

use super::{
    Site,
    prefer::{APPLIED, Prefer},
    problems::problem,
};
use crate::{call::Answer, error::Result, hand_over::HandOver, pve::encode, web::Problem};

/// What is to be known of the call.
pub struct Told {
    pub site: Arc<Site>,
    /// Where there are several.
    pub cluster: Option<String>,
    /// It changes something: its result is an outcome.
    pub acts: bool,
    pub prefer: Prefer,
    pub hand_over: Option<HandOver>,
}

impl Told {
    /// The result, where there is one.
    ///
    /// # Errors
    /// The call's; and 428 for a plan that nobody has said yes to.
    pub fn body(&self, answer: Result<Answer>) -> Result<Value, Problem> {
        let Answer { data } = answer.map_err(|e| problem(&e))?;
        if self.acts && data["state"] == "needs_confirmation" {
            let summary = data["summary"].as_str().unwrap_or_default();
            let words = format!("not confirmed: {summary}");
            let next = data["next"].as_str().unwrap_or_default();
            return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, words).hint(next).with("outcome", data));
        }
        Ok(data)
    }

    /// The whole answer: 202 where something goes on, with the address at which it can be followed.
    ///
    /// # Errors
    /// As [`Told::body`].
    pub fn response(&self, answer: Result<Answer>) -> Result<Response, Problem> {
        let data = self.body(answer)?;
        let goes_on = self.acts && data["state"] == "running";
        let location = if goes_on { self.task(&data) } else { None };
        let applied = if self.was_preferred(&data) { self.prefer.applied() } else { None };
        let status = if goes_on { StatusCode::ACCEPTED } else { StatusCode::OK };
        let mut response = (status, Json(data)).into_response();
        let headers = response.headers_mut();
        for (name, value) in [(LOCATION, location), (APPLIED, applied)] {
            headers.extend(value.map(|value| (name, value)));
        }
        Ok(response)
    }

    /// Where the one task is that goes on.
    fn task(&self, data: &Value) -> Option<HeaderValue> {
        let upid = data["upid"].as_str().filter(|_| data["result"]["tasks"].is_null())?;
        let cluster = self.cluster.as_deref().map(|name| format!("?cluster={}", encode(name))).unwrap_or_default();
        HeaderValue::from_str(&self.site.at(&format!("/tasks/{}{cluster}", encode(upid)))).ok()
    }

    fn was_preferred(&self, data: &Value) -> bool {
        match self.prefer.at_once {
            true => self.hand_over.as_ref().is_some_and(|left| left.taken().is_some()),
            // Only who waits counts the seconds.
            false => data["seconds"].is_number(),
        }
    }
}
