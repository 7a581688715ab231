//! The program's log: to stderr, as lines for people or as objects for machines.

use std::io::IsTerminal;

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, registry::LookupSpan};

use crate::{
    config::{Config, LogFormat},
    mcp,
};

/// Of the libraries only what is wrong: in more detail, they write down whole messages, with whatever is in them.
const LIBRARIES: LevelFilter = LevelFilter::WARN;

/// From now on, for the whole process. A second call (tests) keeps the first.
pub fn start(config: &Config) {
    let level = config.log_level;
    let filter = Targets::new().with_default(level.min(LIBRARIES)).with_target(env!("CARGO_CRATE_NAME"), level);
    let filter = filter.with_target(mcp::NOISE, LevelFilter::OFF);
    let log = tracing_subscriber::registry().with(lines(config.log_format).with_filter(filter));
    drop(tracing::subscriber::set_global_default(log));
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.with_ansi(false).json().flatten_event(true).with_span_list(false).boxed(),
    }
}
