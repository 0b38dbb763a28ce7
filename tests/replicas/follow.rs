//! What changes on one replica has changed on all.

use serde_json::json;

use crate::server::training;
use crate::system::{SOON, System, live, until};

#[test]
fn what_is_published_on_one_replica_answers_on_all_within_three_seconds() {
    let Some(system) = System::of(3) else { return };
    let [first, second, third] = &system.replicas[..] else { unreachable!() };
    // An empty database, migrated once by three.
    for replica in &system.replicas {
        assert_eq!(live(replica), json!({}));
    }
    let job = first.train(&training(0, 3));
    assert_eq!(third.finished(&job)["state"], "succeeded");
    system.answers_soon_with(1);
    let job = second.train(&training(1, 3));
    assert_eq!(first.finished(&job)["state"], "succeeded");
    system.answers_soon_with(2);

    for task in ["topic", "sentiment"] {
        let promoted = third.post(&format!("/heads/{task}/promote"), &json!({"version": 1}));
        assert_eq!(promoted.status, 200, "{promoted:?}");
    }
    system.answers_soon_with(1);
    for task in ["topic", "sentiment"] {
        let path = format!("/heads/{task}/rollback");
        let back = second.request("POST", &path, &[], Vec::new());
        assert_eq!(back.status, 200, "{back:?}");
    }
    system.answers_soon_with(2);
    for replica in &system.replicas {
        assert_eq!(replica.get("/train").body["jobs"].as_array().unwrap().len(), 2);
        let metrics = replica.get("/metrics").body;
        let metrics = metrics.as_str().unwrap();
        assert!(metrics.contains("polyhead_store_up 1\n"), "{metrics}");
        let lag = metrics.lines().find_map(|it| it.strip_prefix("polyhead_heads_lag_seconds "));
        assert!(lag.unwrap().parse::<f64>().unwrap() < SOON.as_secs_f64(), "{lag:?}");
    }
}

#[test]
fn a_task_that_is_made_or_deleted_on_one_replica_is_so_on_all() {
    let Some(system) = System::of(2) else { return };
    let [first, second] = &system.replicas[..] else { unreachable!() };
    let made = first.put("/heads/mood", &json!({"labels": ["up", "down"]}));
    assert_eq!(made.status, 201, "{made:?}");
    // One that has not heard of it yet makes no other one.
    let again = second.put("/heads/mood", &json!({"labels": ["up", "down"]}));
    assert_eq!((again.status, &again.body), (200, &made.body), "{again:?}");
    let deleted = second.delete("/heads/mood");
    assert_eq!(deleted.status, 204, "{deleted:?}");
    until("the task is gone", SOON, || (first.get("/heads/mood").status == 404).then_some(()));
    let made = second.put("/heads/mood", &json!({"labels": ["left", "right", "none"]}));
    assert_eq!(made.status, 201, "{made:?}");
    until("the task is back with other labels", SOON, || {
        (first.get("/heads/mood").body == made.body).then_some(())
    });
    // A job is run by whoever comes first, and knows the task.
    let labels = ["left", "right", "none"];
    let rows = (0..30).map(|row| json!({"text": format!("row {row}"), "label": labels[row % 3]}));
    let rows: Vec<_> = rows.collect();
    let job = first.train(&json!({"task": "mood", "examples": rows}));
    assert_eq!(second.finished(&job)["published"], json!({"mood": 1}));
}
