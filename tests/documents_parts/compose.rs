//! compose.yaml: what the program would be started with, with and without a `.env`.

use std::collections::BTreeMap;

use proxmox_mcp::config::Config;
use serde_json::Value;

use super::{image::Image, settings, shell, yaml};

pub struct Service(Value);

impl Service {
    pub fn read(text: &str) -> Self {
        let mut all = yaml::parse("compose.yaml", text);
        let services = all["services"].as_object().unwrap();
        assert_eq!(services.keys().collect::<Vec<_>>(), ["proxmox-mcp"]);
        Self(all["services"]["proxmox-mcp"].take())
    }

    /// The configuration of the program with this `.env`, which compose both fills in and hands on.
    pub fn settings(&self, dotenv: &[(&str, &str)]) -> Result<Config, String> {
        let dotenv: BTreeMap<String, String> =
            dotenv.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut env = dotenv.clone();
        for (name, value) in self.0["environment"].as_object().unwrap() {
            env.insert(name.clone(), filled(value.as_str().unwrap(), &dotenv));
        }
        // They come as an environment; here they are written down as a file has them.
        let quoted = |(name, value): (String, String)| (name, format!("'{value}'"));
        settings::resolve(&env.into_iter().map(quoted).collect::<Vec<_>>())
    }

    pub fn check(&self, image: &Image) {
        let Self(service) = self;
        assert_eq!(service["env_file"][0]["path"], ".env");
        assert_eq!(service["env_file"][0]["required"], false);
        assert_eq!(service["command"], Value::Null, "the image says what is run");
        for name in service["environment"].as_object().unwrap().keys() {
            settings::known(name).unwrap();
        }
        let config = self.settings(&[]).unwrap();
        let of_image = settings::resolve(&image.settings()).unwrap();
        assert_eq!((config.web.http, config.web.rest), (of_image.web.http, of_image.web.rest));
        assert_eq!(config.web.allowed_hosts, ["proxmox-mcp"]);
        let mut ports: Vec<String> = Vec::new();
        for address in [config.web.http, config.web.rest].into_iter().flatten() {
            assert!(address.ip().is_unspecified(), "{address} is not reached from outside the container");
            ports.push(format!("127.0.0.1:{0}:{0}", address.port()));
        }
        let published: Vec<&str> = service["ports"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(published, ports);
        let words: Vec<String> = serde_json::from_value(service["healthcheck"]["test"].clone()).unwrap();
        assert_eq!(words[..2], ["CMD", "/proxmox-mcp"]);
        shell::arguments("compose.yaml: healthcheck", &words[2..]);
        assert_eq!(service["read_only"], true);
        assert_eq!(service["cap_drop"][0], "ALL");
        assert_eq!(service["security_opt"][0], "no-new-privileges:true");
        let grace: u64 = service["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
        assert!(grace > config.shutdown_grace.as_secs());
    }
}

/// `${NAME-otherwise}`, as compose fills it in; otherwise may hold another.
fn filled(text: &str, dotenv: &BTreeMap<String, String>) -> String {
    let Some(inside) = text.strip_prefix("${").and_then(|text| text.strip_suffix('}')) else {
        assert!(!text.contains('$'), "{text}");
        return text.to_owned();
    };
    let (name, otherwise) = inside.split_once('-').unwrap_or((inside, ""));
    dotenv.get(name).cloned().unwrap_or_else(|| filled(otherwise, dotenv))
}
