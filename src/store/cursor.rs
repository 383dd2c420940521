//! Pages of lists, and the opaque positions between them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::StoreError;
use crate::job::TaskName;

/// A page of a list: rows after a position, and where the next page begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Opaque position of the last item when more follow.
    pub next: Option<String>,
}

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Items on the page; 0 is read as 1.
    pub limit: u32,
    /// A position given by an earlier page; [`StoreError::BadCursor`] when it is not one.
    pub after: Option<String>,
}

/// The lists that are given in pages. A cursor names its list, so that one list's cursor means nothing to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Families,
    Graphs,
    Detectors,
    Jobs(TaskName),
}

impl List {
    const fn tag(self) -> &'static str {
        match self {
            Self::Families => "family ",
            Self::Graphs => "graph ",
            Self::Detectors => "detector ",
            Self::Jobs(TaskName::Training) => "job ",
            Self::Jobs(TaskName::Evaluation) => "evaluation ",
        }
    }

    /// The cursor of the item whose sort key is `key`.
    pub(super) fn cursor(self, key: impl std::fmt::Display) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}{key}", self.tag()))
    }

    /// The sort key to go on from; none for the first page.
    pub(super) fn key(self, page: &PageRequest) -> Result<Option<String>, StoreError> {
        let Some(cursor) = &page.after else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| StoreError::BadCursor)?;
        let text = String::from_utf8(bytes).map_err(|_| StoreError::BadCursor)?;
        text.strip_prefix(self.tag()).map(|key| Some(key.to_owned())).ok_or(StoreError::BadCursor)
    }

    /// The same for a list sorted by a number; `first` for the first page.
    pub(super) fn number(self, page: &PageRequest, first: i64) -> Result<i64, StoreError> {
        self.key(page)?.map_or(Ok(first), |key| key.parse().map_err(|_| StoreError::BadCursor))
    }
}

impl PageRequest {
    /// How many rows to ask for: one more than fit, to know whether there is a next page.
    pub(super) fn rows(&self) -> i64 {
        i64::from(self.limit.max(1)) + 1
    }

    /// The page made of the [`rows`](Self::rows) found: `cursor` is a row's position, `item` what is told of it.
    pub(super) fn fill<R, T>(
        &self,
        mut found: Vec<R>,
        cursor: impl FnOnce(&R) -> String,
        item: impl FnMut(R) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let limit = self.limit.max(1) as usize;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = if more { found.last().map(cursor) } else { None };
        let items = found.into_iter().map(item).collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JOBS: List = List::Jobs(TaskName::Training);

    fn request(after: &str) -> PageRequest {
        PageRequest { limit: 10, after: Some(after.to_owned()) }
    }

    #[test]
    fn a_cursor_belongs_to_its_list() {
        let cursor = List::Graphs.cursor(7);
        assert_eq!(List::Graphs.number(&request(&cursor), 0).unwrap(), 7);
        assert!(matches!(JOBS.number(&request(&cursor), 0), Err(StoreError::BadCursor)));
        assert_eq!(JOBS.number(&PageRequest { limit: 1, after: None }, 3).unwrap(), 3);
    }

    proptest! {
        #[test]
        fn any_key_survives(key in ".*") {
            prop_assert_eq!(List::Families.key(&request(&List::Families.cursor(&key))).unwrap(), Some(key));
        }

        #[test]
        fn any_other_text_is_a_bad_cursor_or_a_number(text in ".*") {
            match JOBS.number(&request(&text), 0) {
                Ok(number) => prop_assert!(JOBS.key(&request(&text)).unwrap().unwrap().parse() == Ok(number)),
                Err(error) => prop_assert!(matches!(error, StoreError::BadCursor)),
            }
        }
    }
}
