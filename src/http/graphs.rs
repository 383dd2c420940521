//! The graphs of a family: `/v1/families/{family}/graphs`.

use std::borrow::Cow;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AppState;
use super::error::Problem;
use super::extract::{Path, content_type, read_body, unsupported};
use super::family_name::FamilyName;
use super::graph_json::{CanonicalGraph, GraphJson};
use super::intake::{AddedGraphs, Intake};
use super::limits::NDJSON;
use super::page::{List, PageQuery, Pagination};
use crate::graph::format::json::to_canonical;
use crate::graph::split::Split;
use crate::store::GraphRow;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_graphs, add_graphs)).routes(routes!(get_graph))
}

/// A graph of a family, without its edges.
#[derive(Debug, Serialize, ToSchema)]
struct GraphSummary {
    #[schema(example = "17")]
    id: String,
    /// How many.
    nodes: u64,
    /// How many, each counted once.
    edges: u64,
    /// `train`, `calibration` or `test`.
    #[schema(value_type = String, example = "train")]
    split: Split,
}

impl From<GraphRow> for GraphSummary {
    fn from(GraphRow { id, nodes, edges, split }: GraphRow) -> Self {
        Self { id, nodes, edges, split }
    }
}

/// A graph of a family, in the canonical form.
#[derive(Debug, Serialize, ToSchema)]
struct GraphDetail {
    #[serde(flatten)]
    #[schema(value_type = CanonicalGraph)]
    graph: serde_json::Value,
    /// `train`, `calibration` or `test`.
    #[schema(value_type = String, example = "train")]
    split: Split,
}

/// One graph, or several as `{"graphs": [...]}`: a schema without a Rust type, for [`Intake`] tells the two apart without
/// a copy of the graphs.
#[derive(Debug)]
enum AddGraphs {}

impl ToSchema for AddGraphs {
    fn name() -> Cow<'static, str> {
        "AddGraphs".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((GraphJson::name().into_owned(), <GraphJson as utoipa::PartialSchema>::schema()));
        GraphJson::schemas(schemas);
    }
}

impl utoipa::PartialSchema for AddGraphs {
    fn schema() -> RefOr<Schema> {
        let one = Ref::from_schema_name(GraphJson::name());
        let several = ObjectBuilder::new()
            .schema_type(Type::Object)
            .required("graphs")
            .property("graphs", ArrayBuilder::new().items(one.clone()));
        AnyOfBuilder::new().description(Some("One graph, or several.")).item(one).item(several).into()
    }
}

/// List a family's graphs
///
/// In the order they were added.
#[utoipa::path(get, path = "/v1/families/{family}/graphs", tag = "graphs", operation_id = "list_graphs",
    security(("key" = ["read"])),
    params(("family" = String, Path, description = "The family's name.", example = "aids-0"), PageQuery),
    responses(
        (status = 200, description = "A page of graphs.", body = List<GraphSummary>),
        (status = 400, description = "No such page."),
        (status = 404, description = "There is no such family."),
    ))]
async fn list_graphs(
    State(state): State<AppState>,
    Path(family): Path<FamilyName>,
    Pagination(page): Pagination,
) -> Result<Response, Problem> {
    let family = state.store.find_family(family.as_str()).await?;
    let graphs = state.store.list_graphs(family.id, &page).await?;
    Ok(axum::Json(List::new(graphs, GraphSummary::from)).into_response())
}

/// Add graphs to a family
///
/// Each gets its split at once. One graph, several as `{"graphs": [...]}`, or a stream of `application/x-ndjson`, a graph
/// a line, of any length. Of several, a bad one never costs a good one: it is listed in `rejected`. A single graph that
/// can't be added is a problem (422, or 409 where its `id` is taken). Graphs without an `id` get one.
#[utoipa::path(post, path = "/v1/families/{family}/graphs", tag = "graphs", operation_id = "add_graphs",
    security(("key" = ["admin"])),
    params(("family" = String, Path, description = "The family's name.", example = "aids-0")),
    request_body(
        content((AddGraphs = "application/json"), (String = "application/x-ndjson")),
        description = "As `application/x-ndjson`: a graph a line, in any of the forms of `Graph`."
    ),
    responses(
        (status = 200, description = "What was added, and what was not.", body = AddedGraphs),
        (status = 400, description = "The body is not JSON, or broke off: `detail` says how many graphs were added before."),
        (status = 404, description = "There is no such family."),
        (status = 408, description = "A stream stalled: `detail` says how many graphs were added before."),
        (status = 409, description = "The single graph's `id` is taken."),
        (status = 413, description = "The JSON body is too large: stream it as NDJSON."),
        (status = 415, description = "The body is neither JSON nor NDJSON."),
        (status = 422, description = "The single graph is none, or there are too many in `graphs`."),
    ))]
async fn add_graphs(
    State(state): State<AppState>,
    Path(family): Path<FamilyName>,
    request: Request,
) -> Result<axum::Json<AddedGraphs>, Problem> {
    let family = state.store.find_family(family.as_str()).await?;
    let intake = Intake::new(&state, family.id);
    let added = match content_type(request.headers()).as_deref() {
        Some("application/json") => intake.add_json(read_body(request).await?).await?,
        Some(NDJSON) => intake.add_lines(request.into_body()).await?,
        other => return Err(unsupported(other, "application/json or application/x-ndjson")),
    };
    Ok(axum::Json(added))
}

/// Get a graph
///
/// In the canonical form, with its split.
#[utoipa::path(get, path = "/v1/families/{family}/graphs/{id}", tag = "graphs", operation_id = "get_graph",
    security(("key" = ["read"])),
    params(
        ("family" = String, Path, description = "The family's name.", example = "aids-0"),
        ("id" = String, Path, description = "The graph's id.", example = "17"),
    ),
    responses(
        (status = 200, description = "The graph.", body = GraphDetail),
        (status = 404, description = "There is no such family, or no such graph in it."),
    ))]
async fn get_graph(
    State(state): State<AppState>,
    Path((family, id)): Path<(FamilyName, String)>,
) -> Result<axum::Json<GraphDetail>, Problem> {
    let family = state.store.find_family(family.as_str()).await?;
    let stored = state.store.find_graph(family.id, &id).await?;
    Ok(axum::Json(GraphDetail { graph: to_canonical(&stored.graph, Some(&stored.id)), split: stored.split }))
}
