//! The memory of examples: what succeeded jobs were trained on, for later fits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::store::error::{During, StoreError};
use crate::store::{ROWS_PER_STATEMENT, Store, placeholders, tasks};
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
            "SELECT e.id, e.text, e.weight, l.task, l.label
             FROM examples e JOIN example_labels l ON l.example = e.id
             WHERE l.task IN {} ORDER BY e.id",
            placeholders(1, tasks.len()),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for task in tasks {
            query = query.bind(task);
        }
        let mut examples: Vec<Example> = Vec::new();
        let mut last_id = None;
        for row in query.fetch_all(&self.reads).await.during(OPERATION)? {
            let id: i64 = row.try_get("id").during(OPERATION)?;
            if last_id.replace(id) != Some(id) {
                let text = row.try_get("text").during(OPERATION)?;
                let weight = row.try_get("weight").during(OPERATION)?;
                examples.push(Example { text, labels: BTreeMap::new(), weight });
            }
            let task = row.try_get("task").during(OPERATION)?;
            let label = row.try_get("label").during(OPERATION)?;
            examples.last_mut().expect("pushed for the first id").labels.insert(task, label);
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

/// Adds the labels for the tasks that a job trained; frozen tasks learn nothing. A later label or
/// weight of the same text replaces the former, in the memory as within `examples`.
pub(super) async fn merge(
    tx: &mut AnyConnection,
    spec: &JobSpec,
    examples: &[Example],
) -> Result<(), StoreError> {
    let trained: BTreeSet<&str> = spec.tasks.difference(&spec.frozen).map(String::as_str).collect();
    if spec.mode == Mode::Replace {
        forget(tx, &trained.iter().copied().collect::<Vec<_>>()).await?;
    }
    let mut texts: Vec<(&str, Option<f64>)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    // One statement must not touch a row twice, so the last label is chosen here.
    let mut labels: Labels = BTreeMap::new();
    for example in examples {
        let learnt = example.labels.iter().filter(|(task, _)| trained.contains(task.as_str()));
        for (task, label) in learnt {
            let place = *places.entry(&example.text).or_insert_with(|| {
                texts.push((&example.text, None));
                texts.len() - 1
            });
            texts[place].1 = example.weight;
            labels.insert((place, task), label);
        }
    }
    check_labels(tx, &labels).await?;
    let ids = insert_texts(tx, &texts).await?;
    insert_labels(tx, &ids, labels).await
}

/// The place of a text in a list, and a task, to the label.
type Labels<'a> = BTreeMap<(usize, &'a str), &'a str>;

/// Removes the labels for `tasks`, and the texts that are then without any.
pub(super) async fn forget(tx: &mut AnyConnection, tasks: &[&str]) -> Result<(), StoreError> {
    const OPERATION: &str = "forget the examples of a task";
    for task in tasks {
        let delete = sqlx::query("DELETE FROM example_labels WHERE task = $1").bind(task);
        delete.execute(&mut *tx).await.during(OPERATION)?;
    }
    let delete = sqlx::query(
        "DELETE FROM examples WHERE NOT EXISTS
         (SELECT 1 FROM example_labels WHERE example_labels.example = examples.id)",
    );
    delete.execute(tx).await.during(OPERATION).map(drop)
}

/// Every label in the memory is one of its task's labels, whatever happened to the task since the
/// job was accepted.
async fn check_labels(tx: &mut AnyConnection, labels: &Labels<'_>) -> Result<(), StoreError> {
    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for ((_, task), label) in labels {
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

/// Gives the id of each text, new or known. Ids cannot clash, as only one job runs and only its
/// success comes here.
async fn insert_texts(
    tx: &mut AnyConnection,
    texts: &[(&str, Option<f64>)],
) -> Result<Vec<i64>, StoreError> {
    const OPERATION: &str = "remember texts";
    let mut next: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) + 1 FROM examples")
        .fetch_one(&mut *tx)
        .await
        .during(OPERATION)?;
    let mut ids = Vec::with_capacity(texts.len());
    for chunk in texts.chunks(ROWS_PER_STATEMENT) {
        let hashes: Vec<_> = chunk.iter().map(|(text, _)| sha256(text)).collect();
        let known = known(tx, &hashes).await?;
        let mut new = Vec::new();
        for (&(text, weight), hash) in chunk.iter().zip(&hashes) {
            let Some(&(id, former)) = known.get(hash) else {
                new.push((next, hash, text, weight));
                ids.push(next);
                next += 1;
                continue;
            };
            if former != weight {
                let update = sqlx::query("UPDATE examples SET weight = $2 WHERE id = $1");
                update.bind(id).bind(weight).execute(&mut *tx).await.during(OPERATION)?;
            }
            ids.push(id);
        }
        if new.is_empty() {
            continue;
        }
        let sql = format!(
            "INSERT INTO examples (id, sha256, text, weight) VALUES {}",
            placeholders(new.len(), 4),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (id, hash, text, weight) in new {
            query = query.bind(id).bind(hash).bind(text).bind(weight);
        }
        query.execute(&mut *tx).await.during(OPERATION)?;
    }
    Ok(ids)
}

/// The ids and weights of those texts that are known, by their hashes.
async fn known(
    tx: &mut AnyConnection,
    hashes: &[String],
) -> Result<HashMap<String, (i64, Option<f64>)>, StoreError> {
    let sql = format!(
        "SELECT sha256, id, weight FROM examples WHERE sha256 IN {}",
        placeholders(1, hashes.len())
    );
    let mut query = sqlx::query_as(AssertSqlSafe(sql));
    for hash in hashes {
        query = query.bind(hash);
    }
    let known: Vec<(String, i64, Option<f64>)> =
        query.fetch_all(tx).await.during("look up texts")?;
    Ok(known.into_iter().map(|(hash, id, weight)| (hash, (id, weight))).collect())
}

async fn insert_labels(
    tx: &mut AnyConnection,
    ids: &[i64],
    labels: Labels<'_>,
) -> Result<(), StoreError> {
    let labels: Vec<_> = labels.into_iter().collect();
    for chunk in labels.chunks(ROWS_PER_STATEMENT) {
        let sql = format!(
            "INSERT INTO example_labels (example, task, label) VALUES {}
             ON CONFLICT (example, task) DO UPDATE SET label = excluded.label",
            placeholders(chunk.len(), 3),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for ((place, task), label) in chunk {
            query = query.bind(ids[*place]).bind(*task).bind(*label);
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
    async fn the_latest_weight_of_a_text_counts() {
        let (_folder, store) = store_with_tasks().await;
        let weighted = |text, weight| Example { weight, ..example(text, &[("topic", "Finance")]) };
        let first = [weighted("a", Some(2.5)), weighted("b", None), weighted("c", Some(0.5))];
        let job = start(&store, &spec(), &first).await;
        assert_eq!(store.job_examples(&job.id).await.unwrap(), first);
        store.finish(&job.id, vec![]).await.unwrap();
        assert_eq!(memory(&store, &["topic"]).await, first);
        let second = [weighted("a", None), weighted("b", Some(4.0)), weighted("b", Some(3.0))];
        learn(&store, &spec(), &second).await;
        let expected = [weighted("a", None), weighted("b", Some(3.0)), weighted("c", Some(0.5))];
        assert_eq!(memory(&store, &["topic"]).await, expected);
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
