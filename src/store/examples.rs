//! The examples as people see them: listed page by page, and deleted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::store::error::{During, StoreError};
use crate::store::queue::take_turn;
use crate::store::{ROWS_PER_STATEMENT, Store, hash_of, memory, placeholders, timestamp};
use crate::training::job::Target;
use crate::training::text_hash::TextHash;

/// Which examples [`Store::list_examples`] lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleQuery {
    /// Only examples with a label for this task.
    pub task: Option<String>,
    /// Only those with this label for the task; means nothing without a task.
    pub label: Option<String>,
    /// At most this many.
    pub limit: u32,
    /// Only examples behind the one with this id: the last id of the page before.
    pub after: Option<i64>,
}

/// An example with all its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedExample {
    /// Grows in the order in which texts were first seen.
    pub id: i64,
    pub hash: TextHash,
    /// `None` where texts are not kept.
    pub text: Option<String>,
    /// Task to what is said for it.
    pub labels: BTreeMap<String, Target>,
    /// As [`Example::weight`](crate::training::job::Example::weight).
    pub weight: Option<f64>,
    /// When a job last taught it.
    pub added_at: Timestamp,
}

/// Which examples [`Store::delete_examples`] removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExampleSelection {
    /// Those of these texts.
    Texts(Vec<TextHash>),
    /// Those that no job has taught since.
    Before(Timestamp),
}

impl Store {
    /// A page of examples, in the order in which their texts were first seen.
    pub async fn list_examples(
        &self,
        query: &ExampleQuery,
    ) -> Result<Vec<ListedExample>, StoreError> {
        const OPERATION: &str = "list examples";
        let sql = match query.task {
            Some(_) => {
                "SELECT id, sha256, text, weight, added_at FROM examples WHERE id IN
                     (SELECT DISTINCT example FROM example_labels
                      WHERE task = $3 AND example > $1 AND (label = $4 OR $4 IS NULL)
                      ORDER BY example LIMIT $2)
                 ORDER BY id"
            }
            None => {
                "SELECT id, sha256, text, weight, added_at FROM examples WHERE id > $1
                 ORDER BY id LIMIT $2"
            }
        };
        let page = sqlx::query(sql).bind(query.after.unwrap_or(0)).bind(i64::from(query.limit));
        let page = match &query.task {
            Some(task) => page.bind(task).bind(&query.label),
            None => page,
        };
        let rows = page.fetch_all(&self.reads).await.during(OPERATION)?;
        let mut examples = rows.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        for chunk in examples.chunks_mut(ROWS_PER_STATEMENT) {
            let sql = format!(
                "SELECT l.example, l.task, l.label, t.kind
                 FROM example_labels l JOIN tasks t ON t.name = l.task WHERE l.example IN {}",
                placeholders(1, chunk.len()),
            );
            let mut labels = sqlx::query(AssertSqlSafe(sql));
            for example in &*chunk {
                labels = labels.bind(example.id);
            }
            for row in labels.fetch_all(&self.reads).await.during(OPERATION)? {
                let id: i64 = row.try_get("example").during(OPERATION)?;
                // Deleted since the page was read, or on it: ids are in order.
                if let Ok(place) = chunk.binary_search_by_key(&id, |example| example.id) {
                    memory::read_label(&row, &mut chunk[place].labels)?;
                }
            }
        }
        Ok(examples)
    }

    /// Removes the labels that the selected examples carry for `task`, or for all tasks, and the
    /// examples that are then without any. Gives the number of examples that lost a label. Heads stay
    /// as they are until they are trained again.
    ///
    /// # Errors
    /// [`StoreError::UnknownTask`].
    pub async fn delete_examples(
        &self,
        selection: &ExampleSelection,
        task: Option<&str>,
    ) -> Result<u64, StoreError> {
        const OPERATION: &str = "delete examples";
        let mut tx = self.begin(OPERATION).await?;
        // Not while the end of a job teaches the same texts.
        take_turn(&mut tx).await?;
        if let Some(task) = task {
            let known = sqlx::query("SELECT name FROM tasks WHERE name = $1").bind(task);
            if known.fetch_optional(&mut *tx).await.during(OPERATION)?.is_none() {
                return Err(StoreError::UnknownTask { task: task.to_owned() });
            }
        }
        let mut selected = 0;
        match selection {
            ExampleSelection::Texts(hashes) => {
                let mut hashes = hashes.clone();
                hashes.sort_unstable();
                hashes.dedup();
                for chunk in hashes.chunks(ROWS_PER_STATEMENT) {
                    let values = chunk.iter().map(TextHash::to_string).map(Value::Text).collect();
                    let which = format!("sha256 IN {}", placeholders(1, chunk.len()));
                    selected += drop_labels(&mut tx, &which, values, task).await?;
                }
            }
            ExampleSelection::Before(time) => {
                let values = vec![Value::Time(time.as_microsecond())];
                selected += drop_labels(&mut tx, "added_at < $1", values, task).await?;
            }
        }
        memory::drop_unlabelled(&mut tx).await?;
        self.commit_deletion(tx, OPERATION).await?;
        Ok(selected)
    }
}

/// A value in a condition on examples.
enum Value {
    Text(String),
    Time(i64),
}

/// Removes the labels, for `task` or for all, of the examples for which `which` holds; gives the
/// number of these examples.
async fn drop_labels(
    tx: &mut AnyConnection,
    which: &str,
    values: Vec<Value>,
    task: Option<&str>,
) -> Result<u64, StoreError> {
    const OPERATION: &str = "delete the labels of examples";
    let task_is = match task {
        Some(_) => format!(" AND task = ${}", values.len() + 1),
        None => String::new(),
    };
    let labels = format!("example IN (SELECT id FROM examples WHERE {which}){task_is}");
    let count = format!("SELECT COUNT(DISTINCT example) FROM example_labels WHERE {labels}");
    let delete = format!("DELETE FROM example_labels WHERE {labels}");
    let mut count = sqlx::query_scalar(AssertSqlSafe(count));
    let mut delete = sqlx::query(AssertSqlSafe(delete));
    for value in &values {
        (count, delete) = match value {
            Value::Text(text) => (count.bind(text), delete.bind(text)),
            Value::Time(time) => (count.bind(time), delete.bind(time)),
        };
    }
    if let Some(task) = task {
        (count, delete) = (count.bind(task), delete.bind(task));
    }
    let selected: i64 = count.fetch_one(&mut *tx).await.during(OPERATION)?;
    delete.execute(tx).await.during(OPERATION)?;
    Ok(u64::try_from(selected).expect("a count is not negative"))
}

fn decode(row: &AnyRow) -> Result<ListedExample, StoreError> {
    const OPERATION: &str = "read an example";
    Ok(ListedExample {
        id: row.try_get("id").during(OPERATION)?,
        hash: hash_of(row)?,
        text: row.try_get("text").during(OPERATION)?,
        labels: BTreeMap::new(),
        weight: row.try_get("weight").during(OPERATION)?,
        added_at: timestamp(row.try_get("added_at").during(OPERATION)?)?,
    })
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::store::fixtures::*;

    /// A store that has learnt `examples`.
    async fn taught(examples: &[crate::training::job::Example]) -> (tempfile::TempDir, Store) {
        let (folder, store) = store_with_tasks().await;
        learn(&store, examples).await;
        (folder, store)
    }

    async fn learn(store: &Store, examples: &[crate::training::job::Example]) {
        let job = start(store, &spec(), examples).await;
        finish(store, &job.id, vec![]).await.unwrap();
    }

    /// All pages of `limit` examples, as texts.
    async fn pages(
        store: &Store,
        limit: u32,
        task: Option<&str>,
        label: Option<&str>,
    ) -> Vec<String> {
        let (task, label) = (task.map(Into::into), label.map(Into::into));
        let mut query = ExampleQuery { task, label, limit, after: None };
        let mut texts = Vec::new();
        loop {
            let page = store.list_examples(&query).await.unwrap();
            assert!(page.len() <= limit as usize);
            let Some(last) = page.last() else { return texts };
            query.after = Some(last.id);
            texts.extend(page.into_iter().map(|example| example.text.unwrap()));
        }
    }

    fn texts(texts: &[&str]) -> ExampleSelection {
        ExampleSelection::Texts(texts.iter().map(|text| TextHash::of(text)).collect())
    }

    #[tokio::test]
    async fn pages_run_from_the_first_text_to_the_last_without_gaps() {
        let (_folder, store) = taught(&[
            example("z", &[("topic", "Finance"), ("sentiment", "Negative")]),
            example("m", &[("sentiment", "Positive")]),
            example("a", &[("topic", "Technology")]),
            example("b", &[("topic", "Finance")]),
        ])
        .await;
        for limit in [1, 3, 4, 100] {
            assert_eq!(pages(&store, limit, None, None).await, ["z", "m", "a", "b"]);
            assert_eq!(pages(&store, limit, Some("topic"), None).await, ["z", "a", "b"]);
            let finance = pages(&store, limit, Some("topic"), Some("Finance")).await;
            assert_eq!(finance, ["z", "b"]);
        }
        let query = ExampleQuery { task: Some("topic".into()), label: None, limit: 1, after: None };
        let first = store.list_examples(&query).await.unwrap().remove(0);
        let labels = [("topic", "Finance"), ("sentiment", "Negative")];
        assert_eq!(first.labels, example("z", &labels).labels, "with its labels for all tasks");
        assert_eq!(first.hash, TextHash::of("z"));
        assert!(first.added_at <= Timestamp::now());
    }

    #[tokio::test]
    async fn of_a_set_each_label_finds_the_example_and_once() {
        let (_folder, store) = store_with_tasks().await;
        store.put_task(&tags()).await.unwrap();
        let mut spec = spec();
        spec.tasks.insert("tags".into());
        let examples = [
            tagged("a", &["urgent", "billing", "refund"]),
            tagged("b", &[]),
            tagged("c", &["refund"]),
        ];
        let job = start(&store, &spec, &examples).await;
        finish(&store, &job.id, vec![]).await.unwrap();
        for limit in [1, 2, 100] {
            assert_eq!(pages(&store, limit, Some("tags"), None).await, ["a", "b", "c"]);
            assert_eq!(pages(&store, limit, Some("tags"), Some("refund")).await, ["a", "c"]);
            assert_eq!(pages(&store, limit, Some("tags"), Some("urgent")).await, ["a"]);
        }
        let query = ExampleQuery { task: None, label: None, limit: 9, after: None };
        let listed = store.list_examples(&query).await.unwrap();
        let labels: Vec<_> = listed.into_iter().map(|it| it.labels).collect();
        assert_eq!(labels, examples.map(|it| it.labels));
        let removed = store.delete_examples(&texts(&["a", "b"]), Some("tags")).await.unwrap();
        assert_eq!(removed, 2, "examples, not labels");
        assert_eq!(pages(&store, 9, None, None).await, ["c"]);
    }

    #[tokio::test]
    async fn examples_are_deleted_by_their_texts() {
        let (_folder, store) = taught(&[
            example("a", &[("topic", "Finance"), ("sentiment", "Negative")]),
            example("b", &[("topic", "Technology")]),
            example("c", &[("sentiment", "Positive")]),
        ])
        .await;
        let removed = store.delete_examples(&texts(&["a", "b", "b", "A"]), Some("topic")).await;
        assert_eq!(removed.unwrap(), 2);
        assert_eq!(
            remembered(&store, ["sentiment", "topic"]).await,
            [
                example("a", &[("sentiment", "Negative")]),
                example("c", &[("sentiment", "Positive")])
            ]
        );
        assert_eq!(store.delete_examples(&texts(&["a", "b"]), None).await.unwrap(), 1);
        assert_eq!(pages(&store, 10, None, None).await, ["c"]);
        let refused = store.delete_examples(&texts(&["c"]), Some("nobody")).await;
        assert!(matches!(refused, Err(StoreError::UnknownTask { .. })));
    }

    #[tokio::test]
    async fn examples_are_deleted_by_the_time_when_they_were_last_taught() {
        let finance = |text| example(text, &[("topic", "Finance")]);
        let (_folder, store) = taught(&[finance("a"), finance("b")]).await;
        let query = ExampleQuery { task: None, label: None, limit: 9, after: None };
        let first = store.list_examples(&query).await.unwrap()[0].added_at;
        // The clock of the store counts microseconds.
        while Timestamp::now().as_microsecond() <= first.as_microsecond() {}
        learn(&store, &[finance("b"), finance("c")]).await;
        let before = |time| ExampleSelection::Before(time);
        assert_eq!(store.delete_examples(&before(first), None).await.unwrap(), 0);
        let later = Timestamp::from_microsecond(first.as_microsecond() + 1).unwrap();
        assert_eq!(store.delete_examples(&before(later), Some("sentiment")).await.unwrap(), 0);
        assert_eq!(store.delete_examples(&before(later), None).await.unwrap(), 1);
        assert_eq!(pages(&store, 10, None, None).await, ["b", "c"]);
    }

    #[tokio::test]
    async fn a_hundred_thousand_examples_are_paged_and_deleted() {
        let text = |i: usize| format!("sentence number {i}");
        let label = |i: usize| if i.is_multiple_of(1000) { "Technology" } else { "Finance" };
        let examples: Vec<_> =
            (0..100_000).map(|i| example(&text(i), &[("topic", label(i))])).collect();
        let (_folder, store) = taught(&examples).await;
        assert_eq!(pages(&store, 1000, None, None).await.len(), 100_000);
        assert_eq!(pages(&store, 10, Some("topic"), Some("Technology")).await.len(), 100);
        let hashes = (0..50_000).map(|i| TextHash::of(&text(i))).collect();
        let removed = store.delete_examples(&ExampleSelection::Texts(hashes), None).await;
        assert_eq!(removed.unwrap(), 50_000);
        let removed =
            store.delete_examples(&ExampleSelection::Before(Timestamp::now()), None).await;
        assert_eq!(removed.unwrap(), 50_000);
    }
}
