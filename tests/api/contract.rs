//! `openapi.yaml` is the file, the served document and the code's; every route of it answers; every answer fits it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App};

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(graphkin::http::openapi()).expect("the contract as JSON"));

/// Every operation of the contract: its method, its path and what it says.
pub(crate) fn operations() -> Vec<(Method, String, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("a path item").iter();
        methods.filter_map(move |(method, operation)| {
            let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).ok()?;
            Some((method, path.clone(), operation))
        })
    });
    operations.collect()
}

/// The path of an operation with something in the place of its parameters.
pub(crate) fn example_path(template: &str) -> String {
    let parts = template.split('/').map(|part| match part {
        "{family}" => "no-such-family",
        "{kind}" => "full-mask",
        part if part.starts_with('{') => "019a1b2c-3d4e-7f50-8a9b-0c1d2e3f4a5b",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Fails the test when an answer is not one that the contract has for its request.
pub(crate) fn check(method: &Method, path: &str, answer: &Answer) {
    let what = format!("{method} {path} → {}", answer.status);
    let content_type = answer.content_type().unwrap_or_default();
    if answer.status >= 400 && path != "/health/ready" {
        assert_eq!(content_type, "application/problem+json", "{what}: {}", answer.text());
        validate(&json!({ "$ref": "#/components/schemas/Problem" }), &answer.json(), &what);
    }
    let found = operations().into_iter().find(|(of, template, _)| of == method && matches(template, path));
    let Some((_, template, operation)) = found else { return };
    let response = &operation["responses"][answer.status.to_string()];
    let response = match response["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).expect("a shared response"),
        None => response,
    };
    assert!(!response.is_null(), "{what}: {template} does not document this status: {}", answer.text());
    let Some(contents) = response["content"].as_object().filter(|contents| !contents.is_empty()) else {
        assert!(answer.bytes.is_empty(), "{what}: documented without a body, but came with {}", answer.text());
        return;
    };
    let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_owned();
    let content = contents.iter().find(|(of, _)| essence(of) == essence(content_type));
    let Some((of, content)) = content else { panic!("{what}: `{content_type}` is not documented") };
    if essence(of).ends_with("json") && essence(of) != "application/x-ndjson" {
        validate(&content["schema"], &answer.json(), &what);
    }
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(part, given)| part.starts_with('{') || *part == given)
}

/// Holds a value to a schema of the contract.
#[track_caller]
fn validate(schema: &Value, value: &Value, what: &str) {
    let mut schema = schema.clone();
    schema["components"] = DOCUMENT["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {errors:#?}\n{value:#}");
}

#[tokio::test]
async fn the_file_the_service_and_the_code_agree() {
    let file = include_str!("../../openapi.yaml");
    assert!(
        file == graphkin::http::openapi_yaml(),
        "openapi.yaml is not what the code says: write it again with `graphkin openapi > openapi.yaml`"
    );
    let app = App::start().await;
    let served = app.get("/openapi.yaml").await;
    assert_eq!(served.status, 200);
    assert_eq!(served.content_type(), Some("application/yaml"));
    assert_eq!(served.text(), file);
}

#[tokio::test]
async fn every_route_of_the_contract_is_there() {
    let app = App::start().await;
    for (method, template, _) in operations() {
        let answer = app.send(app.request(method.clone(), &example_path(&template))).await;
        assert_ne!(answer.status, 405, "{method} {template}");
        if answer.status == 404 {
            let detail = answer.json()["detail"].to_string();
            assert!(!detail.contains("nothing is at"), "{method} {template}: {detail}");
        }
        assert_ne!(answer.status, 500, "{method} {template}: {}", answer.text());
    }
}

#[test]
fn every_operation_says_what_it_is() {
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations() {
        let what = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{what} has no operationId"));
        assert!(id.contains('_') && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{what}: {id}");
        assert!(ids.insert(id.to_owned()), "{what}: {id} is there twice");
        assert!(operation["summary"].is_string(), "{what} has no summary");
        assert!(operation["tags"][0].is_string(), "{what} has no tag");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{what} never succeeds");
        assert!(responses.contains_key("500"), "{what}");
        let open = path.starts_with("/health/") || path == "/metrics";
        let scope = operation["security"][0]["key"][0].as_str();
        assert_eq!(scope.is_none(), open, "{what}: scope {scope:?}");
        assert!(open || responses.contains_key("401"), "{what}");
        for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let parameters = operation["parameters"].as_array().expect("parameters");
            let described = parameters.iter().any(|parameter| {
                parameter["in"] == "path" && parameter["name"] == name && parameter["description"].is_string()
            });
            assert!(described, "{what}: {name} is not described");
        }
    }
}

/// The check above would be worth nothing if it let everything pass.
#[test]
#[should_panic(expected = "does not document this status")]
fn an_undocumented_status_is_noticed() {
    let answer = Answer { status: 302, headers: reqwest::header::HeaderMap::new(), bytes: Vec::new() };
    check(&Method::GET, "/v1/families", &answer);
}

#[test]
#[should_panic(expected = "next_cursor")]
fn a_body_that_does_not_fit_is_noticed() {
    let content_type = reqwest::header::HeaderValue::from_static("application/json");
    let headers = [(reqwest::header::CONTENT_TYPE, content_type)].into_iter().collect();
    let answer = Answer { status: 200, headers, bytes: br#"{"items": []}"#.to_vec() };
    check(&Method::GET, "/v1/families", &answer);
}
