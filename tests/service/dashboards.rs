//! The dashboard and the alerts in `deploy/`: every metric and every label that they name is one that
//! `/metrics` really has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::app::{TestApp, in_repository, seed_examples};

const DASHBOARD: &str = "deploy/grafana/polyhead.json";
const ALERTS: &str = "deploy/prometheus/alerts.yml";

/// The labels of each metric.
type Exposed = BTreeMap<String, BTreeSet<String>>;

#[tokio::test]
async fn dashboard_and_alerts_name_only_what_is_exposed() {
    let exposed = exposition_of_everything().await;
    for (file, least) in [(DASHBOARD, 15), (ALERTS, 6)] {
        let text = fs::read_to_string(in_repository(file)).unwrap().replace("\\\"", "\"");
        let named = metrics_named(&text);
        assert!(named.len() >= least, "{file} names {} metrics", named.len());
        for (metric, labels) in named {
            let known = exposed.get(&metric);
            let known = known.unwrap_or_else(|| panic!("{file}: there is no metric {metric}"));
            for label in labels {
                assert!(known.contains(&label), "{file}: {metric} has no label {label}: {known:?}");
            }
        }
        for label in labels_grouped_by(&text) {
            let is_known = exposed.values().any(|labels| labels.contains(&label));
            assert!(is_known, "{file}: no metric has the label {label}");
        }
    }
}

#[tokio::test]
async fn the_dashboard_shows_every_metric() {
    let text = fs::read_to_string(in_repository(DASHBOARD)).unwrap().replace("\\\"", "\"");
    let shown: Exposed = metrics_named(&text);
    let parts = ["_bucket", "_sum", "_count"];
    let family = |metric: &str| {
        let part = parts.iter().find_map(|part| metric.strip_suffix(part));
        part.unwrap_or(metric).to_owned()
    };
    let shown: BTreeSet<String> = shown.keys().map(|metric| family(metric)).collect();
    let exposed = exposition_of_everything().await;
    let exposed: BTreeSet<String> = exposed.keys().map(|metric| family(metric)).collect();
    assert_eq!(shown, exposed);
}

#[test]
fn the_dashboard_can_be_imported_anywhere() {
    let text = fs::read_to_string(in_repository(DASHBOARD)).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(dashboard["id"], Value::Null, "Grafana gives it one");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|it| it["type"] == "datasource" && it["query"] == "prometheus"));
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels with one id: {panel}");
        let grid = &panel["gridPos"];
        assert!(grid["x"].as_u64().unwrap() + grid["w"].as_u64().unwrap() <= 24, "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
    }
}

/// What `/metrics` has once each of its metrics has counted something.
async fn exposition_of_everything() -> Exposed {
    let app = TestApp::with(|config| config.training.queued_jobs = 1.try_into().unwrap()).await;
    app.embed(json!({"inputs": ["a", "film ".repeat(50)]})).await;
    app.trained(json!({"examples": seed_examples()})).await;
    let running = app.train_for_ever().await;
    app.submit(json!({"examples": seed_examples()})).await;
    let (refused, _) = app.post("/train", json!({"examples": seed_examples()})).await;
    assert_eq!(refused, StatusCode::TOO_MANY_REQUESTS);
    app.delete(&format!("/train/{running}")).await;
    let mut exposed = Exposed::new();
    for line in app.metrics().await.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (metric, labels) = series.split_once('{').unwrap_or((series, ""));
        // What Prometheus adds to whatever it scrapes.
        let known = exposed.entry(metric.to_owned()).or_default();
        known.extend(["job".to_owned(), "instance".to_owned()]);
        known.extend(labels.split(',').filter_map(|it| Some(it.split_once('=')?.0.to_owned())));
    }
    exposed
}

/// The metrics of polyhead that stand in `text`, with the labels that are asked of each.
fn metrics_named(text: &str) -> Exposed {
    let mut named = Exposed::new();
    for (start, _) in text.match_indices("polyhead_") {
        let word = |it: char| it.is_ascii_alphanumeric() || it == '_';
        let rest = &text[start..];
        let metric = &rest[..rest.find(|it| !word(it)).unwrap_or(rest.len())];
        let labels = named.entry(metric.to_owned()).or_default();
        let Some(matchers) = rest[metric.len()..].strip_prefix('{') else { continue };
        let matchers = &matchers[..matchers.find('}').unwrap()];
        labels.extend(
            matchers
                .split(',')
                .map(|matcher| matcher.split(['=', '!']).next().unwrap().trim().to_owned()),
        );
    }
    named
}

/// The labels that stand behind `by` and `on`.
fn labels_grouped_by(text: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    for keyword in [" by (", " on (", " by(", " on("] {
        for (start, _) in text.match_indices(keyword) {
            let list = &text[start + keyword.len()..];
            let list = &list[..list.find(')').unwrap()];
            labels.extend(list.split(',').map(|label| label.trim().to_owned()));
        }
    }
    labels
}
