//! What is listed of an older name: its schema is made of those of the tools behind.

use serde_json::{Map, Value, json};

use super::{
    CLUSTER, Listed,
    alias::{Alias, To},
};
use crate::{app::App, policy::Effect, schema};

impl Alias {
    /// What a caller is told of it; nothing, where none of the tools behind can be called.
    pub fn listed(&'static self, app: &App) -> Option<Listed> {
        let callable: Vec<_> = self.entries().filter(|entry| app.can_call(entry)).collect();
        let first = *callable.first()?;
        Some(Listed {
            name: self.name,
            title: self.title,
            description: self.description.to_owned(),
            input: self.listed_schema(app),
            effect: callable.iter().map(|entry| entry.effect).max().unwrap_or(Effect::Read),
            destroys: !self.harmless && callable.iter().any(|entry| entry.may_destroy()),
            entry: first,
        })
    }

    /// As a model is given it: the older arguments, and of the keys about the call those that matter before it.
    fn listed_schema(&self, app: &App) -> Map<String, Value> {
        let mut schema = schema::listed(self.schema(), None, true);
        let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return schema };
        for entry in self.entries().filter(|entry| app.can_call(entry)) {
            let ours = app.listed(entry);
            let taken = |key: &str| match key {
                "dry_run" => true,
                "confirm" => !self.at_once(app, entry),
                "snapshot_first" => entry.may_destroy() && !self.harmless,
                _ => key == CLUSTER,
            };
            for (key, property) in ours.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if taken(key) {
                    properties.entry(key).or_insert_with(|| property.clone());
                }
            }
        }
        schema
    }

    /// Of the older arguments alone: what a call's are held to.
    pub fn schema(&self) -> Map<String, Value> {
        let ours: Vec<_> = self.entries().map(|entry| entry.input_schema(&[])).collect();
        let property = |own: &str| ours.iter().find_map(|schema| schema.get("properties")?.get(own));
        let mut properties = Map::new();
        for argument in self.arguments {
            let own = match argument.to {
                To::Own(own) => property(own).and_then(Value::as_object),
                _ => None,
            };
            let mut schema = own.cloned().unwrap_or_default();
            schema.shift_remove("default");
            if let Some(kind) = argument.kind {
                schema = Map::from_iter([("type".to_owned(), kind.into())]);
            }
            if let Some(default) = argument.left_out() {
                schema.insert("default".to_owned(), default);
            }
            if !argument.words.is_empty() {
                schema.insert("description".to_owned(), argument.words.into());
            }
            properties.insert(argument.name.to_owned(), schema.into());
        }
        let needed: Vec<_> = self.arguments.iter().filter(|a| a.needed).map(|a| a.name).collect();
        let schema = json!({"type": "object", "properties": properties, "required": needed});
        schema.as_object().cloned().unwrap_or_default()
    }
}
