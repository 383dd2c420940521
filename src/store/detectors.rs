//! Detectors, which of them are active, and their distributions.

use std::sync::Arc;

use sqlx::SqliteConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::cursor::List;
use super::graphs::{no_such_family, parse_split};
use super::{Page, PageRequest, Store, StoreError, json, moment};
use crate::artifact::ArtifactSummary;
use crate::detector::{Distribution, Manifest};
use crate::id::{DetectorId, FamilyId, JobId};
use crate::model::Kind;

/// A detector whose artefact is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDetector {
    pub id: DetectorId,
    pub family: FamilyId,
    /// The job that made it; none for those that ship with the service.
    pub job: Option<JobId>,
    pub artifact: ArtifactSummary,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DetectorRow {
    pub id: DetectorId,
    pub family: FamilyId,
    pub family_name: String,
    pub kind: Kind,
    pub active: bool,
    pub job: Option<JobId>,
    /// With its manifest: hyper-parameters, seed, training curve, sizes (distributions left out: they have a question
    /// of their own).
    pub artifact: ArtifactSummary,
    pub created_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveDetector {
    pub id: DetectorId,
    pub kind: Kind,
}

/// A family, and the detectors that score for it, in the order of their kinds; maybe none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyPanel {
    pub id: FamilyId,
    pub family: String,
    pub detectors: Vec<ActiveDetector>,
}

impl Store {
    /// Records a detector without a job and makes it active: for the samples that ship.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the family is gone.
    pub async fn add_detector(&self, detector: NewDetector) -> Result<(), StoreError> {
        let mut transaction = self.write().await?;
        insert(&mut transaction, &detector).await.map_err(|error| match &error {
            StoreError::Database(sqlx::Error::Database(database)) if database.is_foreign_key_violation() => {
                no_such_family()
            }
            _ => error,
        })?;
        activate(&mut transaction, detector.family, detector.artifact.manifest.kind, detector.id).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn find_detector(&self, id: DetectorId) -> Result<DetectorRow, StoreError> {
        let uuid = id.uuid();
        sqlx::query_as!(
            DetectorRecord,
            r#"
            SELECT
                sequence, id AS "id: Uuid", family, family_name, kind, active AS "active!: bool", job AS "job: Uuid",
                manifest, weights_sha256, manifest_sha256, size_bytes AS "size_bytes: u64", created_at
            FROM detector_details WHERE id = ?
            "#,
            uuid
        )
        .fetch_optional(&self.readers)
        .await?
        .ok_or_else(|| no_detector(id))?
        .try_into()
    }

    /// The newest first; of one family where given.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    pub async fn list_detectors(
        &self,
        family: Option<FamilyId>,
        page: &PageRequest,
    ) -> Result<Page<DetectorRow>, StoreError> {
        let (before, rows) = (List::Detectors.number(page, i64::MAX)?, page.rows());
        let family = family.map(FamilyId::get);
        let found = sqlx::query_as!(
            DetectorRecord,
            r#"
            SELECT
                sequence, id AS "id: Uuid", family, family_name, kind, active AS "active!: bool", job AS "job: Uuid",
                manifest, weights_sha256, manifest_sha256, size_bytes AS "size_bytes: u64", created_at
            FROM detector_details
            WHERE sequence < ?1 AND (?2 IS NULL OR family = ?2) ORDER BY sequence DESC LIMIT ?3
            "#,
            before,
            family,
            rows
        )
        .fetch_all(&self.readers)
        .await?;
        page.fill(found, |record| List::Detectors.cursor(record.sequence), DetectorRow::try_from)
    }

    /// Every detector's id: for repairs at start.
    ///
    /// # Errors
    /// The database.
    pub async fn detector_ids(&self) -> Result<Vec<DetectorId>, StoreError> {
        let ids = sqlx::query_scalar!(r#"SELECT id AS "id: Uuid" FROM detectors ORDER BY sequence"#)
            .fetch_all(&self.readers)
            .await?;
        Ok(ids.into_iter().map(DetectorId::new).collect())
    }

    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] while it is active.
    pub async fn delete_detector(&self, id: DetectorId) -> Result<(), StoreError> {
        let uuid = id.uuid();
        let mut transaction = self.write().await?;
        let deleted = sqlx::query!("DELETE FROM detectors WHERE id = ?", uuid)
            .execute(&mut *transaction)
            .await
            .map_err(|error| match &error {
                // Only the active detectors point at one.
                sqlx::Error::Database(database) if database.is_foreign_key_violation() => StoreError::Conflict {
                    what: format!("detector {id} is active; make another one of its kind active first"),
                },
                _ => error.into(),
            })?
            .rows_affected();
        if deleted == 0 {
            return Err(no_detector(id));
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Removes a detector whose artefact is lost, active or not: for repairs at start.
    ///
    /// # Errors
    /// The database.
    pub async fn drop_lost_detector(&self, id: DetectorId) -> Result<(), StoreError> {
        let id = id.uuid();
        let mut transaction = self.write().await?;
        sqlx::query!("DELETE FROM active_detectors WHERE detector = ?", id).execute(&mut *transaction).await?;
        sqlx::query!("DELETE FROM detectors WHERE id = ?", id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Makes `detector` the one of its kind that scores for the family.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such detector; [`StoreError::Conflict`] when it is of another family or
    /// kind.
    pub async fn set_active_detector(
        &self,
        family: FamilyId,
        kind: Kind,
        detector: DetectorId,
    ) -> Result<(), StoreError> {
        let uuid = detector.uuid();
        let mut transaction = self.write().await?;
        let found = sqlx::query!("SELECT family, kind FROM detectors WHERE id = ?", uuid)
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| no_detector(detector))?;
        if found.family != family.get() {
            return Err(StoreError::Conflict { what: format!("detector {detector} is of another family") });
        }
        if found.kind != kind.as_str() {
            let what = format!("detector {detector} is of kind `{}`, not `{kind}`", found.kind);
            return Err(StoreError::Conflict { what });
        }
        activate(&mut transaction, family, kind, detector).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// In the order of [`Kind::ALL`].
    ///
    /// # Errors
    /// The database.
    pub async fn active_detectors(&self, family: FamilyId) -> Result<Vec<ActiveDetector>, StoreError> {
        let family = family.get();
        let found =
            sqlx::query!(r#"SELECT detector AS "detector: Uuid", kind FROM active_detectors WHERE family = ?"#, family)
                .fetch_all(&self.readers)
                .await?;
        let mut active = found
            .into_iter()
            .map(|record| Ok(ActiveDetector { id: DetectorId::new(record.detector), kind: parse_kind(&record.kind)? }))
            .collect::<Result<Vec<_>, StoreError>>()?;
        active.sort_by_key(|active| Kind::ALL.iter().position(|kind| *kind == active.kind));
        Ok(active)
    }

    /// Who scores for the family of this name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn panel(&self, family: &str) -> Result<Arc<FamilyPanel>, StoreError> {
        let read = async {
            let row = self.find_family(family).await?;
            let detectors = self.active_detectors(row.id).await?;
            Ok(Some(Arc::new(FamilyPanel { id: row.id, family: row.name, detectors })))
        };
        let panel = self.remembered.panels.get(family.to_owned(), read).await?;
        panel.ok_or_else(|| StoreError::NotFound { what: format!("family `{family}`") })
    }

    /// How each statistic is distributed over each split under a detector, in the order that the detector told them.
    ///
    /// # Errors
    /// The database.
    pub async fn distributions(&self, detector: DetectorId) -> Result<Vec<Distribution>, StoreError> {
        let detector = detector.uuid();
        let found = sqlx::query!(
            r#"
            SELECT split, statistic, summary, histogram_10, histogram_50 FROM distributions
            WHERE detector = ? ORDER BY position
            "#,
            detector
        )
        .fetch_all(&self.readers)
        .await?;
        found
            .into_iter()
            .map(|record| {
                Ok(Distribution {
                    split: parse_split(&record.split)?,
                    statistic: record.statistic,
                    summary: json::decode("summary", &record.summary)?,
                    histogram_10: json::decode("histogram", &record.histogram_10)?,
                    histogram_50: json::decode("histogram", &record.histogram_50)?,
                })
            })
            .collect()
    }
}

/// Writes a detector's row and its distributions.
pub(super) async fn insert(connection: &mut SqliteConnection, detector: &NewDetector) -> Result<(), StoreError> {
    let ArtifactSummary { manifest, weights_sha256, manifest_sha256, size_bytes } = &detector.artifact;
    let (id, family, kind) = (detector.id.uuid(), detector.family.get(), manifest.kind.as_str());
    let (job, size_bytes, now) = (detector.job.map(JobId::uuid), *size_bytes as i64, moment::now());
    let bare = json::encode(&Manifest { distributions: Vec::new(), ..manifest.clone() })?;
    sqlx::query!(
        "INSERT INTO detectors (id, family, kind, job, manifest, weights_sha256, manifest_sha256, size_bytes, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        id,
        family,
        kind,
        job,
        bare,
        weights_sha256,
        manifest_sha256,
        size_bytes,
        now
    )
    .execute(&mut *connection)
    .await?;
    for (position, distribution) in manifest.distributions.iter().enumerate() {
        let (position, split) = (position as i64, distribution.split.as_str());
        let summary = json::encode(&distribution.summary)?;
        let histogram_10 = json::encode(&distribution.histogram_10)?;
        let histogram_50 = json::encode(&distribution.histogram_50)?;
        sqlx::query!(
            "INSERT INTO distributions (detector, position, split, statistic, summary, histogram_10, histogram_50)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            id,
            position,
            split,
            distribution.statistic,
            summary,
            histogram_10,
            histogram_50
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Makes a detector the active one of its kind; the table refuses one of another family or kind.
pub(super) async fn activate(
    connection: &mut SqliteConnection,
    family: FamilyId,
    kind: Kind,
    detector: DetectorId,
) -> Result<(), StoreError> {
    let (family, kind, detector) = (family.get(), kind.as_str(), detector.uuid());
    sqlx::query!(
        "INSERT INTO active_detectors (family, kind, detector) VALUES (?, ?, ?)
         ON CONFLICT (family, kind) DO UPDATE SET detector = excluded.detector",
        family,
        kind,
        detector
    )
    .execute(connection)
    .await?;
    Ok(())
}

struct DetectorRecord {
    sequence: i64,
    id: Uuid,
    family: i64,
    family_name: String,
    kind: String,
    active: bool,
    job: Option<Uuid>,
    manifest: String,
    weights_sha256: String,
    manifest_sha256: String,
    size_bytes: u64,
    created_at: i64,
}

impl TryFrom<DetectorRecord> for DetectorRow {
    type Error = StoreError;

    fn try_from(record: DetectorRecord) -> Result<Self, StoreError> {
        Ok(Self {
            id: DetectorId::new(record.id),
            family: FamilyId::new(record.family),
            family_name: record.family_name,
            kind: parse_kind(&record.kind)?,
            active: record.active,
            job: record.job.map(JobId::new),
            artifact: ArtifactSummary {
                manifest: json::decode("manifest", &record.manifest)?,
                weights_sha256: record.weights_sha256,
                manifest_sha256: record.manifest_sha256,
                size_bytes: record.size_bytes,
            },
            created_at: moment::to_time(record.created_at)?,
        })
    }
}

fn parse_kind(text: &str) -> Result<Kind, StoreError> {
    text.parse().map_err(|()| StoreError::Damaged {
        what: "detector",
        detail: format!("`{text}` is not a kind that this version knows"),
    })
}

fn no_detector(id: DetectorId) -> StoreError {
    StoreError::NotFound { what: format!("detector {id}") }
}
