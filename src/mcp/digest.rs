//! What a watched resource is compared by: its content without what changes all the time. Load, used memory and uptime are
//! no news; a state, a configuration or a percent more of a storage are.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::resource_kinds::Target;

/// A number that differs when the resource does.
pub fn of(target: &Target, data: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    match target {
        Target::Cluster { kind, .. } => stable(data.clone(), kind.noise, kind.coarse).to_string().hash(&mut hasher),
        Target::Tools | Target::Tool(_) => data.as_str().hash(&mut hasher),
    }
    hasher.finish()
}

/// Without the noise, and with the coarse numbers as whole ones.
fn stable(mut data: Value, noise: &[&str], coarse: &[&str]) -> Value {
    for path in noise {
        each(&mut data, path, &|map, key| drop(map.remove(key)));
    }
    for path in coarse {
        each(&mut data, path, &|map, key| {
            if let Some(number) = map.get(key).and_then(Value::as_f64) {
                map.insert(key.to_owned(), Value::from(number as i64));
            }
        });
    }
    data
}

/// Does something to every field that a path leads to.
fn each(data: &mut Value, path: &str, act: &impl Fn(&mut serde_json::Map<String, Value>, &str)) {
    match (path.split_once('/'), data) {
        (Some(("*", rest)), Value::Array(rows)) => rows.iter_mut().for_each(|row| each(row, rest, act)),
        (Some((key, rest)), Value::Object(map)) => {
            if let Some(inner) = map.get_mut(key) {
                each(inner, rest, act);
            }
        }
        (None, Value::Object(map)) => act(map, path),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn noise_is_left_out_of_every_row_and_coarse_numbers_are_whole() {
        let data =
            json!({"nodes": [{"node": "a", "cpu": 1}, {"node": "b"}], "memory": {"used": 3, "total": 4}, "full": 12.7});
        let stable = stable(data, &["nodes/*/cpu", "memory/used", "not/there"], &["full", "none"]);
        assert_eq!(stable, json!({"nodes": [{"node": "a"}, {"node": "b"}], "memory": {"total": 4}, "full": 12}));
    }
}
