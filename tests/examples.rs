//! Every tool's documented example, run for what it does and, where it changes something, as a dry run that leaves the
//! cluster as it was. Each in a cluster of its own.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::json;

#[tokio::test(start_paused = true)]
async fn every_example_runs() {
    // What is on record there is none of.
    for entry in proxmox_mcp::tools::all().filter(|entry| !entry.audited) {
        assert!(entry.example.0.len() > 9, "{}: no question", entry.name);
        let test = support::start(support::options()).await;
        let arguments = test.example(entry).await;
        let secrets = test.secrets(&arguments);
        let result = test.call(entry.name, arguments).await;
        for secret in secrets {
            assert!(!result.to_string().contains(&secret), "{} tells a secret: {result}", entry.name);
        }
        if entry.control.is_some() {
            assert!(matches!(result["state"].as_str(), Some("done" | "running")), "{}: {result}", entry.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_example_as_a_dry_run_sends_nothing_that_changes() {
    for entry in proxmox_mcp::tools::all().filter(|entry| entry.control.is_some() && !entry.audited) {
        let test = support::start(support::options()).await;
        let mut arguments = test.example(entry).await;
        arguments["dry_run"] = json!(true);
        arguments.as_object_mut().unwrap().remove("confirm");
        let result = test.call(entry.name, arguments).await;
        assert_eq!(result["state"], "planned", "{}: {result}", entry.name);
        let requests = result["requests"].as_array().is_some_and(|requests| !requests.is_empty());
        assert!(requests || result["no_undo"] == "nothing changes", "{}: {result}", entry.name);
        assert_eq!(test.sent.writes(), Vec::<String>::new(), "{}", entry.name);
    }
}
