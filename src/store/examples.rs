//! The memory of examples: what succeeded jobs were trained on, for later fits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::store::error::{During, StoreError};
use crate::store::{ROWS_PER_INSERT, Store, placeholders, tasks};
use crate::training::job::{Example, JobSpec, Mode};

impl Store {
    /// All examples with a label for one of `tasks`, in the order in which their texts were first
    /// seen, with their labels for `tasks` alone.
    pub async fn examples(&self, tasks: &BTreeSet<String>) -> Result<Vec<Example>, StoreError> {
        const OPERATION: &str = "read the examples of tasks";
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT e.sha256, e.text, l.task, l.label
             FROM example_labels l JOIN examples e ON e.sha256 = l.sha256
             WHERE l.task IN {} ORDER BY e.arrival, e.sha256",
            placeholders(1, tasks.len()),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for task in tasks {
            query = query.bind(task);
        }
        let mut examples: Vec<Example> = Vec::new();
        for row in query.fetch_all(&self.reads).await.during(OPERATION)? {
            let text: String = row.try_get("text").during(OPERATION)?;
            if examples.last().is_none_or(|last| last.text != text) {
                examples.push(Example { text, labels: BTreeMap::new() });
            }
            let task = row.try_get("task").during(OPERATION)?;
            let label = row.try_get("label").during(OPERATION)?;
            examples.last_mut().expect("just pushed").labels.insert(task, label);
        }
        Ok(examples)
    }

    /// How many examples carry a label for each task; tasks without examples are left out.
    pub async fn example_counts(&self) -> Result<BTreeMap<String, i64>, StoreError> {
        const OPERATION: &str = "count the examples";
        let sql = "SELECT task, COUNT(*) AS examples FROM example_labels GROUP BY task";
        let rows = sqlx::query(sql).fetch_all(&self.reads).await.during(OPERATION)?;
        let count = |row: &sqlx::any::AnyRow| Ok((row.try_get("task")?, row.try_get("examples")?));
        rows.iter().map(count).collect::<Result<_, sqlx::Error>>().during(OPERATION)
    }
}

/// Adds the labels for the tasks that a job trained; frozen tasks learn nothing. A later label for
/// the same text replaces the former, in the memory as within `examples`.
pub(super) async fn merge(
    tx: &mut AnyConnection,
    spec: &JobSpec,
    examples: &[Example],
) -> Result<(), StoreError> {
    let trained: BTreeSet<&str> = spec.tasks.difference(&spec.frozen).map(String::as_str).collect();
    if spec.mode == Mode::Replace {
        forget(tx, &trained.iter().copied().collect::<Vec<_>>()).await?;
    }
    let mut hashes: HashMap<&str, String> = HashMap::new();
    let mut texts: Vec<(&str, String)> = Vec::new();
    // One statement must not touch a row twice, so the last label is chosen here.
    let mut labels: BTreeMap<(&str, String), &str> = BTreeMap::new();
    for example in examples {
        let learnt = example.labels.iter().filter(|(task, _)| trained.contains(task.as_str()));
        for (task, label) in learnt {
            let hash = hashes.entry(&example.text).or_insert_with(|| {
                let hash = sha256(&example.text);
                texts.push((&example.text, hash.clone()));
                hash
            });
            labels.insert((task, hash.clone()), label);
        }
    }
    check_labels(tx, &labels).await?;
    insert_texts(tx, &texts).await?;
    insert_labels(tx, labels).await
}

/// Removes the labels for `tasks`, and the texts that are then without any.
pub(super) async fn forget(tx: &mut AnyConnection, tasks: &[&str]) -> Result<(), StoreError> {
    const OPERATION: &str = "forget the examples of a task";
    for task in tasks {
        let delete = sqlx::query("DELETE FROM example_labels WHERE task = $1").bind(task);
        delete.execute(&mut *tx).await.during(OPERATION)?;
    }
    let delete = sqlx::query(
        "DELETE FROM examples WHERE NOT EXISTS
         (SELECT 1 FROM example_labels WHERE example_labels.sha256 = examples.sha256)",
    );
    delete.execute(tx).await.during(OPERATION).map(drop)
}

/// Every label in the memory is one of its task's labels, whatever happened to the task since the
/// job was accepted.
async fn check_labels(
    tx: &mut AnyConnection,
    labels: &BTreeMap<(&str, String), &str>,
) -> Result<(), StoreError> {
    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for ((task, _), label) in labels {
        used.entry(task).or_default().insert(label);
    }
    for (task, used) in used {
        let row = sqlx::query("SELECT name, model, labels FROM tasks WHERE name = $1")
            .bind(task)
            .fetch_optional(&mut *tx)
            .await
            .during("read a task")?;
        let task = task.to_owned();
        let Some(row) = row else {
            return Err(StoreError::UnknownTask { task });
        };
        let known = tasks::decode(&row)?.labels;
        if used.iter().any(|label| !known.iter().any(|k| k == label)) {
            return Err(StoreError::TaskChanged { task });
        }
    }
    Ok(())
}

async fn insert_texts(tx: &mut AnyConnection, texts: &[(&str, String)]) -> Result<(), StoreError> {
    const OPERATION: &str = "remember texts";
    let last: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(arrival), 0) FROM examples")
        .fetch_one(&mut *tx)
        .await
        .during(OPERATION)?;
    let mut arrival = last;
    for chunk in texts.chunks(ROWS_PER_INSERT) {
        let sql = format!(
            "INSERT INTO examples (sha256, text, arrival) VALUES {} ON CONFLICT (sha256) DO NOTHING",
            placeholders(chunk.len(), 3),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (text, hash) in chunk {
            arrival += 1;
            query = query.bind(hash).bind(*text).bind(arrival);
        }
        query.execute(&mut *tx).await.during(OPERATION)?;
    }
    Ok(())
}

async fn insert_labels(
    tx: &mut AnyConnection,
    labels: BTreeMap<(&str, String), &str>,
) -> Result<(), StoreError> {
    let labels: Vec<_> = labels.into_iter().collect();
    for chunk in labels.chunks(ROWS_PER_INSERT) {
        let sql = format!(
            "INSERT INTO example_labels (task, sha256, label) VALUES {}
             ON CONFLICT (task, sha256) DO UPDATE SET label = excluded.label",
            placeholders(chunk.len(), 3),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for ((task, hash), label) in chunk {
            query = query.bind(*task).bind(hash).bind(*label);
        }
        query.execute(&mut *tx).await.during("remember labels")?;
    }
    Ok(())
}

fn sha256(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    Sha256::digest(text).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::store::Store;
    use crate::store::fixtures::*;
    use crate::training::job::{Example, JobSpec, Mode};

    async fn learn(store: &Store, spec: &JobSpec, examples: &[Example]) {
        let job = start(store, spec, examples).await;
        store.finish(&job.id, vec![]).await.unwrap();
    }

    async fn memory(store: &Store, tasks: &[&str]) -> Vec<Example> {
        store.examples(&tasks.iter().map(|&task| task.into()).collect()).await.unwrap()
    }

    #[tokio::test]
    async fn examples_of_all_jobs_are_remembered_in_the_order_of_arrival() {
        let (_folder, store) = store_with_tasks().await;
        learn(
            &store,
            &spec(),
            &[
                example("z", &[("topic", "Finance"), ("sentiment", "Negative")]),
                example("a", &[("sentiment", "Positive")]),
            ],
        )
        .await;
        learn(&store, &spec(), &[example("m", &[("topic", "Technology")])]).await;
        assert_eq!(
            memory(&store, &["sentiment", "topic"]).await,
            [
                example("z", &[("topic", "Finance"), ("sentiment", "Negative")]),
                example("a", &[("sentiment", "Positive")]),
                example("m", &[("topic", "Technology")]),
            ]
        );
        assert_eq!(
            memory(&store, &["topic"]).await,
            [example("z", &[("topic", "Finance")]), example("m", &[("topic", "Technology")]),]
        );
        assert_eq!(memory(&store, &[]).await, []);
        let counts = BTreeMap::from([("sentiment".into(), 2), ("topic".into(), 2)]);
        assert_eq!(store.example_counts().await.unwrap(), counts);
    }

    #[tokio::test]
    async fn a_later_label_for_the_same_text_is_a_correction() {
        let (_folder, store) = store_with_tasks().await;
        let first = example("a", &[("topic", "Finance"), ("sentiment", "Negative")]);
        learn(&store, &spec(), &[first, example("b", &[("topic", "Finance")])]).await;
        learn(&store, &spec(), &[example("a", &[("topic", "Technology")])]).await;
        assert_eq!(
            memory(&store, &["sentiment", "topic"]).await,
            [
                example("a", &[("topic", "Technology"), ("sentiment", "Negative")]),
                example("b", &[("topic", "Finance")]),
            ]
        );
    }

    #[tokio::test]
    async fn within_one_job_the_last_label_of_a_text_counts() {
        let (_folder, store) = store_with_tasks().await;
        let labels = ["Finance", "Technology", "Finance", "Entertainment"];
        let examples = labels.map(|label| example("a", &[("topic", label)]));
        learn(&store, &spec(), &examples).await;
        assert_eq!(memory(&store, &["topic"]).await, examples[3..]);
    }

    #[tokio::test]
    async fn texts_that_differ_in_case_or_space_are_different() {
        let (_folder, store) = store_with_tasks().await;
        let texts = ["a", "A", "a ", "á", "a\u{301}", ""];
        let examples = texts.map(|text| example(text, &[("topic", "Finance")]));
        learn(&store, &spec(), &examples).await;
        assert_eq!(memory(&store, &["topic"]).await, examples);
    }

    #[tokio::test]
    async fn replacing_forgets_the_trained_tasks_alone() {
        let (_folder, store) = store_with_tasks().await;
        learn(
            &store,
            &spec(),
            &[
                example("a", &[("topic", "Finance"), ("sentiment", "Negative")]),
                example("b", &[("topic", "Technology")]),
            ],
        )
        .await;
        let mut spec = spec();
        spec.mode = Mode::Replace;
        spec.frozen.insert("sentiment".into());
        let new = example("c", &[("topic", "Entertainment"), ("sentiment", "Positive")]);
        learn(&store, &spec, &[new]).await;
        assert_eq!(
            memory(&store, &["sentiment", "topic"]).await,
            [
                example("a", &[("sentiment", "Negative")]),
                example("c", &[("topic", "Entertainment")]),
            ]
        );
    }

    #[tokio::test]
    async fn a_job_that_only_evaluates_teaches_nothing() {
        let (_folder, store) = store_with_tasks().await;
        let mut spec = spec();
        spec.frozen = spec.tasks.clone();
        spec.mode = Mode::Replace;
        learn(&store, &self::spec(), &[example("a", &[("topic", "Finance")])]).await;
        learn(&store, &spec, &[example("a", &[("topic", "Technology")])]).await;
        let kept = [example("a", &[("topic", "Finance")])];
        assert_eq!(memory(&store, &["sentiment", "topic"]).await, kept);
    }

    #[tokio::test]
    async fn more_examples_than_fit_one_statement_are_remembered() {
        let (_folder, store) = store_with_tasks().await;
        let labels = [("topic", "Finance"), ("sentiment", "Positive")];
        let examples: Vec<_> = (0..20_001).map(|i| example(&i.to_string(), &labels)).collect();
        learn(&store, &spec(), &examples).await;
        assert!(memory(&store, &["sentiment", "topic"]).await == examples);
    }

    #[test]
    fn a_hash_is_written_in_lower_case_hexadecimal() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::sha256("abc"), abc);
    }
}
