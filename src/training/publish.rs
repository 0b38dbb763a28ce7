//! The end of a job that was fit: judged, made durable, then live.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use crate::heads::head::Head;
use crate::heads::live::{LiveHeads, LiveTask};
use crate::heads::{HeadVersion, Task};
use crate::store::{NewVersion, Outcome, Store, StoreError, Twin};
use crate::training::background::compute;
use crate::training::job::{Job, JobState};
use crate::training::result::{JobResult, Promote, TaskResult};
use crate::training::run::{Fitted, HeldOut, Trained};
use crate::training::unseen::Unseen;
use crate::training::verdict::{Verdict, judge};

/// Judges each new head against the one that answers now, stores the versions and makes those live
/// that are to be. Heads are independent: each goes live or not by its own verdict.
pub(super) async fn publish(
    store: &Store,
    heads: &LiveHeads,
    job: &Job,
    fitted: &Fitted,
) -> Result<JobState, StoreError> {
    // From the verdict until the swap, nobody else may change what is live.
    let writer = heads.write().await;
    let snapshot = heads.snapshot();
    let mut outcome = Outcome::default();
    let mut tasks = BTreeMap::new();
    for trained in &fitted.heads {
        let name = &trained.task.name;
        let champion = snapshot.get(name).filter(|live| live.version.is_trained());
        let verdict = verdict(store, job, fitted, trained, champion.map(Arc::as_ref)).await?;
        let live = match job.spec.promote {
            Promote::IfNotWorse => verdict.allows(),
            Promote::Always => true,
            Promote::Never => false,
        };
        if !live && job.spec.promote == Promote::IfNotWorse {
            outcome.rejected.insert(name.clone());
        }
        let champion_version = champion.map(|live| live.version.version);
        // Only a verdict that counts has to be about what is live.
        if job.spec.promote == Promote::IfNotWorse {
            let mismatched = snapshot.get(name).and_then(|live| live.mismatched);
            outcome.champions.insert(name.clone(), champion_version.or(mismatched));
        }
        let evaluation = Some(trained.evaluation.clone());
        let result = TaskResult { version: None, live, champion_version, verdict, evaluation };
        tasks.insert(name.clone(), result);
        outcome.versions.push(new_version(trained, fitted.held_out.as_deref(), live));
    }
    let went_live = outcome.versions.iter().any(|version| version.goes_live);
    let rejected = !outcome.rejected.is_empty() && !went_live;
    outcome.reason = rejected.then(|| reason(&outcome.rejected, &tasks));
    outcome.result =
        Some(JobResult { texts: fitted.texts, rows: fitted.rows, seconds: fitted.seconds, tasks });
    let stored = store.finish(&job.id, outcome).await?;
    let grown = fitted.heads.iter().filter_map(|trained| {
        let Task { name, labels, .. } = &trained.task;
        let task = &snapshot.get(name).filter(|live| live.task.labels != *labels)?.task;
        Some(Task { labels: labels.clone(), ..task.clone() })
    });
    writer.grow(grown.collect());
    let live = stored.into_iter().zip(&fitted.heads).filter(|(info, _)| info.live);
    let live = live.map(|(info, it)| HeadVersion::published(info, it.head.clone()));
    writer.publish(live.collect());
    Ok(if rejected { JobState::Rejected } else { JobState::Succeeded })
}

async fn verdict(
    store: &Store,
    job: &Job,
    fitted: &Fitted,
    trained: &Trained,
    champion: Option<&LiveTask>,
) -> Result<Verdict, StoreError> {
    let Some(champion) = champion else { return Ok(Verdict::Unopposed) };
    let Some(held_out) = fitted.held_out.clone() else {
        return Ok(Verdict::TooFewRows { rows: 0 });
    };
    let (champion, unseen) = twin(store, champion).await?;
    let (challenger, margin) = (trained.challenger().clone(), job.spec.margin);
    let place = held_out.place(&trained.task.name);
    let judging = compute(move || {
        let rows = held_out.data.labelled_among(place, held_out.fair_to(unseen.as_ref()));
        judge(&challenger, Some(&champion), &rows, margin)
    });
    Ok(judging.await.expect("heads of one task and encoder fit the same rows"))
}

/// The live version's head that was fit without held-out rows, and which these were; or the live head
/// itself, which has seen all that there was. Of one that was imported nobody knows: no row is held
/// against it.
pub(super) async fn twin(
    store: &Store,
    live: &LiveTask,
) -> Result<(Head, Option<Unseen>), StoreError> {
    let stored = store.version(&live.task.name, live.version.version).await?;
    let imported = stored.as_ref().is_some_and(|stored| stored.info.job.is_none());
    let twin = stored.and_then(|stored| stored.twin).and_then(|twin| {
        // One that cannot be read is as good as none.
        Some((Head::from_bytes(&twin.weights).ok()?, Some(Unseen::from_bytes(&twin.unseen)?)))
    });
    let itself = || (live.version.head.clone(), (!imported).then(Unseen::default));
    Ok(twin.unwrap_or_else(itself))
}

fn new_version(trained: &Trained, held_out: Option<&HeldOut>, goes_live: bool) -> NewVersion {
    let twin = trained.twin.as_ref().zip(held_out).map(|(twin, held_out)| Twin {
        weights: twin.to_bytes(),
        unseen: held_out.unseen(held_out.place(&trained.task.name)).to_bytes(),
    });
    NewVersion {
        task: trained.task.clone(),
        encoder: trained.encoder.clone(),
        parent: trained.parent,
        weights: trained.head.to_bytes(),
        twin,
        evaluation: Some(json!(trained.evaluation)),
        goes_live,
    }
}

fn reason(rejected: &BTreeSet<String>, tasks: &BTreeMap<String, TaskResult>) -> String {
    let of_task = |task: &String| match tasks[task].verdict {
        Verdict::Worse(it) => Some(format!(
            "task {task:?}: the new version has an accuracy of {:.4} on {} held-out rows, the live one {:.4}; allowed: at most {} less",
            it.challenger, it.rows, it.champion, it.margin
        )),
        Verdict::Unopposed | Verdict::TooFewRows { .. } | Verdict::NotWorse(_) => None,
    };
    rejected.iter().filter_map(of_task).collect::<Vec<_>>().join("; ")
}
