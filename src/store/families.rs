//! Families.

use time::OffsetDateTime;

use super::{NewGraph, Page, PageRequest, Store, StoreError};
use crate::graph::split::SplitCounts;
use crate::id::FamilyId;

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
    pub async fn create_family(&self, _family: &NewFamily) -> Result<FamilyRow, StoreError> {
        todo!()
    }

    /// Makes families with their graphs in one transaction: all of them or none. Splits are assigned here, twins together.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a name is taken or an id stands twice in a family.
    pub async fn import_families(
        &self,
        _families: Vec<(NewFamily, Vec<NewGraph>)>,
    ) -> Result<Vec<FamilyRow>, StoreError> {
        todo!()
    }

    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn find_family(&self, _name: &str) -> Result<FamilyRow, StoreError> {
        todo!()
    }

    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn family_overview(&self, _name: &str) -> Result<FamilyOverview, StoreError> {
        todo!()
    }

    /// By name.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`].
    pub async fn list_families(&self, _page: &PageRequest) -> Result<Page<FamilyOverview>, StoreError> {
        todo!()
    }

    /// Deletes it with its graphs, jobs, detectors and distributions; gives back the detectors that went, for their
    /// artefacts to be deleted.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or [`StoreError::Conflict`] while a job of the family is queued or running.
    pub async fn delete_family(&self, _name: &str) -> Result<Vec<crate::id::DetectorId>, StoreError> {
        todo!()
    }
}
