//! What came of a job, task by task.

use serde_json::Value;

const COLUMNS: [&str; 6] = ["task", "accuracy", "macro-F1", "rows", "version", "state"];

/// One row a task: how good the version is that the job made, on what that was seen, its number, and
/// what became of it.
pub fn report(job: &Value) -> String {
    let tasks = job["spec"]["tasks"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    for task in tasks {
        let (scores, on) = scores(job, task);
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let share = |name: &str| or_dash(scores[name].as_f64().map(|share| format!("{share:.4}")));
        let (version, state) = outcome(job, task);
        rows.push([
            task.to_owned(),
            share("accuracy"),
            share("macro_f1"),
            or_dash(scores["rows"].as_u64().map(|rows| format!("{rows} {on}"))),
            or_dash(version.map(|version| version.to_string())),
            state.to_owned(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; COLUMNS.len()] =
        std::array::from_fn(|column| width(column).unwrap_or_default());
    let line = |row: &[String; COLUMNS.len()]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// The evaluation of a task, or for want of one its scores after the last epoch; and on which rows.
fn scores<'a>(job: &'a Value, task: &str) -> (&'a Value, String) {
    let evaluation = &job["result"]["tasks"][task]["evaluation"];
    if let Some(on) = evaluation["on"].as_str() {
        return (evaluation, on.replace('_', " "));
    }
    let epochs = job["epochs"].as_array().map_or(0, Vec::len);
    let last = &job["epochs"][epochs.saturating_sub(1)]["tasks"][task];
    match &last["validation"] {
        Value::Null => (&last["train"], "training".to_owned()),
        validation => (validation, "held out".to_owned()),
    }
}

/// The version that the job made for a task, if any, and whether it answers now.
fn outcome<'a>(job: &'a Value, task: &str) -> (Option<i64>, &'a str) {
    if let Some(version) = job["published"][task].as_i64() {
        return (Some(version), "live");
    }
    let mut frozen = job["spec"]["frozen"].as_array().into_iter().flatten();
    if frozen.any(|frozen| frozen == task) {
        return (None, "frozen");
    }
    // A version that was not let through is kept all the same.
    let kept = job["result"]["tasks"][task]["version"].as_i64();
    (kept, job["state"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_task_has_its_row() {
        let evaluation =
            |on: &str| json!({"on": on, "accuracy": 0.93212, "macro_f1": 0.9, "rows": 100});
        let job = json!({
            "state": "succeeded",
            "spec": {"tasks": ["sentiment", "tone", "topic"], "frozen": ["sentiment"]},
            "published": {"topic": 12, "tone": 3},
            "epochs": [
                {"tasks": {}},
                {"tasks": {"sentiment": {"train": {"accuracy": 1.0, "rows": 5}}}},
            ],
            "result": {"tasks": {
                "tone": {"evaluation": evaluation("cross_validation")},
                "topic": {"evaluation": evaluation("held_out")},
            }},
        });
        assert_eq!(
            report(&job),
            "task       accuracy  macro-F1  rows                  version  state\n\
             sentiment  1.0000    -         5 training            -        frozen\n\
             tone       0.9321    0.9000    100 cross validation  3        live\n\
             topic      0.9321    0.9000    100 held out          12       live\n"
        );
    }

    #[test]
    fn a_version_that_was_rejected_is_still_named() {
        let job = json!({"state": "rejected", "spec": {"tasks": ["a"], "frozen": []},
            "published": {}, "epochs": [], "result": {"tasks": {"a": {"version": 3}}}});
        let last = report(&job).lines().last().unwrap().to_owned();
        assert_eq!(
            last.split_whitespace().collect::<Vec<_>>(),
            ["a", "-", "-", "-", "3", "rejected"]
        );
    }

    #[test]
    fn a_job_without_an_epoch_has_rows_without_scores() {
        let job = json!({"state": "failed", "spec": {"tasks": ["a"], "frozen": []},
            "published": {}, "epochs": []});
        let last = report(&job).lines().last().unwrap().to_owned();
        assert_eq!(
            last.split_whitespace().collect::<Vec<_>>(),
            ["a", "-", "-", "-", "-", "failed"]
        );
    }
}
