//! Whole datasets: `/v1/datasets`. A TU archive gives a family for each class, a synthetic one gives one.

use std::fs::File;
use std::io;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use utoipa::ToSchema;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AppState;
use super::blocking::blocking;
use super::error::Problem;
use super::extract::{Query, body_problem, content_type, from_json, read_body, unsupported};
use super::family_name::FamilyName;
use super::limits::ZIP;
use crate::graph::Graph;
use crate::graph::format::Located;
use crate::graph::format::tu::{self, TuDataset, TuError};
use crate::graph::synthetic::{SyntheticError, SyntheticSpec, SyntheticType, generate};
use crate::store::{NewFamily, NewGraph};

/// Nodes of all graphs of a synthetic family together: what fits in memory at ease.
const MAX_SYNTHETIC_NODES: usize = 5_000_000;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(import_dataset))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ImportQuery {
    /// The name of the family, or what the names of the families begin with: `aids` gives `aids-0`, `aids-1`.
    #[param(pattern = "^[a-z0-9][a-z0-9._-]{0,62}$", example = "aids")]
    name: String,
}

/// The `?name=` of a dataset; 400 without one, 422 for one that no family can have.
struct DatasetName(FamilyName);

impl<S: Send + Sync> FromRequestParts<S> for DatasetName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(ImportQuery { name }) = Query::from_request_parts(parts, state).await?;
        FamilyName::try_from(name).map(Self).map_err(|detail| Problem::unprocessable(format!("name: {detail}")))
    }
}

/// A family to generate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GenerateDataset {
    synthetic: Synthetic,
}

/// Graphs of `width × height` nodes in `height` layers, after the study's Figure 1.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Synthetic {
    /// `1`, `2a`, `2b`, `2c`, `3` or `random-regular`.
    #[schema(value_type = String, example = "2c")]
    r#type: SyntheticType,
    /// Nodes of a layer.
    #[schema(minimum = 1, example = 6)]
    width: usize,
    /// Layers.
    #[schema(minimum = 1, example = 10)]
    height: usize,
    /// Graphs.
    #[schema(minimum = 1, example = 200)]
    count: usize,
    /// The same seed gives the same graphs.
    #[serde(default)]
    seed: u64,
}

/// A zip archive: a schema without a Rust type, for it goes straight to a file.
#[derive(Debug)]
enum Archive {}

impl ToSchema for Archive {}

impl utoipa::PartialSchema for Archive {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
            .into()
    }
}

/// The families made.
#[derive(Debug, Serialize, ToSchema)]
struct ImportedDataset {
    families: Vec<ImportedFamily>,
    /// What was changed to make simple graphs of the dataset's.
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ImportedFamily {
    #[schema(example = "aids-0")]
    name: String,
    /// The class's label in the dataset; null for a synthetic family.
    #[schema(required = true)]
    class_label: Option<i64>,
    /// How many.
    graphs: usize,
}

/// Import or generate a dataset
///
/// A TU graph-classification dataset as `application/zip` (`NAME/NAME_A.txt`, `NAME_graph_indicator.txt`,
/// `NAME_graph_labels.txt`, perhaps `NAME_node_labels.txt`) gives a family for each class, named `{name}-0`, `{name}-1`,
/// … in the order of the sorted class labels; a graph's id is its number in the dataset, from 1. JSON gives one synthetic
/// family of that name. All families are made, or none.
#[utoipa::path(post, path = "/v1/datasets", tag = "datasets", operation_id = "import_dataset",
    security(("key" = ["admin"])), params(ImportQuery),
    request_body(content((GenerateDataset = "application/json"), (Archive = "application/zip"))),
    responses(
        (status = 201, description = "The families are made.", body = ImportedDataset),
        (status = 400, description = "The body is neither JSON nor a zip archive, or `name` is missing."),
        (status = 408, description = "The upload stalled."),
        (status = 409, description = "One of the names is taken; nothing was made."),
        (status = 413, description = "The archive is too large, packed or unpacked."),
        (status = 415, description = "The body is neither JSON nor a zip archive by its content type."),
        (status = 422, description = "The dataset makes no sense, or a name can't be used: `errors` say which file and line."),
    ))]
async fn import_dataset(
    State(state): State<AppState>,
    DatasetName(name): DatasetName,
    request: Request,
) -> Result<Response, Problem> {
    let (families, warnings) = match content_type(request.headers()).as_deref() {
        Some(ZIP) => read_archive(&state, &name, request.into_body()).await?,
        Some("application/json") => {
            let GenerateDataset { synthetic } = from_json(&read_body(request).await?)?;
            (vec![generate_family(&state, &name, synthetic).await?], Vec::new())
        }
        other => return Err(unsupported(other, "application/zip or application/json")),
    };
    let summaries = families
        .iter()
        .map(|(family, graphs)| ImportedFamily {
            name: family.name.clone(),
            class_label: family.class_label,
            graphs: graphs.len(),
        })
        .collect();
    state.store.import_families(families).await?;
    Ok((StatusCode::CREATED, axum::Json(ImportedDataset { families: summaries, warnings })).into_response())
}

type Families = Vec<(NewFamily, Vec<NewGraph>)>;

async fn read_archive(state: &AppState, name: &FamilyName, body: Body) -> Result<(Families, Vec<String>), Problem> {
    let archive = spool(body).await?;
    let limits = state.config.archive;
    let TuDataset { name: _, classes, warnings } = blocking(move || tu::read(archive, &limits)).await??;
    let families = classes.into_iter().enumerate().map(|(index, class)| {
        let class_name = format!("{}-{index}", name.as_str());
        let class_name = FamilyName::try_from(class_name)
            .map_err(|detail| Problem::unprocessable(format!("name: with the class's number, {detail}")))?;
        Ok((new_family(&class_name, Some(class.label)), class.graphs.into_iter().map(numbered).collect()))
    });
    Ok((families.collect::<Result<_, Problem>>()?, warnings))
}

async fn generate_family(
    state: &AppState,
    name: &FamilyName,
    synthetic: Synthetic,
) -> Result<(NewFamily, Vec<NewGraph>), Problem> {
    let Synthetic { r#type: kind, width, height, count, seed } = synthetic;
    let max_nodes = state.config.graph.max_nodes;
    let nodes = width.checked_mul(height).filter(|&nodes| nodes <= max_nodes).ok_or_else(|| {
        Problem::invalid_at("/synthetic", format!("width × height is over the limit of {max_nodes} nodes a graph"))
    })?;
    if nodes.checked_mul(count).is_none_or(|all| all > MAX_SYNTHETIC_NODES) || count > state.config.archive.max_graphs {
        let detail = format!(
            "at most {} graphs, of {MAX_SYNTHETIC_NODES} nodes together, can be made at once",
            state.config.archive.max_graphs
        );
        return Err(Problem::invalid_at("/synthetic/count", detail));
    }
    let graphs = blocking(move || generate(&SyntheticSpec { kind, width, height, count, seed })).await??;
    Ok((new_family(name, None), (1..).zip(graphs).map(numbered).collect()))
}

fn new_family(name: &FamilyName, class_label: Option<i64>) -> NewFamily {
    NewFamily { name: name.as_str().to_owned(), description: None, class_label }
}

fn numbered((number, graph): (usize, Graph)) -> NewGraph {
    NewGraph { id: Some(number.to_string()), graph }
}

/// The body in an unnamed temporary file: a zip archive is read from its end, and is not worth its size in memory.
async fn spool(body: Body) -> Result<File, Problem> {
    let file = blocking(tempfile::tempfile).await?.map_err(|error| spool_problem(&error))?;
    let mut file = tokio::fs::File::from_std(file);
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| body_problem(&error))?;
        file.write_all(&piece).await.map_err(|error| spool_problem(&error))?;
    }
    file.flush().await.map_err(|error| spool_problem(&error))?;
    file.rewind().await.map_err(|error| spool_problem(&error))?;
    Ok(file.into_std().await)
}

fn spool_problem(error: &io::Error) -> Problem {
    Problem::internal(error)
}

impl From<TuError> for Problem {
    fn from(error: TuError) -> Self {
        let detail = error.to_string();
        match error {
            TuError::NotZip(_) => Self::malformed(detail),
            TuError::TooLarge(_) => Self::too_large(detail),
            TuError::Missing(_) | TuError::Line { .. } | TuError::Invalid(_) => {
                Self::invalid(vec![Located { pointer: String::new(), detail }])
            }
        }
    }
}

impl From<SyntheticError> for Problem {
    fn from(error: SyntheticError) -> Self {
        match error {
            SyntheticError::OutOfRange { field: "kind", detail } => Self::invalid_at("/synthetic/type", detail),
            SyntheticError::OutOfRange { field, detail } => Self::invalid_at(format!("/synthetic/{field}"), detail),
        }
    }
}
