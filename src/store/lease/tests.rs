use std::time::Duration;

use crate::config::OnRestart;
use crate::store::fixtures::*;
use crate::store::{Outcome, Recovered, Renewal, Store, StoreError};
use crate::training::job::{EpochReport, JobState};

/// A running job of a first replica, and a second one.
async fn two_replicas(lease: Duration) -> (tempfile::TempDir, Store, Store, String) {
    let (folder, first) = store_with_tasks().await;
    let first = first.with_leases_of(lease);
    let second = replica(&folder, &first).await;
    let job = start(&first, &spec(), &[example("a", &[("topic", "Finance")])]).await;
    (folder, first, second, job.id)
}

fn report(epoch: u32) -> Vec<EpochReport> {
    vec![EpochReport { epoch, loss: 1.5, tasks: [].into() }]
}

#[tokio::test]
async fn a_job_whose_lease_has_not_run_out_is_left_alone() {
    let (_folder, first, second, job) = two_replicas(Duration::from_secs(60)).await;
    for store in [&first, &second] {
        assert!(!store.has_work().await.unwrap());
        assert_eq!(store.recover(OnRestart::Fail).await.unwrap(), Recovered::default());
        assert_eq!(store.claim_next().await.unwrap(), None);
    }
    assert_eq!(first.renew(&job, None).await.unwrap(), Renewal::Continue);
    let published = finish(&first, &job, vec![new_version(topic(), b"w")]).await.unwrap();
    assert_eq!(published.len(), 1);
    let refused = first.renew(&job, None).await;
    assert!(matches!(refused, Err(StoreError::JobState { state: JobState::Succeeded, .. })));
}

#[tokio::test]
async fn a_job_of_a_silent_replica_is_taken_over_and_the_first_one_changes_nothing_any_more() {
    let (_folder, first, second, job) = two_replicas(Duration::ZERO).await;
    // Who is not told that it was recorded tries again.
    for _ in 0..2 {
        first.record_epochs(&job, &report(1)).await.unwrap();
    }
    assert_eq!(second.job(&job).await.unwrap().unwrap().epochs.len(), 1);
    assert!(second.has_work().await.unwrap());
    let recovered = second.recover(OnRestart::Resume).await.unwrap();
    assert_eq!(recovered, Recovered { queued: vec![job.clone()], ..Default::default() });
    let again = second.claim_next().await.unwrap().unwrap();
    assert_eq!((&again.id, again.attempts), (&job, 2));
    second.record_epochs(&job, &report(1)).await.unwrap();

    let lost =
        |refused: StoreError| matches!(refused, StoreError::LeaseLost { job: it } if it == job);
    assert!(lost(first.renew(&job, None).await.unwrap_err()));
    assert!(lost(first.record_epochs(&job, &report(2)).await.unwrap_err()));
    assert!(lost(first.fail(&job, "for the test").await.unwrap_err()));
    assert!(lost(first.stop(&job, "for the test").await.unwrap_err()));
    let versions = vec![new_version(topic(), b"of the first")];
    assert!(lost(finish(&first, &job, versions).await.unwrap_err()));
    assert_eq!(first.versions("topic").await.unwrap(), []);

    finish(&second, &job, vec![new_version(topic(), b"of the second")]).await.unwrap();
    let versions = first.versions("topic").await.unwrap();
    assert_eq!(versions.len(), 1);
    assert_eq!(first.version("topic", 1).await.unwrap().unwrap().weights, b"of the second");
    assert_eq!(first.job(&job).await.unwrap().unwrap().epochs, report(1));
}

#[tokio::test]
async fn a_lease_that_ran_out_is_still_its_holders_until_another_takes_it() {
    let (_folder, first, second, job) = two_replicas(Duration::ZERO).await;
    let first = first.with_leases_of(Duration::from_secs(60));
    assert_eq!(first.renew(&job, None).await.unwrap(), Renewal::Continue);
    assert_eq!(second.recover(OnRestart::Resume).await.unwrap(), Recovered::default());
    first.record_epochs(&job, &report(1)).await.unwrap();
    finish(&first, &job, vec![]).await.unwrap();
}

#[tokio::test]
async fn of_those_who_would_take_a_job_over_one_does() {
    let (folder, first, second, job) = two_replicas(Duration::ZERO).await;
    let third = replica(&folder, &first).await;
    let takers = [second, third].map(|store| {
        tokio::spawn(async move {
            let recovered = store.recover(OnRestart::Resume).await.unwrap();
            (recovered.queued.len(), store.claim_next().await.unwrap().map(|job| job.id))
        })
    });
    let mut taken = (0, Vec::new());
    for taker in takers {
        let (queued, claimed) = taker.await.unwrap();
        taken.0 += queued;
        taken.1.extend(claimed);
    }
    assert_eq!(taken, (1, vec![job]));
}

#[tokio::test]
async fn a_holder_learns_of_a_cancellation_on_another_replica_and_cannot_publish() {
    let (_folder, first, second, job) = two_replicas(Duration::from_secs(60)).await;
    second.cancel(&job, "asked to").await.unwrap();
    assert_eq!(first.renew(&job, None).await.unwrap(), Renewal::Cancel);
    let outcome = Outcome { versions: vec![new_version(topic(), b"w")], ..Outcome::default() };
    let refused = first.finish(&job, outcome).await;
    assert!(matches!(refused, Err(StoreError::CancelRequested { .. })), "{refused:?}");
    first.stop(&job, "asked to").await.unwrap();
    assert_eq!(second.job(&job).await.unwrap().unwrap().state, JobState::Cancelled);
    assert_eq!(second.versions("topic").await.unwrap(), []);
}
