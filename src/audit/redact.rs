//! Takes secrets out of what is recorded: what the plan sends as a secret, wherever it stands, and what is a secret by the
//! name of its field.

use serde_json::Value;

use crate::{
    plan::{Change, Plan},
    pve::{
        Param,
        secrets::{MASKED, is_secret, masked_lines},
    },
};

/// A secret that is shorter is masked only where it stands alone: else half the line would go with it.
const PART: usize = 4;

/// Knows one call's secrets.
#[derive(Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    pub fn of(plan: &Plan) -> Self {
        let params = plan.requests.iter().flat_map(|request| &request.params);
        let secrets = params.filter_map(|(_, value)| match value {
            Param::Secret(secret) if !secret.is_empty() => Some(secret.clone()),
            _ => None,
        });
        Self { secrets: secrets.collect() }
    }

    pub fn text(&self, text: &str) -> String {
        if self.secrets.iter().any(|secret| secret == text) {
            return MASKED.to_owned();
        }
        let parts = self.secrets.iter().filter(|secret| secret.len() >= PART);
        let text = parts.fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASKED));
        masked_lines(&text).unwrap_or(text)
    }

    pub fn value(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let field = |(key, value): (&String, &Value)| {
                    let value = if is_secret(key) { hidden(value) } else { self.value(value) };
                    (self.text(key), value)
                };
                Value::Object(map.iter().map(field).collect())
            }
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::String(text) => self.text(text).into(),
            Value::Number(number) if self.secrets.contains(&number.to_string()) => MASKED.into(),
            other => other.clone(),
        }
    }

    pub fn changes(&self, changes: &[Change]) -> Vec<Change> {
        let value = |key: &str, value: &Option<String>| {
            value.as_ref().map(|text| if is_secret(key) { MASKED.to_owned() } else { self.text(text) })
        };
        let one = |change: &Change| Change {
            key: change.key.clone(),
            old: value(&change.key, &change.old),
            new: value(&change.key, &change.new),
        };
        changes.iter().map(one).collect()
    }
}

/// Whatever it is, without its content; whether it is set may be seen.
fn hidden(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value.clone(),
        _ => MASKED.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pve::Request;

    #[test]
    fn secrets_go_by_value_and_by_name_however_deep() {
        let plan = Plan::new("p").step(Request::put("/x").secret("cipassword", "hunter2").secret("pin", "12"));
        let redactor = Redactor::of(&plan);
        let given = json!({"vmid": 112, "params": {"ciPassword": "x", "list": [{"Token": 5}, "12", 12, "a hunter2 b"]},
            "token_privsep": true, "password": null, "text": "user: a\npassword: geheim"});
        let clean = json!({"vmid": 112, "params": {"ciPassword": MASKED, "list": [{"Token": MASKED}, MASKED, MASKED,
            format!("a {MASKED} b")]}, "token_privsep": true, "password": null,
            "text": format!("user: a\npassword: {MASKED}")});
        assert_eq!(redactor.value(&given), clean);
        let change = |key: &str, new: &str| Change { key: key.to_owned(), old: None, new: Some(new.to_owned()) };
        let changes = redactor.changes(&[change("cipassword", "$5$x"), change("name", "hunter2")]);
        assert_eq!(changes, [change("cipassword", MASKED), change("name", MASKED)]);
    }
}
