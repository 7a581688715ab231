//! Resources: what can be read without a tool call. The list, the templates, and reading, which goes through the tools
//! of the registry, so that policy, scopes and errors are the same.

use rmcp::{
    ErrorData,
    model::{
        Annotations, ListResourceTemplatesResult, ListResourcesResult, PaginatedRequestParams, ReadResourceResult,
        Resource, ResourceContents, ResourceTemplate, Role,
    },
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    pages::{self, LISTED_MS, PAGE, SCOPE, STATE_MS},
    reference,
    resource_kinds::{CLUSTER, KINDS, Kind, Show, TOOL_TEMPLATE, TOOLS_URI, Target, may_use},
};
use crate::{
    call::{self, App, Context},
    error::{Error, Kind as ErrorKind, Result},
};

/// One page of the resources that have no variables: of every cluster, and the tools' list.
///
/// # Errors
/// Invalid parameters, for a bad cursor.
pub fn list(app: &App, request: Option<PaginatedRequestParams>) -> Result<ListResourcesResult, ErrorData> {
    let of_clusters = app.names().into_iter().flat_map(|cluster| {
        let fixed = KINDS.iter().filter(|kind| kind.variables().next().is_none() && kind.is_allowed(app));
        fixed.map(move |kind| {
            Resource::new(kind.uri(cluster), format!("{cluster}-{}", kind.name))
                .with_title(format!("{} ({cluster})", kind.title))
                .with_description(kind.description)
                .with_mime_type(kind.mime_type())
                .with_annotations(annotations(kind.priority))
        })
    });
    let tools = Resource::new(TOOLS_URI, "tools")
        .with_title("Tools")
        .with_description("Every tool that may be used here: name, title, and what it does to the cluster.")
        .with_mime_type(reference::MIME_TYPE)
        .with_annotations(annotations(0.2));
    let all: Vec<Resource> = of_clusters.chain([tools]).collect();
    let (resources, next_cursor) = pages::page(&all, PAGE, request, |resource| resource.uri.clone())?;
    let mut result = ListResourcesResult::with_all_items(resources).with_ttl_ms(LISTED_MS).with_cache_scope(SCOPE);
    result.next_cursor = next_cursor;
    Ok(result)
}

/// One page of the templates. The only cluster stands in them by its name; of several, each is a value of a variable.
///
/// # Errors
/// Invalid parameters, for a bad cursor.
pub fn templates(app: &App, request: Option<PaginatedRequestParams>) -> Result<ListResourceTemplatesResult, ErrorData> {
    let cluster = match app.names()[..] {
        [] => None,
        [only] => Some(only.to_owned()),
        _ => Some(format!("{{{CLUSTER}}}")),
    };
    let of_clusters = cluster.iter().flat_map(|cluster| {
        let kinds = KINDS.iter().filter(|kind| kind.variables().next().is_some() && kind.is_allowed(app));
        kinds.map(move |kind| {
            ResourceTemplate::new(kind.uri(cluster), kind.name)
                .with_title(kind.title)
                .with_description(kind.description)
                .with_mime_type(kind.mime_type())
                .with_annotations(annotations(kind.priority))
        })
    });
    let tool = ResourceTemplate::new(TOOL_TEMPLATE, "tool")
        .with_title("Reference of a tool")
        .with_description("One tool: description, arguments with bounds and defaults, an example, full schemas.")
        .with_mime_type(reference::MIME_TYPE)
        .with_annotations(annotations(0.2));
    let all: Vec<ResourceTemplate> = of_clusters.chain([tool]).collect();
    let (templates, next_cursor) = pages::page(&all, PAGE, request, |template| template.uri_template.clone())?;
    let mut result =
        ListResourceTemplatesResult::with_all_items(templates).with_ttl_ms(LISTED_MS).with_cache_scope(SCOPE);
    result.next_cursor = next_cursor;
    Ok(result)
}

/// People look at them as models do.
fn annotations(priority: f32) -> Annotations {
    Annotations::default().with_audience(vec![Role::User, Role::Assistant]).with_priority(priority)
}

/// Answers `resources/read`.
///
/// # Errors
/// Resource not found; an internal error with Proxmox's words where it cannot be read.
pub async fn read(app: &App, uri: &str, cancel: CancellationToken) -> Result<ReadResourceResult, ErrorData> {
    let Some(target) = Target::parse(app, uri) else { return Err(unknown(uri)) };
    let content = content(app, &target, None, cancel).await.map_err(|error| refusal(uri, &error))?;
    let ttl = if matches!(target, Target::Cluster { .. }) { STATE_MS } else { LISTED_MS };
    let contents = ResourceContents::text(content.text, uri).with_mime_type(content.mime_type);
    Ok(ReadResourceResult::new(vec![contents]).with_ttl_ms(ttl).with_cache_scope(SCOPE))
}

/// A resource as it was read.
pub struct Content {
    pub mime_type: &'static str,
    pub text: String,
    /// What the text was made of.
    pub data: Value,
    /// The tool that answered.
    pub tool: Option<&'static str>,
}

/// Reads a resource. `tool` is asked first, where several may be right and one was last time.
///
/// # Errors
/// The tool's.
pub async fn content(
    app: &App,
    target: &Target,
    tool: Option<&'static str>,
    cancel: CancellationToken,
) -> Result<Content> {
    let kind = match target {
        Target::Tools => return Ok(document(reference::list(app))),
        Target::Tool(name) => return reference::tool(app, name).map(document),
        Target::Cluster { kind, .. } => *kind,
    };
    let (data, tool) = ask(app, kind, target, tool, cancel).await?;
    let data = match kind.show {
        Show::Field(field) => data.get(field).cloned().unwrap_or_default(),
        Show::Whole | Show::Lines => data,
    };
    let text = if kind.show == Show::Lines { lines(&data) } else { data.to_string() };
    Ok(Content { mime_type: kind.mime_type(), text, data, tool: Some(tool) })
}

/// The first tool's answer that does not say the thing is none of its.
async fn ask(
    app: &App,
    kind: &'static Kind,
    target: &Target,
    first: Option<&'static str>,
    cancel: CancellationToken,
) -> Result<(Value, &'static str)> {
    let mut tools: Vec<&'static str> = kind.tools.to_vec();
    tools.sort_by_key(|tool| Some(*tool) != first);
    let context = Context { cancel, ..Context::default() };
    let mut refused = None;
    for tool in tools {
        match call::run(app, tool, target.arguments(app), &context).await {
            Ok(answer) => return Ok((answer.data, tool)),
            // A guest of the other kind, or of one that nobody may look at here. That there is no such guest is the
            // same for both.
            Err(error) if matches!(error.kind(), ErrorKind::BadArgument | ErrorKind::Denied) => {
                refused.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| Error::internal(format!("nothing reads {}", kind.path))))
}

fn document(text: String) -> Content {
    Content { mime_type: reference::MIME_TYPE, data: Value::from(text.as_str()), text, tool: None }
}

fn lines(data: &Value) -> String {
    let lines: Vec<&str> = data["lines"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let total = data["total"].as_u64().unwrap_or_default();
    let mut text = lines.join("\n");
    if total > lines.len() as u64 {
        text = format!("(the last {} of {total} lines)\n{text}", lines.len());
    }
    text
}

/// That there is no such resource, by the code of the client's version of the protocol.
pub fn unknown(uri: &str) -> ErrorData {
    let shown: String = uri.chars().take(200).collect();
    let words =
        format!("there is no resource '{shown}': resources/list and resources/templates/list show what there is");
    ErrorData::resource_not_found(words, Some(json!({"uri": uri})))
}

/// A tool's error as the answer to a read.
pub fn refusal(uri: &str, error: &Error) -> ErrorData {
    let data = json!({"uri": uri, "error": error.parts()});
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::BadArgument => ErrorData::resource_not_found(error.report(), Some(data)),
        _ => ErrorData::internal_error(error.report(), Some(data)),
    }
}

/// Whether there is a resource of this form, of a tool that may be used.
pub fn is_readable(app: &App, target: &Target) -> bool {
    match target {
        Target::Tools | Target::Tool(_) => true,
        Target::Cluster { kind, .. } => kind.tools.iter().any(|tool| may_use(app, tool)),
    }
}
