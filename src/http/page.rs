//! Lists: which page a client asks for, and the envelope of the answer.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Problem;
use super::extract::Query;
use crate::store::{Page, PageRequest, StoreError};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;
/// No list's position is near this long; longer text need not be decoded.
const MAX_CURSOR_BYTES: usize = 1024;

/// The query parameters of every list, for its documentation.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Items on a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before; absent for the first page. Opaque: it means nothing to another list.
    cursor: Option<String>,
}

/// The page a client asks for: `?limit=` (default 50, at most 200) and `?cursor=`; 400 for any other value.
#[derive(Debug)]
pub(super) struct Pagination(pub(super) PageRequest);

impl<S: Send + Sync> FromRequestParts<S> for Pagination {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<PageQuery>::from_request_parts(parts, state).await?;
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Problem::bad_request(format!("limit: {limit} is not between 1 and {MAX_LIMIT}")));
        }
        let after = query.cursor.as_deref().map(decode_cursor).transpose()?;
        Ok(Self(PageRequest { limit, after }))
    }
}

/// The store's position, dressed so that it passes unescaped through a URL and nobody takes it apart.
fn encode_cursor(position: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(position)
}

fn decode_cursor(cursor: &str) -> Result<String, StoreError> {
    if cursor.len() > MAX_CURSOR_BYTES {
        return Err(StoreError::BadCursor);
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).map_err(|_| StoreError::BadCursor)?;
    String::from_utf8(bytes).map_err(|_| StoreError::BadCursor)
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List<T> {
    items: Vec<T>,
    /// Give this as `?cursor=` to get the next page; null on the last.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

impl<T> List<T> {
    /// The page as clients see it, each row made an item.
    pub(super) fn new<Row>(page: Page<Row>, item: impl FnMut(Row) -> T) -> Self {
        Self { items: page.items.into_iter().map(item).collect(), next_cursor: page.next.as_deref().map(encode_cursor) }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn page(query: &str) -> Result<PageRequest, Problem> {
        let request = Request::builder().uri(format!("/v1/families{query}")).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        Pagination::from_request_parts(&mut parts, &()).await.map(|Pagination(page)| page)
    }

    #[tokio::test]
    async fn a_page_is_50_by_default_and_200_at_most() {
        assert_eq!(page("").await.unwrap(), PageRequest { limit: 50, after: None });
        assert_eq!(page("?limit=200").await.unwrap().limit, 200);
        for bad in ["?limit=0", "?limit=201", "?limit=-1", "?limit=x", "?limit=99999999999", "?limit="] {
            assert_eq!(page(bad).await.expect_err(bad).status.as_u16(), 400);
        }
    }

    #[tokio::test]
    async fn a_cursor_comes_back_as_it_went() {
        let page_of = Page { items: vec![1, 2], next: Some("aids/0 ?&é".to_owned()) };
        let list = List::new(page_of, |row| row * 10);
        assert_eq!(list.items, [10, 20]);
        let cursor = list.next_cursor.unwrap();
        assert_eq!(page(&format!("?cursor={cursor}")).await.unwrap().after.as_deref(), Some("aids/0 ?&é"));
        for bad in ["?cursor=%21%21", "?cursor=a", "?cursor=_w"] {
            assert_eq!(page(bad).await.expect_err(bad).status.as_u16(), 400);
        }
    }
}
