//! What came of a job, task by task.

use serde_json::Value;

/// One row a task: its accuracy after the last epoch, on what that was measured, the version that
/// the job made, and what became of it.
pub fn report(job: &Value) -> String {
    let epochs = job["epochs"].as_array().map_or(0, Vec::len);
    let last = &job["epochs"][epochs.saturating_sub(1)];
    let tasks = job["spec"]["tasks"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut rows = vec![["task", "accuracy", "rows", "version", "state"].map(str::to_owned)];
    for task in tasks {
        let scores = &last["tasks"][task];
        let (measured, on) = match &scores["validation"] {
            Value::Null => (&scores["train"], "training"),
            validation => (validation, "validation"),
        };
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let (version, state) = outcome(job, task);
        rows.push([
            task.to_owned(),
            or_dash(measured["accuracy"].as_f64().map(|accuracy| format!("{accuracy:.4}"))),
            or_dash(measured["rows"].as_u64().map(|rows| format!("{rows} {on}"))),
            or_dash(version.map(|version| version.to_string())),
            state.to_owned(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 5] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
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
        let scores = |accuracy: f64, rows: usize| json!({"accuracy": accuracy, "rows": rows});
        let job = json!({
            "state": "succeeded",
            "spec": {"tasks": ["sentiment", "topic"], "frozen": ["sentiment"]},
            "published": {"topic": 12},
            "epochs": [
                {"tasks": {}},
                {"tasks": {
                    "sentiment": {"train": scores(1.0, 5)},
                    "topic": {"train": scores(1.0, 900), "validation": scores(0.93212, 100)},
                }},
            ],
        });
        assert_eq!(
            report(&job),
            "task       accuracy  rows            version  state\n\
             sentiment  1.0000    5 training      -        frozen\n\
             topic      0.9321    100 validation  12       live\n"
        );
    }

    #[test]
    fn a_version_that_was_rejected_is_still_named() {
        let job = json!({"state": "rejected", "spec": {"tasks": ["a"], "frozen": []},
            "published": {}, "epochs": [], "result": {"tasks": {"a": {"version": 3}}}});
        let last = report(&job).lines().last().unwrap().to_owned();
        assert_eq!(last.split_whitespace().collect::<Vec<_>>(), ["a", "-", "-", "3", "rejected"]);
    }

    #[test]
    fn a_job_without_an_epoch_has_rows_without_scores() {
        let job = json!({"state": "failed", "spec": {"tasks": ["a"], "frozen": []},
            "published": {}, "epochs": []});
        let last = report(&job).lines().last().unwrap().to_owned();
        assert_eq!(last.split_whitespace().collect::<Vec<_>>(), ["a", "-", "-", "-", "failed"]);
    }
}
