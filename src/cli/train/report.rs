//! What came of a job, task by task.

use serde_json::Value;

/// Shares, by the names that they have in the table and in the record.
const SHARES: [(&str, &str); 3] =
    [("accuracy", "accuracy"), ("micro-F1", MICRO_F1), ("macro-F1", "macro_f1")];

/// Of multi-label tasks alone: where a text has exactly one label, it is the accuracy.
const MICRO_F1: &str = "micro_f1";

/// One row a task: how good the version is that the job made, on what that was seen, its number, and
/// what became of it.
pub fn report(job: &Value) -> String {
    let tasks = job["spec"]["tasks"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let scored: Vec<(&str, &Value, String)> = tasks
        .map(|task| {
            let (scores, on) = scores(job, task);
            (task, scores, on)
        })
        .collect();
    let multi_label = scored.iter().any(|(_, scores, _)| scores[MICRO_F1].is_f64());
    let shares: Vec<_> = SHARES.into_iter().filter(|it| it.1 != MICRO_F1 || multi_label).collect();

    let mut header = vec!["task"];
    header.extend(shares.iter().map(|(title, _)| title));
    header.extend(["rows", "version", "state"]);
    let mut table = vec![header.into_iter().map(str::to_owned).collect()];
    for (task, scores, on) in scored {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let share = |name: &str| or_dash(scores[name].as_f64().map(|share| format!("{share:.4}")));
        let (version, state) = outcome(job, task);
        let mut row = vec![task.to_owned()];
        row.extend(shares.iter().map(|(_, name)| share(name)));
        row.extend([
            or_dash(scores["rows"].as_u64().map(|rows| format!("{rows} {on}"))),
            or_dash(version.map(|version| version.to_string())),
            state.to_owned(),
        ]);
        table.push(row);
    }
    aligned(&table)
}

fn aligned(table: &[Vec<String>]) -> String {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|it| width(it).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    table.iter().map(line).collect()
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
    fn a_multi_label_task_is_shown_by_its_micro_f1_too() {
        let evaluation = json!({
            "on": "held_out", "accuracy": 0.8, "micro_f1": 0.9123, "macro_f1": 0.85, "rows": 50,
        });
        let job = json!({
            "state": "succeeded", "spec": {"tasks": ["tags", "topic"], "frozen": []},
            "published": {"tags": 2, "topic": 1}, "epochs": [],
            "result": {"tasks": {
                "tags": {"evaluation": evaluation},
                "topic": {"evaluation": {"on": "held_out", "accuracy": 0.5, "macro_f1": 0.25, "rows": 9}},
            }},
        });
        assert_eq!(
            report(&job),
            "task   accuracy  micro-F1  macro-F1  rows         version  state\n\
             tags   0.8000    0.9123    0.8500    50 held out  2        live\n\
             topic  0.5000    -         0.2500    9 held out   1        live\n"
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
