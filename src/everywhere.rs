//! One list of several clusters: the query runs on each of them at once, the rows are put together and say where they are
//! from, and a cluster that fails is named beside the others' rows.

use futures::future::join_all;
use serde_json::{Map, Value, json};

use crate::{
    app::{App, Cluster},
    call::{self, Answer, Context, Cx},
    config::ALL_CLUSTERS,
    error::{Error, Result},
    outside::{self, UNTRUSTED},
    pve::encode,
    tool::Entry,
};

const CURSOR: &str = "cursor";
const NEXT: &str = "next_cursor";
/// The clusters that did not answer (some lists have a `failed` of their own).
const FAILED: &str = "failed_clusters";

/// Whether a call is for every cluster; takes the key off. Where only one is configured, "all" and its name mean that one.
pub fn asked(entry: &Entry, clusters: &[Cluster], args: &mut Map<String, Value>) -> bool {
    if entry.everywhere {
        return true;
    }
    let Some(named) = args.get("cluster").and_then(Value::as_str) else { return false };
    let all = entry.many && named == ALL_CLUSTERS;
    let only = matches!(clusters, [only] if all || only.name == named);
    if all || only {
        args.remove("cluster");
    }
    all && !only
}

/// Asks every cluster.
///
/// # Errors
/// Where no cluster answered: with every cluster's words.
pub async fn run(
    app: &App,
    entry: &'static Entry,
    schema: &Map<String, Value>,
    args: Map<String, Value>,
    context: &Context,
) -> Result<Answer> {
    let mut of_each = args.clone();
    if let Some(own) = entry.joining {
        (own.of_each)(&mut of_each);
    }
    let turns = turns(app.clusters(), schema, of_each)?;
    let calls = turns.iter().filter_map(|turn| turn.args.clone().map(|args| (turn, args))).map(|(turn, args)| async {
        let cx = Cx::new(entry, app, &turn.cluster.client, context);
        (turn.cluster.name.as_str(), call::guarded(cx, args).await)
    });
    let mut answers = Vec::new();
    let mut failed = Vec::new();
    for (cluster, answer) in join_all(calls).await {
        match answer {
            Ok(answer) => answers.push((cluster, answer.data)),
            Err(error) => failed.push((cluster, error)),
        }
    }
    if answers.is_empty() {
        return Err(none_answered(failed));
    }
    let mut data = match entry.joining {
        Some(own) => (own.join)(args, answers)?.data,
        None => {
            let mut merged = Merged::default();
            for (cluster, answer) in answers {
                merged.add(cluster, answer);
            }
            let cursor = next(&turns, &merged, &failed);
            merged.into_value(cursor)
        }
    };
    if !failed.is_empty() {
        let failed = failed.iter().map(|(cluster, error)| json!({"cluster": cluster, "error": error.to_string()}));
        data[FAILED] = failed.collect();
    }
    Ok(Answer { data })
}

/// What one cluster is asked; nothing, where its turn comes with the next page.
struct Turn<'a> {
    cluster: &'a Cluster,
    args: Option<Map<String, Value>>,
    /// Where its list goes on; empty at its beginning.
    cursor: String,
}

/// Who is asked what: each for its share of the rows, and from where it was left; those that have no more are left out.
fn turns<'a>(
    clusters: &'a [Cluster],
    schema: &Map<String, Value>,
    mut args: Map<String, Value>,
) -> Result<Vec<Turn<'a>>> {
    let cursor = args.remove(CURSOR);
    let going: Vec<(&Cluster, String)> = match cursor.as_ref().and_then(Value::as_str) {
        None => clusters.iter().map(|cluster| (cluster, String::new())).collect(),
        Some(cursor) => read_cursor(clusters, cursor)?,
    };
    let default = schema.get("properties").and_then(|p| p["limit"]["default"].as_u64());
    let limit = args.get("limit").and_then(Value::as_u64).or(default);
    let n = going.len() as u64;
    let turn = |(i, (cluster, cursor)): (usize, (&'a Cluster, String))| {
        // The first ones get what cannot be divided.
        let share = limit.map(|limit| limit / n + u64::from((i as u64) < limit % n));
        let mut args = args.clone();
        if let Some(share) = share {
            args.insert("limit".to_owned(), share.into());
        }
        if !cursor.is_empty() {
            args.insert(CURSOR.to_owned(), cursor.as_str().into());
        }
        Turn { cluster, args: (share != Some(0)).then_some(args), cursor }
    };
    Ok(going.into_iter().enumerate().map(turn).collect())
}

/// `home=100&work=`: each cluster that has more, and its own cursor.
fn read_cursor<'a>(clusters: &'a [Cluster], cursor: &str) -> Result<Vec<(&'a Cluster, String)>> {
    let part = |part: &str| {
        let (name, own) = part.split_once('=')?;
        let cluster = clusters.iter().find(|cluster| encode(&cluster.name) == name)?;
        let own = percent_encoding::percent_decode_str(own).decode_utf8().ok()?.into_owned();
        Some((cluster, own))
    };
    cursor.split('&').map(part).collect::<Option<_>>().ok_or_else(|| {
        Error::bad_argument(format!("cursor: expected the next_cursor of the page before, got '{cursor}'"))
    })
}

/// The compound cursor. A cluster that failed is tried again with the others' next page, and is not a page by itself.
fn next(turns: &[Turn<'_>], merged: &Merged, failed: &[(&str, Error)]) -> Option<String> {
    let mut goes_on = false;
    let parts: Vec<String> = turns
        .iter()
        .filter_map(|turn| {
            let name = turn.cluster.name.as_str();
            let cursor = merged.cursors.iter().find(|(cluster, _)| cluster == name).map(|(_, cursor)| cursor);
            goes_on |= cursor.is_some() || turn.args.is_none();
            let again = turn.args.is_none() || failed.iter().any(|(cluster, _)| *cluster == name);
            let cursor = cursor.or(again.then_some(&turn.cursor))?;
            Some(format!("{}={}", encode(name), encode(cursor)))
        })
        .collect();
    goes_on.then(|| parts.join("&"))
}

/// The answers put together, in the clusters' order.
#[derive(Default)]
struct Merged {
    data: Map<String, Value>,
    cursors: Vec<(String, String)>,
}

impl Merged {
    fn add(&mut self, cluster: &str, answer: Value) {
        let Value::Object(answer) = answer else { return };
        for (key, value) in answer {
            if key == NEXT {
                self.cursors.extend(value.as_str().map(|cursor| (cluster.to_owned(), cursor.to_owned())));
                continue;
            }
            if key == UNTRUSTED {
                outside::join(&mut self.data, value);
                continue;
            }
            let value = from(cluster, value);
            match self.data.get_mut(&key) {
                Some(sum) => join(sum, value),
                None => drop(self.data.insert(key, value)),
            }
        }
    }

    fn into_value(mut self, cursor: Option<String>) -> Value {
        self.data.extend(cursor.map(|cursor| (NEXT.to_owned(), cursor.into())));
        Value::Object(self.data)
    }
}

/// A cluster's part of an answer, with the cluster named where it can be.
fn from(cluster: &str, value: Value) -> Value {
    let row = |row: Value| match row {
        Value::Object(row) => {
            let mut named = Map::from_iter([("cluster".to_owned(), Value::from(cluster))]);
            named.extend(row);
            Value::Object(named)
        }
        other => other,
    };
    match value {
        Value::Array(rows) => rows.into_iter().map(row).collect(),
        Value::String(text) => format!("{cluster}: {text}").into(),
        // Counts are summed; anything else under a name is told apart by the cluster: nodes of one name are others.
        Value::Object(map) if !map.values().all(Value::is_number) => {
            map.into_iter().map(|(key, value)| (format!("{cluster}/{key}"), value)).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

/// Rows are added, numbers and counts summed, sentences strung together.
fn join(sum: &mut Value, more: Value) {
    match (sum, more) {
        (Value::Array(rows), Value::Array(more)) => rows.extend(more),
        (Value::Object(counts), Value::Object(more)) => {
            for (key, value) in more {
                match counts.get_mut(&key) {
                    Some(sum) => join(sum, value),
                    None => drop(counts.insert(key, value)),
                }
            }
        }
        (Value::String(text), Value::String(more)) => {
            text.push_str("; ");
            text.push_str(&more);
        }
        (Value::Bool(all), Value::Bool(one)) => *all &= one,
        (sum, more) => match (sum.as_u64(), more.as_u64()) {
            (Some(a), Some(b)) => *sum = (a + b).into(),
            _ => {
                if let (Some(a), Some(b)) = (sum.as_f64(), more.as_f64()) {
                    *sum = (a + b).into();
                }
            }
        },
    }
}

/// The same fault everywhere is told once.
fn none_answered(mut failed: Vec<(&str, Error)>) -> Error {
    if failed.is_empty() {
        return Error::bad_setting("no Proxmox cluster is configured").hint("set PROXMOX_API_URL, or try --sandbox");
    }
    let told: Vec<String> = failed.iter().map(|(cluster, error)| format!("{cluster}: {error}")).collect();
    let (_, first) = failed.swap_remove(0);
    if failed.iter().all(|(_, other)| other.to_string() == first.to_string()) {
        return first;
    }
    let error = Error::new(first.kind(), format!("no cluster answered: {}", told.join("; ")));
    match &first.parts().hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Makes an output schema fit what comes of several clusters: a name in each row, and the clusters that failed.
pub fn widen(schema: &mut Map<String, Value>) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for property in properties.values_mut() {
        let row =
            property.get_mut("items").and_then(|items| items.get_mut("properties")).and_then(Value::as_object_mut);
        if let Some(row) = row {
            row.insert("cluster".to_owned(), json!({"type": "string"}));
        }
    }
    let row = json!({
        "type": "object",
        "properties": {"cluster": {"type": "string"}, "error": {"type": "string"}},
        "required": ["cluster", "error"],
    });
    let failed = json!({"type": "array", "items": row, "description": "Clusters that did not answer, and why."});
    properties.insert(FAILED.to_owned(), failed);
}
