//! A call as an event stream: `progress` while it runs, and at its end `result` or `error`. A comment now and then keeps
//! the connection open; when the client leaves, the call ends.

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::stream;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::{call::Running, request::Who};
use crate::{call::Answer, error::Result, progress::Update, web::Problem};

/// Many proxies close a connection that is silent for a minute.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// The stream; `end` makes of what came of the call what is told of it.
pub fn stream<F>(who: Who, running: Running, end: F) -> Response
where
    F: FnOnce(Result<Answer>) -> Result<Value, Problem> + Send + 'static,
{
    let events = stream::unfold(Some((running, end, who.request)), async |state| {
        let (mut running, end, request) = state?;
        if let Some(update) = running.update().await {
            return Some((Ok::<_, Infallible>(progress(update)), Some((running, end, request))));
        }
        let event = match end(running.end().await) {
            Ok(result) => Event::default().event("result").data(result.to_string()),
            Err(problem) => Event::default()
                .event("error")
                .data(Value::Object(problem.with("request_id", request).body()).to_string()),
        };
        Some((Ok(event), None))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)).into_response();
    // Some proxies collect what passes, unless they are told not to.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

fn progress(Update { percent, message, .. }: Update) -> Event {
    let mut data = Map::new();
    data.extend(percent.map(|percent| ("percent".to_owned(), json!(percent))));
    data.insert("message".to_owned(), message.into());
    Event::default().event("progress").data(Value::Object(data).to_string())
}
