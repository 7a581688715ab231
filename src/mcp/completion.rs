//! `completion/complete`: which argument of which prompt or template is being typed, and what its values come from. The
//! values are `suggest.rs`'s.

use rmcp::{
    ErrorData,
    model::{CompleteRequestParams, CompleteResult, CompletionInfo, Reference},
};
use tokio_util::sync::CancellationToken;

use super::{
    prompts,
    resource_kinds::{self, CLUSTER, TOOL_TEMPLATE},
    suggest::{self, Ask, Source},
};
use crate::call::App;

/// Answers `completion/complete`.
///
/// # Errors
/// Invalid parameters, for a prompt, template or argument that is not there. A cluster that does not answer is no error.
pub async fn complete(
    app: &App,
    request: CompleteRequestParams,
    cancel: CancellationToken,
) -> Result<CompleteResult, ErrorData> {
    let (source, cluster) = source(app, &request)?;
    let mut chosen = request.context.and_then(|context| context.arguments).unwrap_or_default();
    if let Some(cluster) = cluster {
        chosen.insert(CLUSTER.to_owned(), cluster);
    }
    let offer = suggest::offer(&Ask { app, source, typed: request.argument.value.trim(), chosen, cancel }).await;
    let mut info = CompletionInfo::new(offer.values).map_err(|words| ErrorData::internal_error(words, None))?;
    info.total = offer.total.and_then(|total| u32::try_from(total).ok());
    info.has_more = Some(offer.has_more);
    Ok(CompleteResult::new(info))
}

/// Where the argument's values come from, and the cluster, where the template names it.
fn source(app: &App, request: &CompleteRequestParams) -> Result<(Source, Option<String>), ErrorData> {
    let argument = request.argument.name.as_str();
    let refused = |words: String| Err(ErrorData::invalid_params(words, None));
    match &request.r#ref {
        Reference::Prompt(prompt) => match prompts::argument(app, &prompt.name, argument) {
            Ok(source) => Ok((source, None)),
            Err(words) => refused(words),
        },
        Reference::Resource(template) => {
            if template.uri == TOOL_TEMPLATE {
                return match argument {
                    "name" => Ok((Source::Tools, None)),
                    _ => refused(format!("argument.name: {} has only the variable name", template.uri)),
                };
            }
            let Some((cluster, kind)) = resource_kinds::template(app, &template.uri) else {
                let shown: String = template.uri.chars().take(200).collect();
                return refused(format!("ref.uri: there is no template '{shown}'"));
            };
            if cluster.is_none() && argument == CLUSTER {
                return Ok((Source::Clusters, None));
            }
            match kind.variables().find(|variable| *variable == argument).and_then(values_of) {
                Some(source) => Ok((source, cluster)),
                None => refused(format!("argument.name: {} has no variable '{argument}'", template.uri)),
            }
        }
        _ => refused("ref.type: expected ref/prompt or ref/resource".to_owned()),
    }
}

/// What a variable of a template can be.
fn values_of(variable: &str) -> Option<Source> {
    Some(match variable {
        "node" => Source::Nodes,
        "vmid" => Source::Vmids,
        "storage" => Source::Storages,
        "upid" => Source::Tasks,
        _ => return None,
    })
}
