//! Families.

use sqlx::SqliteConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::cursor::List;
use super::{NewGraph, Page, PageRequest, Store, StoreError, graphs, json, moment, off_thread};
use crate::graph::split::{Split, SplitCounts};
use crate::id::{DetectorId, FamilyId};

/// A family to make. Names match `^[a-z0-9][a-z0-9._-]{0,62}$`; `http` checks, the table's `CHECK` holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFamily {
    pub name: String,
    pub description: Option<String>,
    /// The TU class label it came from.
    pub class_label: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyRow {
    pub id: FamilyId,
    pub name: String,
    pub description: Option<String>,
    pub class_label: Option<i64>,
    pub created_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SizeStatistics {
    pub min: u64,
    pub max: u64,
    pub mean: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FamilyOverview {
    pub family: FamilyRow,
    pub splits: SplitCounts,
    /// `None` while the family is empty.
    pub nodes: Option<SizeStatistics>,
    pub edges: Option<SizeStatistics>,
    pub labelled: bool,
}

impl Store {
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken.
    pub async fn create_family(&self, family: &NewFamily) -> Result<FamilyRow, StoreError> {
        let mut transaction = self.write().await?;
        let row = insert_family(&mut transaction, family).await?;
        transaction.commit().await?;
        Ok(row)
    }

    /// Makes families with their graphs in one transaction: all of them or none. Splits are assigned here, twins together.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a name is taken or an id stands twice in a family.
    pub async fn import_families(
        &self,
        families: Vec<(NewFamily, Vec<NewGraph>)>,
    ) -> Result<Vec<FamilyRow>, StoreError> {
        let mut prepared = Vec::with_capacity(families.len());
        for (family, graphs) in families {
            let names = graphs::name_graphs(&graphs, 0, &mut graphs::NoneYet).await?;
            let names = names.into_iter().collect::<Result<Vec<_>, _>>().map_err(|id| StoreError::Conflict {
                what: format!("two graphs of `{}` are named `{id}`", family.name),
            })?;
            prepared.push(
                off_thread(move || {
                    let graphs =
                        graphs::prepare(names.into_iter().zip(graphs.into_iter().map(|new| new.graph)).collect());
                    let splits = graphs::assign(&family.name, SplitCounts::default(), &[], &graphs)?;
                    Ok::<_, StoreError>((family, graphs, splits))
                })
                .await??,
            );
        }
        let mut transaction = self.write().await?;
        let mut rows = Vec::with_capacity(prepared.len());
        for (family, graphs, splits) in prepared {
            let row = insert_family(&mut transaction, &family).await?;
            graphs::insert(&mut transaction, row.id, &graphs, &splits).await?;
            rows.push(row);
        }
        transaction.commit().await?;
        Ok(rows)
    }

    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn find_family(&self, name: &str) -> Result<FamilyRow, StoreError> {
        sqlx::query_as!(
            FamilyRecord,
            "SELECT id, name, description, class_label, created_at FROM families WHERE name = ?",
            name
        )
        .fetch_optional(&self.readers)
        .await?
        .ok_or_else(|| no_family(name))?
        .try_into()
    }

    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn family_overview(&self, name: &str) -> Result<FamilyOverview, StoreError> {
        let family = self.find_family(name).await?;
        let sizes = self.sizes(&[family.id]).await?;
        Ok(FamilyOverview::new(family, &sizes))
    }

    /// By name.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    pub async fn list_families(&self, page: &PageRequest) -> Result<Page<FamilyOverview>, StoreError> {
        // Every name is greater than the empty one.
        let after = List::Families.key(page)?.unwrap_or_default();
        let rows = page.rows();
        let found = sqlx::query_as!(
            FamilyRecord,
            r#"
            SELECT id, name, description, class_label, created_at FROM families
            WHERE name > ? ORDER BY name LIMIT ?
            "#,
            after,
            rows
        )
        .fetch_all(&self.readers)
        .await?;
        let families: Vec<_> = found.iter().map(|record| FamilyId::new(record.id)).collect();
        let sizes = self.sizes(&families).await?;
        page.fill(
            found,
            |record| List::Families.cursor(&record.name),
            |record| Ok(FamilyOverview::new(record.try_into()?, &sizes)),
        )
    }

    /// Deletes it with its graphs, jobs, detectors and distributions; gives back the detectors that went, for their
    /// artefacts to be deleted.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or [`StoreError::Conflict`] while a job that needs the family is queued or running.
    pub async fn delete_family(&self, name: &str) -> Result<Vec<DetectorId>, StoreError> {
        let mut transaction = self.write().await?;
        let family = sqlx::query_scalar!("SELECT id FROM families WHERE name = ?", name)
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| no_family(name))?;
        let busy = sqlx::query_scalar!(
            r#"
            SELECT count(*) AS "count!: i64"
            FROM jobs
            WHERE state IN ('queued', 'running') AND (
                family = ?
                OR task = 'evaluation' AND EXISTS (
                    SELECT 1 FROM json_each(spec, '$.anomalous') AS anomalous WHERE anomalous.value ->> 'id' = ?
                )
            )
            "#,
            family,
            family
        )
        .fetch_one(&mut *transaction)
        .await?;
        if busy > 0 {
            let what = format!("{busy} queued or running jobs need family `{name}`; cancel them first");
            return Err(StoreError::Conflict { what });
        }
        let detectors =
            sqlx::query_scalar!(r#"SELECT id AS "id: Uuid" FROM detectors WHERE family = ? ORDER BY sequence"#, family)
                .fetch_all(&mut *transaction)
                .await?;
        sqlx::query!("DELETE FROM families WHERE id = ?", family).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(detectors.into_iter().map(DetectorId::new).collect())
    }

    /// How many graphs of which size each split of `families` has.
    async fn sizes(&self, families: &[FamilyId]) -> Result<Vec<SplitSize>, StoreError> {
        let families = json::encode(&families)?;
        let sizes = sqlx::query_as!(
            SplitSize,
            r#"
            SELECT
                family AS "family!", split AS "split!", count(*) AS "graphs!: u64", min(labelled) AS "labelled!: bool",
                min(nodes) AS "min_nodes!: u64", max(nodes) AS "max_nodes!: u64", sum(nodes) AS "sum_nodes!: u64",
                min(edges) AS "min_edges!: u64", max(edges) AS "max_edges!: u64", sum(edges) AS "sum_edges!: u64"
            FROM graphs
            WHERE family IN (SELECT value FROM json_each(?))
            GROUP BY family, split
            "#,
            families
        )
        .fetch_all(&self.readers)
        .await?;
        Ok(sizes)
    }
}

fn no_family(name: &str) -> StoreError {
    StoreError::NotFound { what: format!("family `{name}`") }
}

async fn insert_family(connection: &mut SqliteConnection, family: &NewFamily) -> Result<FamilyRow, StoreError> {
    let now = moment::now();
    let id = sqlx::query_scalar!(
        "INSERT INTO families (name, description, class_label, created_at) VALUES (?, ?, ?, ?) RETURNING id",
        family.name,
        family.description,
        family.class_label,
        now
    )
    .fetch_one(connection)
    .await
    .map_err(|error| match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => {
            StoreError::Conflict { what: format!("there is a family named `{}` already", family.name) }
        }
        _ => error.into(),
    })?;
    Ok(FamilyRow {
        id: FamilyId::new(id),
        name: family.name.clone(),
        description: family.description.clone(),
        class_label: family.class_label,
        created_at: moment::to_time(now)?,
    })
}

struct FamilyRecord {
    id: i64,
    name: String,
    description: Option<String>,
    class_label: Option<i64>,
    created_at: i64,
}

impl TryFrom<FamilyRecord> for FamilyRow {
    type Error = StoreError;

    fn try_from(record: FamilyRecord) -> Result<Self, StoreError> {
        Ok(Self {
            id: FamilyId::new(record.id),
            name: record.name,
            description: record.description,
            class_label: record.class_label,
            created_at: moment::to_time(record.created_at)?,
        })
    }
}

/// The graphs of one split of a family, counted.
struct SplitSize {
    family: i64,
    split: String,
    graphs: u64,
    labelled: bool,
    min_nodes: u64,
    max_nodes: u64,
    sum_nodes: u64,
    min_edges: u64,
    max_edges: u64,
    sum_edges: u64,
}

impl FamilyOverview {
    /// The overview of `family`, its sizes picked from `sizes`.
    fn new(family: FamilyRow, sizes: &[SplitSize]) -> Self {
        let own: Vec<&SplitSize> = sizes.iter().filter(|size| size.family == family.id.get()).collect();
        let count = |split: Split| {
            own.iter().filter(|size| size.split == split.as_str()).map(|size| size.graphs as usize).sum()
        };
        let statistics = |of: fn(&SplitSize) -> (u64, u64, u64)| {
            Some(SizeStatistics {
                min: own.iter().map(|size| of(size).0).min()?,
                max: own.iter().map(|size| of(size).1).max()?,
                mean: own.iter().map(|size| of(size).2).sum::<u64>() as f64
                    / own.iter().map(|size| size.graphs).sum::<u64>() as f64,
            })
        };
        Self {
            splits: SplitCounts {
                train: count(Split::Train),
                calibration: count(Split::Calibration),
                test: count(Split::Test),
            },
            nodes: statistics(|size| (size.min_nodes, size.max_nodes, size.sum_nodes)),
            edges: statistics(|size| (size.min_edges, size.max_edges, size.sum_edges)),
            labelled: !own.is_empty() && own.iter().all(|size| size.labelled),
            family,
        }
    }
}
