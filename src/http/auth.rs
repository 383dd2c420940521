//! Who may do what: default-deny at the router's root.
//!
//! A route says which scope it needs once, in its documentation: `security(("key" = ["read"]))`. The table that is
//! enforced is read from there, so neither can say what the other doesn't. A route that says nothing needs an admin key;
//! the paths that need none are [`OPEN_PATHS`].

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use utoipa::openapi::OpenApi;

use super::error::Problem;
use crate::key;
use crate::store::{Scope, Store};

/// The name of the security scheme in the contract.
pub(super) const SCHEME: &str = "key";

/// The routes that answer without a key, as the router spells them.
pub(super) const OPEN_PATHS: [&str; 8] =
    ["/", "/health/live", "/health/ready", "/metrics", "/openapi.yaml", "/docs", "/docs/", "/docs/{*rest}"];

/// Longer than any key; not worth a hash.
const MAX_KEY_BYTES: usize = 256;

/// Who asks, once the gate has let them through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// The holder of the key of this name.
    Key { name: String },
    /// Anybody, while no key has ever been made.
    Anybody,
}

/// What the middleware [`require_scope`] decides by.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    store: Store,
    /// Whether requests without a key are let through while no key has ever been made.
    open: bool,
    scopes: Arc<ScopeTable>,
}

impl Gate {
    pub(super) fn new(store: Store, open: bool, document: &OpenApi) -> Self {
        let scopes = Arc::new(ScopeTable::read(document));
        Self { store, open, scopes }
    }

    async fn admit(&self, headers: &HeaderMap, needed: Scope) -> Result<Caller, Problem> {
        let Some(key) = bearer_key(headers)? else {
            return if self.is_open().await? {
                Ok(Caller::Anybody)
            } else {
                Err(Problem::unauthorized("send `Authorization: Bearer <key>`"))
            };
        };
        // Looked up each time: a revoked key stops at once.
        let found = self.store.find_key(&key::hash(key)).await?;
        let row = found.ok_or_else(|| Problem::unauthorized("the key is unknown or revoked"))?;
        if row.scope < needed {
            return Err(Problem::forbidden(format!(
                "this needs a key of scope `{needed}`; this one has `{}`",
                row.scope
            )));
        }
        Ok(Caller::Key { name: row.name })
    }

    /// Whether nobody needs a key. Revoked keys count: revoking the last one must not open the doors.
    async fn is_open(&self) -> Result<bool, Problem> {
        Ok(self.open && !self.store.has_keys().await?)
    }
}

/// Lets a request through when its key may do what its route does. The innermost layers learn who it is.
pub(super) async fn require_scope(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    if let Some(needed) = gate.scopes.needed(request.method(), route.as_deref()) {
        let caller = gate.admit(request.headers(), needed).await?;
        request.extensions_mut().insert(caller);
    }
    Ok(next.run(request).await)
}

/// The key of an `Authorization: Bearer` header; 401 when the header holds something else.
fn bearer_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| key.trim())
        .filter(|key| !key.is_empty() && key.len() <= MAX_KEY_BYTES)
        .map(Some)
        .ok_or_else(|| Problem::unauthorized("the Authorization header is not `Bearer <key>`"))
}

/// The scope that each operation of the contract says it needs.
#[derive(Debug)]
struct ScopeTable(HashMap<String, HashMap<Method, Scope>>);

impl ScopeTable {
    fn read(document: &OpenApi) -> Self {
        let paths = document.paths.paths.iter().map(|(path, item)| {
            let operations = [
                (Method::GET, &item.get),
                (Method::PUT, &item.put),
                (Method::POST, &item.post),
                (Method::DELETE, &item.delete),
                (Method::PATCH, &item.patch),
            ];
            let scopes = operations.into_iter().filter_map(|(method, operation)| {
                let security = operation.as_ref()?.security.as_ref()?;
                Some((method, declared_scope(&serde_json::to_value(security).ok()?)?))
            });
            (path.clone(), scopes.collect())
        });
        Self(paths.collect())
    }

    /// The scope needed; none on an open path. `route` is the router's template, none where no route fits.
    fn needed(&self, method: &Method, route: Option<&str>) -> Option<Scope> {
        // A path that is not there says so to anyone with a key, and to nobody else.
        let Some(route) = route else { return Some(Scope::Read) };
        if OPEN_PATHS.contains(&route) {
            return None;
        }
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let declared = self.0.get(route).and_then(|scopes| scopes.get(method));
        Some(declared.copied().unwrap_or(Scope::Admin))
    }
}

/// The scope in `[{"key": ["read"]}]`.
fn declared_scope(security: &serde_json::Value) -> Option<Scope> {
    security.get(0)?.get(SCHEME)?.get(0)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_bearer_key_is_read() {
        assert_eq!(bearer_key(&HeaderMap::new()).unwrap(), None);
        assert_eq!(bearer_key(&headers("Bearer gk_1")).unwrap(), Some("gk_1"));
        assert_eq!(bearer_key(&headers("bearer  gk_1 ")).unwrap(), Some("gk_1"));
        let long = format!("Bearer {}", "x".repeat(MAX_KEY_BYTES + 1));
        for bad in ["Basic Zm9vOmJhcg==", "gk_1", "Bearer", "Bearer ", long.as_str()] {
            assert_eq!(bearer_key(&headers(bad)).expect_err(bad).status.as_u16(), 401);
        }
    }

    #[test]
    fn a_route_needs_what_it_declares_and_admin_otherwise() {
        let table = ScopeTable::read(&crate::http::openapi());
        let families = Some("/v1/families");
        assert_eq!(table.needed(&Method::GET, families), Some(Scope::Read));
        assert_eq!(table.needed(&Method::HEAD, families), Some(Scope::Read));
        assert_eq!(table.needed(&Method::POST, families), Some(Scope::Admin));
        assert_eq!(table.needed(&Method::PATCH, families), Some(Scope::Admin), "no such operation");
        assert_eq!(table.needed(&Method::GET, Some("/v1/forgotten")), Some(Scope::Admin));
        assert_eq!(table.needed(&Method::GET, None), Some(Scope::Read));
        for open in OPEN_PATHS {
            assert_eq!(table.needed(&Method::GET, Some(open)), None, "{open}");
        }
    }
}
