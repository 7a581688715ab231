//! The Dockerfile, as far as it says what the image is: its stages, its environment, and what is started.

use std::collections::BTreeMap;

use super::{settings, shell};

pub struct Image {
    /// Name and value, of the last stage.
    pub env: BTreeMap<String, String>,
    /// The other instructions of the last stage.
    last: Vec<(String, String)>,
    builds: Vec<String>,
}

impl Image {
    pub fn read(text: &str) -> Self {
        let text = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
        let text = text.replace("\\\n", " ");
        let (mut builds, mut last, mut env) = (Vec::new(), Vec::new(), BTreeMap::new());
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (instruction, rest) = line.trim().split_once(' ').unwrap_or_else(|| panic!("Dockerfile: {line}"));
            match instruction {
                "FROM" => {
                    builds.extend(
                        std::mem::take(&mut last).into_iter().map(|(name, rest): (String, String)| name + " " + &rest),
                    );
                    env.clear();
                }
                "ENV" => {
                    let pairs = rest.split_whitespace().filter_map(|pair| pair.split_once('='));
                    env.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
                }
                "ARG" | "RUN" | "COPY" | "WORKDIR" | "LABEL" | "USER" | "EXPOSE" | "HEALTHCHECK" | "ENTRYPOINT"
                | "CMD" => {}
                other => panic!("Dockerfile: nobody knows what {other} is"),
            }
            last.push((instruction.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        Self { env, last, builds }
    }

    fn only(&self, instruction: &str) -> &str {
        let all: Vec<&str> =
            self.last.iter().filter(|(name, _)| name == instruction).map(|(_, rest)| rest.as_str()).collect();
        assert_eq!(all.len(), 1, "{instruction}: {all:?}");
        all[0]
    }

    /// The words of an instruction in its JSON form: without a shell, which the image has not.
    fn words(&self, instruction: &str) -> Vec<String> {
        let text = self.only(instruction);
        let json = &text[text.find('[').unwrap_or_else(|| panic!("{instruction} needs a shell: {text}"))..];
        serde_json::from_str(json).unwrap()
    }

    pub fn check(&self) {
        assert_eq!(self.only("FROM"), "scratch");
        let user = self.only("USER");
        assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 1000)), "USER {user}");
        assert_eq!(self.words("ENTRYPOINT"), ["/proxmox-mcp"]);
        shell::arguments("Dockerfile: CMD", &self.words("CMD"));
        let health = self.words("HEALTHCHECK");
        assert_eq!(health[0], "/proxmox-mcp");
        shell::arguments("Dockerfile: HEALTHCHECK", &health[1..]);
        assert!(
            self.last
                .iter()
                .any(|(name, rest)| name == "LABEL" && rest.contains("io.modelcontextprotocol.server.name="))
        );
        assert!(self.builds.iter().any(|line| line.contains("--locked")), "{:?}", self.builds);
        let config = settings::resolve(&self.settings()).unwrap();
        let mut ports: Vec<String> =
            [config.web.http, config.web.rest].iter().flatten().map(|a| a.port().to_string()).collect();
        let mut exposed: Vec<&str> = self.only("EXPOSE").split(' ').collect();
        ports.sort();
        exposed.sort_unstable();
        assert_eq!(ports, exposed);
    }

    /// Of the environment, what is this program's.
    pub fn settings(&self) -> Vec<(String, String)> {
        let ours = self.env.iter().filter(|(name, _)| name.starts_with("PROXMOX_"));
        ours.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}
