//! Taking graphs into a family: one, several, or a stream of lines; what is wrong with one never costs another.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::blocking::blocking;
use super::error::Problem;
use super::extract::from_json;
use super::graph_json::GraphJson;
use super::ndjson::{Line, LineTooLong, Lines};
use super::{AppState, Config};
use crate::graph::Limits;
use crate::graph::format::json::{self, JsonError};
use crate::graph::format::{Located, ParsedGraph};
use crate::id::FamilyId;
use crate::store::{AddedGraph, NewGraph, Store};

/// Notes of a sort in one answer. A stream that is wrong in each of its lines must not make an endless answer.
const MAX_NOTES: usize = 100;
/// A stream is added in pieces of so many lines or bytes: each is a transaction, and what is held in memory.
const CHUNK_LINES: usize = 500;
const CHUNK_BYTES: usize = 4 << 20;
/// Bytes of a graph's id: it stands in URLs.
const MAX_ID_BYTES: usize = 256;

/// What became of the graphs sent.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct AddedGraphs {
    /// How many were added.
    accepted: u64,
    /// How many were not.
    rejected_count: u64,
    /// Those that were not: the first 100.
    rejected: Vec<Note>,
    /// How many were added after a change, such as a self-loop dropped.
    warnings_count: u64,
    /// What was changed: the first 100.
    warnings: Vec<Note>,
}

/// Something to say of one of the graphs sent. `line` or `index` says which: a single graph has neither.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
struct Note {
    /// Its line in the stream, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    line: Option<u64>,
    /// Its place in `graphs`, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    index: Option<usize>,
    /// A JSON Pointer (RFC 6901) into the line, or into the whole body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "/edges/7/1")]
    pointer: Option<String>,
    #[schema(example = "edge 7 names node 12, but the graph has 12 nodes (0 to 11)")]
    detail: String,
}

/// Which of the graphs sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Alone,
    Index(usize),
    Line(u64),
}

impl Place {
    fn note(self, pointer: Option<String>, detail: String) -> Note {
        let (line, index) = match self {
            Self::Alone => (None, None),
            Self::Index(index) => (None, Some(index)),
            Self::Line(line) => (Some(line), None),
        };
        Note { line, index, pointer, detail }
    }
}

/// Why a graph is not added.
#[derive(Debug)]
enum Rejection {
    Unreadable(JsonError),
    TooLong(LineTooLong),
    IdTaken(String),
}

impl Rejection {
    /// The first place that is wrong, and what is.
    fn describe(&self) -> (Option<String>, String) {
        match self {
            Self::Unreadable(JsonError::Invalid(places)) => match places.as_slice() {
                [] => (None, "not a graph".to_owned()),
                [only] => (Some(only.pointer.clone()), only.detail.clone()),
                [first, rest @ ..] => {
                    (Some(first.pointer.clone()), format!("{} (and {} more places)", first.detail, rest.len()))
                }
            },
            Self::Unreadable(error @ JsonError::Syntax { .. }) => (None, error.to_string()),
            Self::TooLong(error) => (None, error.to_string()),
            Self::IdTaken(id) => (None, id_taken(id)),
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Unreadable(error) => error.into(),
            Rejection::TooLong(error) => Self::too_large(error.to_string()),
            Rejection::IdTaken(id) => Self::conflict(id_taken(&id)),
        }
    }
}

fn id_taken(id: &str) -> String {
    format!("the family has a graph with the id `{id}`")
}

type Candidate = (Place, Result<ParsedGraph, Rejection>);

/// A JSON body: `graphs`, or a graph itself.
#[derive(Debug, Deserialize)]
struct MaybeSeveral {
    graphs: Option<Vec<GraphJson>>,
}

/// The taking in of one request's graphs.
#[derive(Debug)]
pub(super) struct Intake {
    store: Store,
    config: Arc<Config>,
    family: FamilyId,
    added: AddedGraphs,
}

impl Intake {
    pub(super) fn new(state: &AppState, family: FamilyId) -> Self {
        let (store, config) = (state.store.clone(), Arc::clone(&state.config));
        Self { store, config, family, added: AddedGraphs::default() }
    }

    /// # Errors
    /// When the body is no JSON; when it is a single graph and that can't be added; when there are too many.
    pub(super) async fn add_json(mut self, body: Bytes) -> Result<AddedGraphs, Problem> {
        let config = Arc::clone(&self.config);
        let candidates = blocking(move || read_json(&body, &config)).await??;
        let alone = matches!(candidates.as_slice(), [(Place::Alone, _)]);
        if let Some(rejection) = self.add(candidates).await?.filter(|_| alone) {
            return Err(rejection.into());
        }
        Ok(self.added)
    }

    /// # Errors
    /// When the body breaks off or stalls: the lines before that are added.
    pub(super) async fn add_lines(mut self, body: Body) -> Result<AddedGraphs, Problem> {
        let mut lines = Lines::new(body, self.config.max_line_bytes);
        loop {
            let (chunk, end) = read_chunk(&mut lines).await;
            if !chunk.is_empty() {
                let limits = self.config.graph;
                let candidates =
                    blocking(move || chunk.into_iter().map(|line| read_line(line, &limits)).collect()).await?;
                self.add(candidates).await?;
            }
            match end {
                ChunkEnd::More => {}
                ChunkEnd::Body => return Ok(self.added),
                ChunkEnd::Broken(mut problem) => {
                    problem.detail = format!("{}; {} graphs were added before", problem.detail, self.added.accepted);
                    return Err(problem);
                }
            }
        }
    }

    /// Adds the good ones in one transaction and notes the others; gives back the last rejection.
    async fn add(&mut self, candidates: Vec<Candidate>) -> Result<Option<Rejection>, Problem> {
        let mut rejections = Vec::new();
        let mut good = Vec::new();
        for (place, candidate) in candidates {
            match candidate.and_then(|parsed| with_usable_id(place, parsed)) {
                Ok(ParsedGraph { graph, id, warnings, .. }) => good.push((place, warnings, NewGraph { id, graph })),
                Err(rejection) => rejections.push((place, rejection)),
            }
        }
        let (places, graphs): (Vec<_>, Vec<_>) =
            good.into_iter().map(|(place, warnings, graph)| ((place, warnings), graph)).unzip();
        if !graphs.is_empty() {
            let outcomes = self.store.add_graphs(self.family, graphs).await?;
            for ((place, warnings), outcome) in places.into_iter().zip(outcomes) {
                match outcome {
                    AddedGraph::Added { .. } => self.accept(place, warnings),
                    AddedGraph::IdTaken { id } => rejections.push((place, Rejection::IdTaken(id))),
                }
            }
        }
        rejections.sort_by_key(|(place, _)| match *place {
            Place::Alone => 0,
            Place::Index(index) => index as u64,
            Place::Line(line) => line,
        });
        let mut last = None;
        for (place, rejection) in rejections {
            let (pointer, detail) = rejection.describe();
            self.added.rejected_count += 1;
            push_bounded(&mut self.added.rejected, place.note(pointer, detail));
            last = Some(rejection);
        }
        Ok(last)
    }

    fn accept(&mut self, place: Place, warnings: Vec<String>) {
        self.added.accepted += 1;
        if !warnings.is_empty() {
            self.added.warnings_count += 1;
        }
        for warning in warnings {
            push_bounded(&mut self.added.warnings, place.note(None, warning));
        }
    }
}

fn push_bounded(notes: &mut Vec<Note>, note: Note) {
    if notes.len() < MAX_NOTES {
        notes.push(note);
    }
}

fn read_json(body: &[u8], config: &Config) -> Result<Vec<Candidate>, Problem> {
    // A body that is no object is no `MaybeSeveral` either; the reader of graphs words that better.
    let several = match from_json::<MaybeSeveral>(body) {
        Ok(MaybeSeveral { graphs }) => graphs,
        Err(problem) if problem.errors.iter().any(|place| place.pointer.is_empty()) => None,
        Err(problem) => return Err(problem),
    };
    let Some(graphs) = several else {
        return Ok(vec![(Place::Alone, json::parse(body, &config.graph).map_err(Rejection::Unreadable))]);
    };
    if graphs.len() > config.max_batch {
        let detail = format!("{} graphs are more than the limit of {}: stream them", graphs.len(), config.max_batch);
        return Err(Problem::invalid_at("/graphs", detail));
    }
    let candidates = graphs.iter().enumerate().map(|(index, graph)| {
        let parsed = graph.parse(&format!("/graphs/{index}"), &config.graph);
        (Place::Index(index), parsed.map_err(Rejection::Unreadable))
    });
    Ok(candidates.collect())
}

fn read_line(line: Line, limits: &Limits) -> Candidate {
    let parsed = line
        .content
        .map_err(Rejection::TooLong)
        .and_then(|content| json::parse(&content, limits).map_err(Rejection::Unreadable));
    (Place::Line(line.number), parsed)
}

/// An id that can stand in a URL and a log line.
fn with_usable_id(place: Place, parsed: ParsedGraph) -> Result<ParsedGraph, Rejection> {
    let usable = |id: &String| (1..=MAX_ID_BYTES).contains(&id.len()) && !id.chars().any(char::is_control);
    if parsed.id.as_ref().is_none_or(usable) {
        return Ok(parsed);
    }
    let pointer = match place {
        Place::Index(index) => format!("/graphs/{index}/id"),
        Place::Alone | Place::Line(_) => "/id".to_owned(),
    };
    let detail = format!("an id has 1 to {MAX_ID_BYTES} bytes and no control characters");
    Err(Rejection::Unreadable(JsonError::Invalid(vec![Located { pointer, detail }])))
}

enum ChunkEnd {
    More,
    Body,
    Broken(Problem),
}

/// The next lines, as many as are worth a transaction, and why there are no more.
async fn read_chunk(lines: &mut Lines) -> (Vec<Line>, ChunkEnd) {
    let mut chunk = Vec::new();
    let mut bytes = 0;
    while chunk.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
        match lines.next().await {
            Ok(Some(line)) => {
                bytes += line.content.as_ref().map_or(0, Bytes::len);
                chunk.push(line);
            }
            Ok(None) => return (chunk, ChunkEnd::Body),
            Err(problem) => return (chunk, ChunkEnd::Broken(problem)),
        }
    }
    (chunk, ChunkEnd::More)
}
