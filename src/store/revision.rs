//! One number that tells whether tasks or what is live of them have changed.

use sqlx::AnyConnection;

use crate::store::Store;
use crate::store::error::{During, StoreError};

/// A state of the tasks and of what is live; a greater one is a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(i64);

impl Store {
    /// The revision that the tasks and the live versions have at least when they are read after this.
    pub async fn revision(&self) -> Result<Revision, StoreError> {
        let revision = sqlx::query_scalar("SELECT revision FROM heads_revision");
        revision.fetch_one(&self.reads).await.during("look for changes of the heads").map(Revision)
    }

    /// Counts a change of a task or of what is live. The last statement of its transaction, so that
    /// those who change the heads wait for each other as shortly as can be.
    pub(super) async fn count_change(&self, tx: &mut AnyConnection) -> Result<(), StoreError> {
        let count = sqlx::query("UPDATE heads_revision SET revision = revision + 1");
        count.execute(tx).await.during("count a change of the heads").map(drop)
    }
}

#[cfg(test)]
mod tests {
    use crate::store::fixtures::*;
    use crate::store::{NewVersion, Store};

    /// Whether the last step changed the revision.
    struct Watch(crate::store::Revision);

    impl Watch {
        async fn has_moved(&mut self, store: &Store) -> bool {
            let now = store.revision().await.unwrap();
            now > std::mem::replace(&mut self.0, now)
        }
    }

    #[tokio::test]
    async fn every_change_of_what_answers_is_counted_and_nothing_else() {
        let (_folder, store) = store().await;
        let mut watch = Watch(store.revision().await.unwrap());
        store.put_task(&topic()).await.unwrap();
        assert!(watch.has_moved(&store).await, "a task is made");
        store.put_task(&topic()).await.unwrap();
        assert!(!watch.has_moved(&store).await, "it is there already");
        store.put_task(&task("topic", &["a", "b"])).await.unwrap();
        assert!(watch.has_moved(&store).await, "a task is redefined");
        store.put_task(&topic()).await.unwrap();
        store.put_task(&sentiment()).await.unwrap();
        let job = start(&store, &spec(), &[]).await;
        watch.has_moved(&store).await;
        finish(&store, &job.id, vec![new_version(topic(), b"w")]).await.unwrap();
        assert!(watch.has_moved(&store).await, "a job publishes");
        let hidden = NewVersion { goes_live: false, ..new_version(topic(), b"w") };
        store.import(hidden).await.unwrap();
        assert!(!watch.has_moved(&store).await, "a version that is not live");
        store.import(new_version(topic(), b"w")).await.unwrap();
        assert!(watch.has_moved(&store).await, "a version is imported");
        store.promote("topic", 2, "minilm@1").await.unwrap();
        assert!(watch.has_moved(&store).await, "a version is promoted");
        store.roll_back("topic", None, "minilm@1").await.unwrap();
        assert!(watch.has_moved(&store).await, "a version is rolled back to");
        store.delete_task("topic").await.unwrap();
        assert!(watch.has_moved(&store).await, "a task is deleted");
    }
}
