//! The definitions of tasks.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::heads::{Kind, NewLabels, Task};
use crate::store::error::{During, StoreError};
use crate::store::queue::take_turn;
use crate::store::{Store, jobs, live_versions, memory, refuse_nul};

/// What [`Store::put_task`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskChange {
    /// There was no task of that name.
    Created,
    /// The model, the labels or the kind were replaced.
    Redefined,
    /// Only what becomes of new labels, or the threshold, was changed.
    Adjusted,
    /// The task was defined so already.
    Unchanged,
}

impl Store {
    /// Defines a task. Its kind, its model and its labels, in their order, are fixed from the first head
    /// version or example on, but for new labels that it allows and has got.
    ///
    /// # Errors
    /// [`StoreError::TaskInUse`] when another definition is fixed.
    pub async fn put_task(&self, task: &Task) -> Result<TaskChange, StoreError> {
        const OPERATION: &str = "define a task";
        refuse_nul("the task's name", &task.name)?;
        refuse_nul("the task's model", &task.model)?;
        for label in &task.labels {
            refuse_nul("a label of the task", label)?;
        }
        let labels = serde_json::to_string(&task.labels).expect("strings always make JSON");
        let (policy, kind) = (written(task.new_labels), task.kind.as_str());
        let threshold = task.threshold.map(f64::from);
        let mut tx = self.begin(OPERATION).await?;
        let inserted = sqlx::query(
            "INSERT INTO tasks (name, model, labels, last_version, new_labels, kind, threshold)
             VALUES ($1, $2, $3, 0, $4, $5, $6)
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(&task.name)
        .bind(&task.model)
        .bind(&labels)
        .bind(policy)
        .bind(kind)
        .bind(threshold)
        .execute(&mut *tx)
        .await
        .during(OPERATION)?;
        let change = if inserted.rows_affected() == 1 {
            TaskChange::Created
        } else {
            let row = sqlx::query(
                "SELECT name, model, labels, new_labels, kind, threshold FROM tasks WHERE name = $1",
            )
            .bind(&task.name)
            .fetch_optional(&mut *tx)
            .await
            .during(OPERATION)?;
            // Deleted by another replica in this moment.
            let row = row.ok_or_else(|| StoreError::TaskChanged { task: task.name.clone() })?;
            let current = decode(&row)?;
            let adjusted =
                Task { new_labels: task.new_labels, threshold: task.threshold, ..current.clone() };
            if current.is_grown_from(task) || adjusted.is_grown_from(task) {
                let update =
                    sqlx::query("UPDATE tasks SET new_labels = $2, threshold = $3 WHERE name = $1");
                let update = update.bind(&task.name).bind(policy).bind(threshold);
                update.execute(&mut *tx).await.during(OPERATION)?;
                match adjusted == current {
                    true => TaskChange::Unchanged,
                    false => TaskChange::Adjusted,
                }
            } else {
                let redefined = sqlx::query(
                    "UPDATE tasks SET model = $2, labels = $3, new_labels = $4, kind = $5, threshold = $6
                     WHERE name = $1 AND last_version = 0 AND NOT EXISTS (SELECT 1 FROM example_labels WHERE task = $1)",
                )
                .bind(&task.name)
                .bind(&task.model)
                .bind(&labels)
                .bind(policy)
                .bind(kind)
                .bind(threshold)
                .execute(&mut *tx)
                .await
                .during(OPERATION)?;
                if redefined.rows_affected() == 0 {
                    let Task { name: task, model, labels, kind, .. } = current;
                    return Err(StoreError::TaskInUse { task, model, labels, kind });
                }
                TaskChange::Redefined
            }
        };
        if change != TaskChange::Unchanged {
            self.count_change(&mut tx).await?;
        }
        tx.commit().await.during(OPERATION)?;
        Ok(change)
    }

    /// All tasks, by name.
    pub async fn tasks(&self) -> Result<Vec<Task>, StoreError> {
        let rows =
            sqlx::query("SELECT name, model, labels, new_labels, kind, threshold FROM tasks")
                .fetch_all(&self.reads)
                .await
                .during("list the tasks")?;
        let mut tasks = rows.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
        // Not in SQL: databases collate differently.
        tasks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tasks)
    }

    /// The task of that name, if there is one.
    pub async fn task(&self, name: &str) -> Result<Option<Task>, StoreError> {
        let row = sqlx::query(
            "SELECT name, model, labels, new_labels, kind, threshold FROM tasks WHERE name = $1",
        )
        .bind(name)
        .fetch_optional(&self.reads)
        .await
        .during("read a task")?;
        row.as_ref().map(decode).transpose()
    }

    /// Removes a task with its head versions and the labels that examples carry for it. A task of
    /// the same name may be defined later; its versions count from 1 again.
    ///
    /// # Errors
    /// [`StoreError::UnknownTask`]; [`StoreError::TaskInTraining`] while a job that has not ended names
    /// the task, which could otherwise publish what was learnt for the task that is gone.
    pub async fn delete_task(&self, name: &str) -> Result<(), StoreError> {
        const OPERATION: &str = "delete a task";
        let mut tx = self.begin(OPERATION).await?;
        take_turn(&mut tx).await?;
        live_versions::lock(&mut tx, name).await?;
        let jobs = sqlx::query("SELECT * FROM jobs WHERE state IN ('queued', 'running')")
            .fetch_all(&mut *tx)
            .await
            .during(OPERATION)?;
        for job in &jobs {
            // One that cannot be read cannot run either.
            let Some(job) = jobs::readable(job)? else { continue };
            if job.spec.tasks.contains(name) {
                return Err(StoreError::TaskInTraining { task: name.to_owned(), job: job.id });
            }
        }
        for delete in [
            "DELETE FROM earlier_live_versions WHERE task = $1",
            "DELETE FROM live_versions WHERE task = $1",
            "DELETE FROM head_versions WHERE task = $1",
        ] {
            sqlx::query(delete).bind(name).execute(&mut *tx).await.during(OPERATION)?;
        }
        memory::forget(&mut tx, &[name].into()).await?;
        let delete = sqlx::query("DELETE FROM tasks WHERE name = $1").bind(name);
        delete.execute(&mut *tx).await.during(OPERATION)?;
        self.count_change(&mut tx).await?;
        self.commit_deletion(tx, OPERATION).await
    }
}

/// Gives a task the further labels of what it has grown to.
pub(super) async fn grow(tx: &mut AnyConnection, grown: &Task) -> Result<(), StoreError> {
    for label in &grown.labels {
        refuse_nul("a label of the task", label)?;
    }
    let labels = serde_json::to_string(&grown.labels).expect("strings always make JSON");
    let update = sqlx::query("UPDATE tasks SET labels = $2 WHERE name = $1");
    let update = update.bind(&grown.name).bind(labels).execute(tx).await;
    update.during("add labels to a task").map(drop)
}

fn written(new_labels: NewLabels) -> &'static str {
    match new_labels {
        NewLabels::Refuse => "refuse",
        NewLabels::Allow => "allow",
    }
}

/// Reads the columns `name`, `model`, `labels`, `new_labels`, `kind` and `threshold`.
pub(super) fn decode(row: &AnyRow) -> Result<Task, StoreError> {
    const OPERATION: &str = "read a task";
    let name: String = row.try_get("name").during(OPERATION)?;
    let labels: &str = row.try_get("labels").during(OPERATION)?;
    let labels = serde_json::from_str(labels)
        .map_err(|e| StoreError::corrupt(format!("the label list of task {name:?}"), e))?;
    let new_labels = match row.try_get("new_labels").during(OPERATION)? {
        "allow" => NewLabels::Allow,
        "refuse" => NewLabels::Refuse,
        other => {
            let what = format!("what task {name:?} does with new labels");
            return Err(StoreError::corrupt(what, format!("{other:?} is neither")));
        }
    };
    let (model, kind) = (row.try_get("model").during(OPERATION)?, kind(row, &name)?);
    let threshold: Option<f64> = row.try_get("threshold").during(OPERATION)?;
    // It was written from single precision.
    let threshold = threshold.map(|threshold| threshold as f32);
    Ok(Task { name, model, labels, new_labels, kind, threshold })
}

/// Reads the column `kind`.
pub(super) fn kind(row: &AnyRow, task: &str) -> Result<Kind, StoreError> {
    let kind: &str = row.try_get("kind").during("read the kind of a task")?;
    Kind::parse(kind).ok_or_else(|| {
        let what = format!("the kind of task {task:?}");
        StoreError::corrupt(what, format!("{kind:?} is none"))
    })
}

#[cfg(test)]
mod tests {
    use crate::heads::{Kind, NewLabels, Task};
    use crate::store::fixtures::*;
    use crate::store::{StoreError, TaskChange};

    #[tokio::test]
    async fn tasks_are_listed_by_name_with_their_labels_in_order() {
        let (_folder, store) = store_with_tasks().await;
        assert_eq!(store.tasks().await.unwrap(), [sentiment(), topic()]);
        assert_eq!(store.task("topic").await.unwrap(), Some(topic()));
        assert_eq!(store.task("Topic").await.unwrap(), None);
    }

    #[tokio::test]
    async fn defining_a_task_twice_changes_nothing() {
        let (_folder, store) = store().await;
        assert_eq!(store.put_task(&topic()).await.unwrap(), TaskChange::Created);
        assert_eq!(store.put_task(&topic()).await.unwrap(), TaskChange::Unchanged);
        assert_eq!(store.tasks().await.unwrap(), [topic()]);
    }

    #[tokio::test]
    async fn an_untrained_task_may_be_redefined() {
        let (_folder, store) = store_with_tasks().await;
        let other = task("topic", &["Sport", "Weather"]);
        assert_eq!(store.put_task(&other).await.unwrap(), TaskChange::Redefined);
        assert_eq!(store.task("topic").await.unwrap(), Some(other));
    }

    #[tokio::test]
    async fn the_kind_of_a_task_is_fixed_as_its_labels_are() {
        let (_folder, store) = store().await;
        let single = Task { kind: Kind::SingleLabel, ..tags() };
        assert_eq!(store.put_task(&single).await.unwrap(), TaskChange::Created);
        assert_eq!(store.put_task(&tags()).await.unwrap(), TaskChange::Redefined);
        assert_eq!(store.task("tags").await.unwrap(), Some(tags()));
        let mut spec = spec();
        spec.tasks = ["tags".into()].into();
        let job = start(&store, &spec, &[tagged("a", &[])]).await;
        finish(&store, &job.id, vec![]).await.unwrap();
        let refused = store.put_task(&single).await.unwrap_err();
        assert!(matches!(refused, StoreError::TaskInUse { .. }), "{refused:?}");
        assert!(refused.to_string().contains("multi_label"), "{refused}");
        assert_eq!(store.put_task(&tags()).await.unwrap(), TaskChange::Unchanged);
    }

    #[tokio::test]
    async fn a_task_with_versions_keeps_its_labels_and_their_order() {
        let (_folder, store) = store_with_tasks().await;
        let job = start(&store, &spec(), &[]).await;
        finish(&store, &job.id, vec![new_version(topic(), b"w")]).await.unwrap();
        let mut reversed = topic();
        reversed.labels.reverse();
        let mut moved = topic();
        moved.model = "bert".into();
        for other in [reversed, moved, task("topic", &["Sport"])] {
            match store.put_task(&other).await {
                Err(StoreError::TaskInUse { task, labels, .. }) => {
                    assert_eq!((task, labels), ("topic".into(), topic().labels));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(store.put_task(&topic()).await.unwrap(), TaskChange::Unchanged);
    }

    #[tokio::test]
    async fn a_task_that_allows_new_labels_gets_those_of_its_versions() {
        let (_folder, store) = store_with_tasks().await;
        let grown = task("topic", &["Finance", "Entertainment", "Technology", "Sport"]);
        let job = start(&store, &spec(), &[example("a", &[("topic", "Sport")])]).await;
        let refused = finish(&store, &job.id, vec![new_version(grown.clone(), b"w")]).await;
        assert!(matches!(refused, Err(StoreError::TaskChanged { .. })), "{refused:?}");

        let open = Task { new_labels: NewLabels::Allow, ..topic() };
        assert_eq!(store.put_task(&open).await.unwrap(), TaskChange::Adjusted);
        let grown = Task { new_labels: NewLabels::Allow, ..grown };
        finish(&store, &job.id, vec![new_version(grown.clone(), b"w")]).await.unwrap();
        assert_eq!(store.task("topic").await.unwrap().unwrap(), grown);
        assert_eq!(remembered(&store, ["topic"]).await, [example("a", &[("topic", "Sport")])]);

        // As it was defined, it is defined still.
        assert_eq!(store.put_task(&open).await.unwrap(), TaskChange::Unchanged);
        let other = Task { labels: vec!["Finance".into(), "Sport".into()], ..open };
        let refused = store.put_task(&other).await;
        assert!(matches!(refused, Err(StoreError::TaskInUse { .. })), "{refused:?}");
        let closed = Task { new_labels: NewLabels::Refuse, ..grown };
        assert_eq!(store.put_task(&closed).await.unwrap(), TaskChange::Adjusted);
        assert_eq!(store.task("topic").await.unwrap().unwrap(), closed);
    }

    #[tokio::test]
    async fn a_task_with_examples_keeps_its_labels() {
        let (_folder, store) = store_with_tasks().await;
        let job = start(&store, &spec(), &[example("a", &[("topic", "Finance")])]).await;
        finish(&store, &job.id, vec![]).await.unwrap();
        let refused = store.put_task(&task("topic", &["Sport"])).await;
        assert!(matches!(refused, Err(StoreError::TaskInUse { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn deleting_a_task_removes_its_versions_and_labels_and_nothing_else() {
        let (_folder, store) = store_with_tasks().await;
        let both = example("a", &[("topic", "Finance"), ("sentiment", "Negative")]);
        let one = example("b", &[("topic", "Technology")]);
        let job = start(&store, &spec(), &[both, one]).await;
        let versions = vec![new_version(topic(), b"t"), new_version(sentiment(), b"s")];
        finish(&store, &job.id, versions).await.unwrap();
        let job = start(&store, &spec(), &[]).await;
        let child = new_version(topic(), b"t2");
        let child = crate::store::NewVersion { parent: Some(1), ..child };
        finish(&store, &job.id, vec![child]).await.unwrap();

        store.delete_task("topic").await.unwrap();
        assert_eq!(store.tasks().await.unwrap(), [sentiment()]);
        assert_eq!(store.versions("topic").await.unwrap(), []);
        let live = store.live_versions().await.unwrap();
        assert_eq!(live.iter().map(|v| v.task.as_str()).collect::<Vec<_>>(), ["sentiment"]);
        let left = remembered(&store, ["sentiment", "topic"]).await;
        assert_eq!(left, [example("a", &[("sentiment", "Negative")])]);
        assert_eq!(store.job(&job.id).await.unwrap().unwrap().published["topic"], 2);
    }

    #[tokio::test]
    async fn a_deleted_task_may_start_again_with_other_labels() {
        let (_folder, store) = store_with_tasks().await;
        let job = start(&store, &spec(), &[]).await;
        finish(&store, &job.id, vec![new_version(topic(), b"w")]).await.unwrap();
        store.delete_task("topic").await.unwrap();
        let other = task("topic", &["Sport", "Weather"]);
        assert_eq!(store.put_task(&other).await.unwrap(), TaskChange::Created);
        assert_eq!(store.versions("topic").await.unwrap(), []);
    }

    #[tokio::test]
    async fn deleting_a_task_that_does_not_exist_is_an_error() {
        let (_folder, store) = store().await;
        let refused = store.delete_task("topic").await;
        assert!(matches!(refused, Err(StoreError::UnknownTask { task }) if task == "topic"));
    }

    #[tokio::test]
    async fn names_and_labels_with_nul_are_refused() {
        let (_folder, store) = store().await;
        for odd in [task("to\0pic", &["A"]), task("topic", &["A", "B\0"])] {
            let refused = store.put_task(&odd).await;
            assert!(matches!(refused, Err(StoreError::NulCharacter { .. })), "{refused:?}");
        }
        assert_eq!(store.tasks().await.unwrap(), []);
    }
}
