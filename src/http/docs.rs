//! The contract: what all operations share is written into it here, once, and served with its readable page.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use bytes::Bytes;
use utoipa::OpenApi as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi, Ref, RefOr, Response as Documented, ResponseBuilder};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::AppState;
use super::auth::{OPEN_PATHS, SCHEME};
use super::error::{PROBLEM_JSON, ProblemBody, ProblemPlace};

/// The head of the contract; the paths come from the routers.
#[derive(Debug, utoipa::OpenApi)]
#[openapi(
    info(description = include_str!("docs.md")),
    components(schemas(ProblemBody, ProblemPlace)),
    tags(
        (name = "families", description = "Named sets of graphs of one class."),
        (name = "graphs", description = "The graphs of a family."),
        (name = "datasets", description = "Whole datasets, read or generated: a family for each class."),
        (name = "training-jobs", description = "Training in the background: queued, followed live, cancelled, run again."),
        (name = "detectors", description = "Trained models of a family, which of them score, and their score distributions."),
        (name = "evaluations", description = "What a family's detectors are worth against other families, beside what needs no learning."),
        (name = "score", description = "How unlikely a graph is under a family."),
        (name = "health", description = "For probes and monitoring; open to anybody."),
    )
)]
struct Contract;

/// The document without its paths.
pub(super) fn head() -> OpenApi {
    Contract::openapi()
}

/// What every operation has in common, so that no route repeats it: the security scheme, the schema of problems, and
/// the problems that the layers answer with.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    document.components.get_or_insert_with(Components::new).add_security_scheme(
        SCHEME,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(
                    "An API key, made by `graphkin keys create --scope read|score|admin --name NAME`. Each scope \
                     includes those before it. While no key has ever been made, a service on a loopback address answers \
                     without one.",
                ))
                .build(),
        ),
    );
    let components = document.components.get_or_insert_with(Components::new);
    for shared in SHARED {
        components.responses.insert(shared.name.to_owned(), RefOr::T(shared.response()));
    }
    for (path, item) in &mut document.paths.paths {
        let open = OPEN_PATHS.contains(&path.as_str());
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().filter_map(Option::as_mut);
        for operation in operations {
            complete_operation(operation, open);
        }
    }
    document
}

/// A problem that the layers answer with, whatever the route.
struct SharedProblem {
    status: &'static str,
    name: &'static str,
    description: &'static str,
    header: Option<(&'static str, &'static str)>,
    /// Whether open paths answer with it too.
    open: bool,
}

const SHARED: [SharedProblem; 6] = [
    SharedProblem {
        status: "401",
        name: "Unauthorized",
        description: "No key, or one that is unknown or revoked.",
        header: Some(("WWW-Authenticate", "`Bearer`.")),
        open: false,
    },
    SharedProblem {
        status: "403",
        name: "InsufficientScope",
        description: "The key's scope is too small; `detail` says which is needed.",
        header: None,
        open: false,
    },
    SharedProblem {
        status: "429",
        name: "TooManyRequests",
        description: "The key is over its rate, or a queue is full.",
        header: Some(RETRY_AFTER),
        open: false,
    },
    SharedProblem {
        status: "500",
        name: "Internal",
        description: "The service failed; its log says why under `request_id`.",
        header: None,
        open: true,
    },
    SharedProblem {
        status: "503",
        name: "Unavailable",
        description: "The service is starting or stopping.",
        header: Some(RETRY_AFTER),
        open: false,
    },
    SharedProblem {
        status: "504",
        name: "Deadline",
        description: "No answer within the request's deadline.",
        header: None,
        open: false,
    },
];

const RETRY_AFTER: (&str, &str) = ("Retry-After", "Whole seconds until it is worth another try.");

impl SharedProblem {
    fn response(&self) -> Documented {
        let mut response = ResponseBuilder::new().description(self.description).build();
        if let Some((name, description)) = self.header {
            let header =
                HeaderBuilder::new().description(Some(description)).schema(Some(Object::with_type(Type::String)));
            response.headers.insert(name.to_owned(), header.build().into());
        }
        describe_problem(&mut response);
        response
    }
}

fn complete_operation(operation: &mut Operation, open: bool) {
    let responses = &mut operation.responses.responses;
    for shared in SHARED.iter().filter(|shared| shared.open || !open) {
        responses.entry(shared.status.to_owned()).or_insert_with(|| RefOr::Ref(Ref::from_response_name(shared.name)));
    }
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && status.starts_with(['4', '5'])
            && response.content.is_empty()
        {
            describe_problem(response);
        }
    }
}

fn describe_problem(response: &mut Documented) {
    let schema = Ref::from_schema_name("Problem");
    response.content.insert(PROBLEM_JSON.to_owned(), RefOr::T(Content::new(Some(schema))));
}

/// `/openapi.yaml`, `/docs` and `/`. They carry no state and are not part of the contract that they show.
pub(super) fn router(document: OpenApi) -> Router<AppState> {
    // Written when it is first asked for: that takes milliseconds, which a start can do without.
    let contract = Arc::new(LazyLock::new(move || Bytes::from(super::to_yaml(&document))));
    let served =
        move || async move { ([(header::CONTENT_TYPE, "application/yaml")], Bytes::clone(&contract)).into_response() };
    Router::new().route("/openapi.yaml", get(served)).route("/", get(|| async { Redirect::temporary("/docs/") })).merge(
        SwaggerUi::new("/docs").config(Config::from("/openapi.yaml").try_it_out_enabled(true).validator_url("none")),
    )
}
