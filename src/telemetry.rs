//! Structured logs on standard error.

use std::env;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogConfig, LogFormat};

/// Sends this process's events to standard error; once per process.
///
/// Colours appear only on a terminal, and not where `NO_COLOR` is set (<https://no-color.org>).
pub fn init(log: &LogConfig) -> Result<(), TryInitError> {
    let colours =
        io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    subscriber(log, io::stderr, colours).try_init()
}

/// Directives of [`EnvFilter`]: a level, or `target=level`, comma-separated.
///
/// Stricter in one thing: a lone word has to be a level. `EnvFilter` takes it as a target, so that
/// a misspelt level would switch everything else off without a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogFilter(String);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{directive:?} is not allowed: {}", LogFilter::EXPECTED)]
pub struct LogFilterError {
    directive: String,
}

impl LogFilter {
    pub(crate) const EXPECTED: &str = "a level (off, error, warn, info, debug, trace) or target=level, \
        several of them comma-separated, such as \"info,polyhead::http=debug\"";

    fn to_env_filter(&self) -> EnvFilter {
        // ONNX Runtime tells several hundred lines a session at `info`: it has to be asked by name.
        // And sqlx quotes what it does not understand of a database's address, which may be a password.
        EnvFilter::try_new(format!("ort=warn,sqlx_postgres::options=error,{}", self.0))
            .expect("each directive was parsed when the filter was made")
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(directives: &str) -> Result<Self, LogFilterError> {
        let wrong = |directive: &str| LogFilterError { directive: directive.to_owned() };
        for directive in directives.split(',') {
            let is_level = !directive.is_empty() && directive.parse::<LevelFilter>().is_ok();
            let names_a_target = directive.contains(['=', '[']);
            if !(is_level || names_a_target) || EnvFilter::try_new(directive).is_err() {
                return Err(wrong(directive));
            }
        }
        Ok(Self(directives.to_owned()))
    }
}

fn subscriber<W>(log: &LogConfig, writer: W, colours: bool) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(log.level.to_env_filter())
        .with_ansi(colours)
        // It would tell standard error that standard error cannot be written, and panic there: a full
        // disk, or the end of whoever reads the log, is no reason to answer no more requests.
        .log_internal_errors(false)
        .with_writer(writer);
    match log.format {
        LogFormat::Text => Box::new(builder.finish()),
        // The current span holds the request id; its parents would only repeat it.
        LogFormat::Json => {
            Box::new(builder.json().flatten_event(true).with_span_list(false).finish())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What a request logs under these settings.
    fn logged(format: LogFormat, level: &str, colours: bool) -> String {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = LogConfig { format, level: level.parse().unwrap() };
        let writer = {
            let lines = Arc::clone(&lines);
            move || Lines(Arc::clone(&lines))
        };
        tracing::subscriber::with_default(subscriber(&log, writer, colours), || {
            let _request = tracing::info_span!("request", id = "r-1").entered();
            tracing::info!(inputs = 3, "answered");
            tracing::debug!("in detail");
        });
        String::from_utf8(lines.lock().unwrap().clone()).unwrap()
    }

    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn json_logs_are_one_object_a_line_with_fields_and_request_id() {
        let logged = logged(LogFormat::Json, "debug", true);
        let events: Vec<serde_json::Value> =
            logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), 2);
        assert_eq!(events[0]["level"], "INFO");
        assert_eq!(events[0]["message"], "answered");
        assert_eq!(events[0]["inputs"], 3);
        assert_eq!(events[0]["span"]["id"], "r-1");
        assert!(events[0]["timestamp"].is_string());
    }

    #[test]
    fn text_logs_have_colours_only_where_asked_for() {
        let plain = logged(LogFormat::Text, "info", false);
        assert!(plain.contains("answered inputs=3"), "{plain}");
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
        assert!(logged(LogFormat::Text, "info", true).contains('\u{1b}'));
    }

    #[test]
    fn events_below_the_level_are_not_logged() {
        assert_eq!(logged(LogFormat::Text, "info", false).lines().count(), 1);
        assert_eq!(logged(LogFormat::Text, "debug", false).lines().count(), 2);
        assert_eq!(logged(LogFormat::Text, "off", false), "");
        assert_eq!(logged(LogFormat::Text, "warn,polyhead=debug", false).lines().count(), 2);
        assert_eq!(logged(LogFormat::Text, "warn,hyper=debug", false), "");
    }

    #[test]
    fn a_filter_is_levels_and_targets_with_levels() {
        for right in [
            "info",
            "WARN",
            "off",
            "info,polyhead::http=debug",
            "[request{id}]=trace",
            "a=debug,b=0",
        ] {
            assert!(right.parse::<LogFilter>().is_ok(), "{right}");
        }
    }

    #[test]
    fn a_misspelt_level_is_an_error_and_not_a_target() {
        for (wrong, directive) in
            [("inof", "inof"), ("info,polyhead=loud", "polyhead=loud"), ("", ""), ("info,", "")]
        {
            let error = wrong.parse::<LogFilter>().unwrap_err();
            assert_eq!(error.directive, directive);
            assert!(error.to_string().contains("off, error, warn, info, debug, trace"), "{error}");
        }
    }
}
