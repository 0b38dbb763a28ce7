//! The memory of examples: what jobs were trained on, for later fits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::TryStreamExt;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::heads::Kind;
use crate::store::error::{During, StoreError};
use crate::store::{ROWS_PER_STATEMENT, Store, hash_of, now, placeholders, tasks};
use crate::training::job::{Example, Mode, Target};
use crate::training::text_hash::TextHash;

/// An example as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredExample {
    pub hash: TextHash,
    /// `None` where texts are not kept.
    pub text: Option<String>,
    /// Task to what is said for it.
    pub labels: BTreeMap<String, Target>,
    /// As [`Example::weight`].
    pub weight: Option<f64>,
}

impl Store {
    /// All examples with a label for one of `tasks`, in the order in which their texts were first
    /// seen, with their labels for `tasks` alone.
    pub async fn examples(
        &self,
        tasks: &BTreeSet<String>,
    ) -> Result<Vec<StoredExample>, StoreError> {
        const OPERATION: &str = "read the examples of tasks";
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT e.id, e.sha256, e.text, e.weight, l.task, l.label, t.kind
             FROM examples e JOIN example_labels l ON l.example = e.id
             JOIN tasks t ON t.name = l.task
             WHERE l.task IN {} ORDER BY e.id",
            placeholders(1, tasks.len()),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for task in tasks {
            query = query.bind(task);
        }
        let mut examples: Vec<StoredExample> = Vec::new();
        let mut last_id = None;
        let mut rows = query.fetch(&self.reads);
        while let Some(row) = rows.try_next().await.during(OPERATION)? {
            let id: i64 = row.try_get("id").during(OPERATION)?;
            if last_id.replace(id) != Some(id) {
                let text = row.try_get("text").during(OPERATION)?;
                let weight = row.try_get("weight").during(OPERATION)?;
                let (hash, labels) = (hash_of(&row)?, BTreeMap::new());
                examples.push(StoredExample { hash, text, labels, weight });
            }
            let last = examples.last_mut().expect("pushed for the first id");
            read_label(&row, &mut last.labels)?;
        }
        Ok(examples)
    }

    /// How many examples carry a label for each task; tasks without examples are left out.
    pub async fn example_counts(&self) -> Result<BTreeMap<String, i64>, StoreError> {
        const OPERATION: &str = "count the examples";
        let sql =
            "SELECT task, COUNT(DISTINCT example) AS examples FROM example_labels GROUP BY task";
        let rows = sqlx::query(sql).fetch_all(&self.reads).await.during(OPERATION)?;
        let count = |row: &AnyRow| Ok((row.try_get("task")?, row.try_get("examples")?));
        rows.iter().map(count).collect::<Result<_, sqlx::Error>>().during(OPERATION)
    }
}

/// Reads the columns `task`, `kind` and `label`: one more label of those that an example has.
pub(super) fn read_label(
    row: &AnyRow,
    labels: &mut BTreeMap<String, Target>,
) -> Result<(), StoreError> {
    const OPERATION: &str = "read a label of an example";
    let task: String = row.try_get("task").during(OPERATION)?;
    let label: String = row.try_get("label").during(OPERATION)?;
    match tasks::kind(row, &task)? {
        Kind::SingleLabel => drop(labels.insert(task, Target::Label(label))),
        Kind::MultiLabel => {
            let target = labels.entry(task).or_insert(Target::Labels(BTreeSet::new()));
            if let Target::Labels(labels) = target
                && label != NONE_APPLIES
            {
                labels.insert(label);
            }
        }
    }
    Ok(())
}

/// Stands for the label of an example that has none of its task's labels. No task has such a label.
const NONE_APPLIES: &str = "";

/// What a job has to teach.
pub(super) struct Lesson<'a> {
    /// The tasks that learn it.
    pub tasks: BTreeSet<&'a str>,
    pub mode: Mode,
    pub examples: &'a [Example],
}

/// Adds the labels for the tasks of a lesson. What is said later of the same text, for a task or as its
/// weight, replaces the former, in the memory as within the examples.
pub(super) async fn merge(tx: &mut AnyConnection, lesson: Lesson<'_>) -> Result<(), StoreError> {
    let Lesson { tasks: trained, mode, examples } = lesson;
    if mode == Mode::Replace {
        drop_labels(tx, &trained).await?;
    }
    let mut texts: Vec<Text> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    // The last word on each text is chosen here.
    let mut taught: Taught = BTreeMap::new();
    for example in examples {
        let learnt = example.labels.iter().filter(|(task, _)| trained.contains(task.as_str()));
        for (task, target) in learnt {
            let place = *places.entry(&example.text).or_insert_with(|| {
                texts.push(Text { text: &example.text, weight: None });
                texts.len() - 1
            });
            texts[place].weight = example.weight;
            taught.entry(task).or_default().insert(place, target);
        }
    }
    let ids = insert_texts(tx, &texts).await?;
    for (task, targets) in taught {
        check_labels(tx, task, &targets).await?;
        replace_labels(tx, task, &ids, targets).await?;
    }
    // Not before: a text that came again keeps its embeddings.
    if mode == Mode::Replace { drop_unlabelled(tx).await } else { Ok(()) }
}

/// Task to what is said of texts, by their place in a list.
type Taught<'a> = BTreeMap<&'a str, Targets<'a>>;
type Targets<'a> = BTreeMap<usize, &'a Target>;

/// Removes the labels for `tasks`, and the texts that are then without any.
pub(super) async fn forget(
    tx: &mut AnyConnection,
    tasks: &BTreeSet<&str>,
) -> Result<(), StoreError> {
    drop_labels(tx, tasks).await?;
    drop_unlabelled(tx).await
}

/// Removes the examples that are without labels, and their embeddings.
pub(super) async fn drop_unlabelled(tx: &mut AnyConnection) -> Result<(), StoreError> {
    for delete in [
        "DELETE FROM embeddings WHERE sha256 IN (SELECT e.sha256 FROM examples e WHERE NOT EXISTS
         (SELECT 1 FROM example_labels WHERE example_labels.example = e.id))",
        "DELETE FROM examples WHERE NOT EXISTS
         (SELECT 1 FROM example_labels WHERE example_labels.example = examples.id)",
    ] {
        sqlx::query(delete).execute(&mut *tx).await.during("drop examples without labels")?;
    }
    Ok(())
}

/// Drops the texts of examples that can do without: those whose embedding by `encoder` is kept.
pub(super) async fn drop_texts(tx: &mut AnyConnection, encoder: &str) -> Result<(), StoreError> {
    let update = sqlx::query(
        "UPDATE examples SET text = NULL WHERE text IS NOT NULL AND EXISTS
         (SELECT 1 FROM embeddings m WHERE m.sha256 = examples.sha256 AND m.encoder = $1)",
    );
    update.bind(encoder).execute(tx).await.during("drop the texts of examples").map(drop)
}

async fn drop_labels(tx: &mut AnyConnection, tasks: &BTreeSet<&str>) -> Result<(), StoreError> {
    for task in tasks {
        let delete = sqlx::query("DELETE FROM example_labels WHERE task = $1").bind(task);
        delete.execute(&mut *tx).await.during("forget the examples of a task")?;
    }
    Ok(())
}

/// What is in the memory fits its task, whatever happened to that since the job was accepted.
async fn check_labels(
    tx: &mut AnyConnection,
    task: &str,
    targets: &Targets<'_>,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT name, model, labels, new_labels, kind, threshold FROM tasks WHERE name = $1",
    )
    .bind(task)
    .fetch_optional(&mut *tx)
    .await
    .during("read a task")?;
    let Some(row) = row else {
        return Err(StoreError::UnknownTask { task: task.to_owned() });
    };
    let current = tasks::decode(&row)?;
    let used: BTreeSet<&String> = targets.values().flat_map(|target| target.labels()).collect();
    let is_known = |label: &&String| current.labels.iter().any(|known| known == *label);
    match targets.values().all(|it| it.kind() == current.kind) && used.iter().all(is_known) {
        true => Ok(()),
        false => Err(StoreError::TaskChanged { task: task.to_owned() }),
    }
}

/// A text to remember.
#[derive(Clone, Copy)]
struct Text<'a> {
    text: &'a str,
    /// As [`Example::weight`].
    weight: Option<f64>,
}

/// Gives the id of each text, new or known. Ids cannot clash, as only one job runs and only its
/// end comes here.
async fn insert_texts(tx: &mut AnyConnection, texts: &[Text<'_>]) -> Result<Vec<i64>, StoreError> {
    const OPERATION: &str = "remember texts";
    let now = now();
    let mut next: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) + 1 FROM examples")
        .fetch_one(&mut *tx)
        .await
        .during(OPERATION)?;
    let mut ids = Vec::with_capacity(texts.len());
    for chunk in texts.chunks(ROWS_PER_STATEMENT) {
        let hashes: Vec<_> = chunk.iter().map(|it| TextHash::of(it.text).to_string()).collect();
        let known = known_texts(tx, &hashes).await?;
        let mut new = Vec::new();
        for (&Text { text, weight }, hash) in chunk.iter().zip(&hashes) {
            let Some(known) = known.get(hash) else {
                new.push((next, hash, text, weight));
                ids.push(next);
                next += 1;
                continue;
            };
            if !known.has_text {
                let update = sqlx::query("UPDATE examples SET text = $2 WHERE id = $1");
                let update = update.bind(known.id).bind(text).execute(&mut *tx).await;
                update.during(OPERATION)?;
            }
            if known.weight != weight {
                let update = sqlx::query("UPDATE examples SET weight = $2 WHERE id = $1");
                let update = update.bind(known.id).bind(weight).execute(&mut *tx).await;
                update.during(OPERATION)?;
            }
            ids.push(known.id);
        }
        teach_again(tx, known.values().map(|known| known.id).collect(), now).await?;
        if new.is_empty() {
            continue;
        }
        let sql = format!(
            "INSERT INTO examples (id, sha256, text, added_at, weight) VALUES {}",
            placeholders(new.len(), 5),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (id, hash, text, weight) in new {
            query = query.bind(id).bind(hash).bind(text).bind(now).bind(weight);
        }
        query.execute(&mut *tx).await.during(OPERATION)?;
    }
    Ok(ids)
}

/// Known texts that came again are as old as their last lesson.
async fn teach_again(tx: &mut AnyConnection, ids: Vec<i64>, now: i64) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let (list, last) = (placeholders(1, ids.len()), ids.len() + 1);
    let sql = format!("UPDATE examples SET added_at = ${last} WHERE id IN {list}");
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for id in ids {
        query = query.bind(id);
    }
    query.bind(now).execute(tx).await.during("remember texts again").map(drop)
}

/// A text that is among the examples.
struct KnownText {
    id: i64,
    has_text: bool,
    weight: Option<f64>,
}

/// Those texts that are known, by their hashes.
async fn known_texts(
    tx: &mut AnyConnection,
    hashes: &[String],
) -> Result<HashMap<String, KnownText>, StoreError> {
    const OPERATION: &str = "look up texts";
    let sql = format!(
        "SELECT sha256, id, weight, CAST(CASE WHEN text IS NULL THEN 0 ELSE 1 END AS BIGINT) AS has_text
         FROM examples WHERE sha256 IN {}",
        placeholders(1, hashes.len())
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for hash in hashes {
        query = query.bind(hash);
    }
    let rows = query.fetch_all(tx).await.during(OPERATION)?;
    let known = |row: &sqlx::any::AnyRow| {
        let has_text: i64 = row.try_get("has_text")?;
        let (id, weight) = (row.try_get("id")?, row.try_get("weight")?);
        Ok((row.try_get("sha256")?, KnownText { id, has_text: has_text == 1, weight }))
    };
    rows.iter().map(known).collect::<Result<_, sqlx::Error>>().during(OPERATION)
}

/// Puts `targets`, by the place of their text's id in `ids`, in place of what was said for the task.
async fn replace_labels(
    tx: &mut AnyConnection,
    task: &str,
    ids: &[i64],
    targets: Targets<'_>,
) -> Result<(), StoreError> {
    const OPERATION: &str = "remember labels";
    let targets: Vec<_> = targets.into_iter().map(|(place, it)| (ids[place], it)).collect();
    for chunk in targets.chunks(ROWS_PER_STATEMENT) {
        let sql = format!(
            "DELETE FROM example_labels WHERE example IN {} AND task = ${}",
            placeholders(1, chunk.len()),
            chunk.len() + 1,
        );
        let mut delete = sqlx::query(AssertSqlSafe(sql));
        for (id, _) in chunk {
            delete = delete.bind(id);
        }
        delete.bind(task).execute(&mut *tx).await.during(OPERATION)?;
    }
    let rows: Vec<(i64, &str)> =
        targets.iter().flat_map(|&(id, target)| rows(id, target)).collect();
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let sql = format!(
            "INSERT INTO example_labels (example, task, label) VALUES {}",
            placeholders(chunk.len(), 3),
        );
        let mut insert = sqlx::query(AssertSqlSafe(sql));
        for (id, label) in chunk {
            insert = insert.bind(id).bind(task).bind(*label);
        }
        insert.execute(&mut *tx).await.during(OPERATION)?;
    }
    Ok(())
}

/// An example and each label that it has, or that it has none.
fn rows(id: i64, target: &Target) -> impl Iterator<Item = (i64, &str)> {
    let none = target.labels().next().is_none().then_some(NONE_APPLIES);
    target.labels().map(String::as_str).chain(none).map(move |label| (id, label))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::store::fixtures::*;
    use crate::store::{Outcome, Store};
    use crate::training::job::{Example, JobSpec, Mode};
    use crate::training::text_hash::TextHash;

    async fn learn(store: &Store, spec: &JobSpec, examples: &[Example]) {
        let job = start(store, spec, examples).await;
        finish(store, &job.id, vec![]).await.unwrap();
    }

    async fn memory(store: &Store, tasks: &[&str]) -> Vec<Example> {
        remembered(store, tasks).await
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
    async fn sets_of_labels_are_remembered_and_so_is_that_none_applies() {
        let (_folder, store) = store_with_tasks().await;
        store.put_task(&tags()).await.unwrap();
        let mut spec = spec();
        spec.tasks.insert("tags".into());
        let first = [
            tagged("a", &["urgent", "billing"]),
            tagged("b", &[]),
            example("c", &[("topic", "Finance")]),
        ];
        learn(&store, &spec, &first).await;
        assert_eq!(memory(&store, &["tags", "topic"]).await, first);
        assert_eq!(memory(&store, &["tags"]).await, first[..2]);
        let counts = BTreeMap::from([("tags".into(), 2), ("topic".into(), 1)]);
        assert_eq!(store.example_counts().await.unwrap(), counts);

        // A later set takes the place of the former one whole, within a job as well.
        let mut both = tagged("c", &["urgent"]);
        both.labels.extend(example("c", &[("topic", "Technology")]).labels);
        let later = [tagged("b", &["refund"]), tagged("a", &["urgent"]), tagged("a", &[]), both];
        learn(&store, &spec, &later).await;
        let expected = [later[2].clone(), later[0].clone(), later[3].clone()];
        assert_eq!(memory(&store, &["tags", "topic"]).await, expected);

        spec.mode = Mode::Replace;
        spec.frozen.insert("topic".into());
        learn(&store, &spec, &[tagged("d", &["billing"])]).await;
        let expected = [example("c", &[("topic", "Technology")]), tagged("d", &["billing"])];
        assert_eq!(memory(&store, &["tags", "topic"]).await, expected);
        store.delete_task("tags").await.unwrap();
        assert_eq!(memory(&store, &["tags", "topic"]).await, expected[..1]);
    }

    #[tokio::test]
    async fn the_latest_weight_of_a_text_counts() {
        let (_folder, store) = store_with_tasks().await;
        let weighted = |text, weight| Example { weight, ..example(text, &[("topic", "Finance")]) };
        let first = [weighted("a", Some(2.5)), weighted("b", None), weighted("c", Some(0.5))];
        let job = start(&store, &spec(), &first).await;
        assert_eq!(store.job_examples(&job.id).await.unwrap(), first);
        finish(&store, &job.id, vec![]).await.unwrap();
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

    #[tokio::test]
    async fn a_rejected_task_learns_nothing() {
        let (_folder, store) = store_with_tasks().await;
        let old = example("a", &[("topic", "Finance"), ("sentiment", "Negative")]);
        learn(&store, &spec(), &[old]).await;
        let mut replace = spec();
        replace.mode = Mode::Replace;
        let new = example("b", &[("topic", "Technology"), ("sentiment", "Positive")]);
        let job = start(&store, &replace, &[new]).await;
        let rejected = Outcome { rejected: ["topic".into()].into(), ..Outcome::default() };
        store.finish(&job.id, rejected).await.unwrap();
        assert_eq!(
            memory(&store, &["sentiment", "topic"]).await,
            [example("a", &[("topic", "Finance")]), example("b", &[("sentiment", "Positive")])]
        );
    }

    #[tokio::test]
    async fn texts_are_kept_or_not_as_the_operator_says() {
        let (folder, store) = store_with_tasks().await;
        let texts = async |store: &Store| -> Vec<Option<String>> {
            let kept = store.examples(&["topic".into()].into()).await.unwrap();
            kept.into_iter().map(|example| example.text).collect()
        };
        let finance = |text| example(text, &[("topic", "Finance")]);
        learn(&store, &spec(), &[finance("a"), finance("b"), finance("c")]).await;
        store.close().await;
        drop(store);

        let store = Store::open(&url(&folder)).await.unwrap().keeping_texts(false);
        let embedded = ["b", "d"].map(|text| (TextHash::of(text), &[1.0][..]));
        store.keep_embeddings("minilm@1", &embedded).await.unwrap();
        let job = start(&store, &spec(), &[finance("c"), finance("d")]).await;
        finish(&store, &job.id, vec![new_version(topic(), b"w")]).await.unwrap();
        // Without an embedding, a text is all that there is.
        let known = |text: &str| Some(text.to_owned());
        assert_eq!(texts(&store).await, [known("a"), None, known("c"), None]);
        let hashes: Vec<_> = store
            .examples(&["topic".into()].into())
            .await
            .unwrap()
            .into_iter()
            .map(|example| example.hash)
            .collect();
        assert_eq!(hashes, ["a", "b", "c", "d"].map(TextHash::of));

        let store = store.keeping_texts(true);
        learn(&store, &spec(), &[finance("d")]).await;
        assert_eq!(texts(&store).await, [known("a"), None, known("c"), known("d")]);
    }
}
