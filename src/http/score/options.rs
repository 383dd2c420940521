//! How to score, as asked, in a JSON body or a query string.
//!
//! Every number is held to its range here, before it costs anything.

use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::detector::{ScoreOptions, Tail};
use crate::graph::format::Located;
use crate::http::error::Problem;
use crate::model::Kind;

/// The level of a verdict where none is asked for.
const DEFAULT_ALPHA: f64 = 0.05;
const MAX_ORDERINGS: u64 = 100;

/// How to score. Everything is optional.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    /// A graph is `anomalous` when its p-value is at most this. Refused below `min_p`, which no p-value can reach.
    #[schema(exclusive_minimum = 0.0, exclusive_maximum = 1.0, default = 0.05)]
    alpha: Option<f64>,
    /// Of `graphs`, instead of `alpha`: the share of normal graphs among those found `anomalous` that is expected at most
    /// (Benjamini-Hochberg over the request). Refused below `min_p`, and with anything but `graphs`.
    #[schema(exclusive_minimum = 0.0, exclusive_maximum = 1.0)]
    fdr: Option<f64>,
    /// Which deviations count as anomalous: both, or only what is less likely than the family.
    tail: Option<Tail>,
    /// Random orderings drawn by the likelihood kinds; else as many as the detector was calibrated with.
    #[schema(minimum = 1, maximum = 100)]
    orderings: Option<u64>,
    /// Completions sampled by the masked kinds; else as many as the detector was calibrated with. The service's setting is
    /// the upper bound.
    #[schema(minimum = 1)]
    samples: Option<u64>,
    /// The same seed gives the same numbers.
    #[schema(default = 0)]
    seed: Option<u64>,
    /// Score under these kinds only. Each must have an active detector.
    kinds: Option<Vec<Kind>>,
    /// Name the unlikely edges, the least likely first.
    #[schema(default = false)]
    explain: Option<bool>,
    /// Count the graphs as traffic of the family, for its drift. `false` is for graphs that are not: trials, tests.
    #[schema(default = true)]
    record: Option<bool>,
}

/// The options of a stream, where the body has no room for them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct QueryOptions {
    /// For `application/x-ndjson`: as `options.alpha` of the JSON body.
    #[param(exclusive_minimum = 0.0, exclusive_maximum = 1.0)]
    alpha: Option<f64>,
    /// Refused, with the reason: a rate over all graphs can't be held before the last has come.
    #[param(ignore)]
    fdr: Option<f64>,
    /// For `application/x-ndjson`: as `options.tail` of the JSON body.
    tail: Option<Tail>,
    /// For `application/x-ndjson`: as `options.orderings` of the JSON body.
    #[param(minimum = 1, maximum = 100)]
    orderings: Option<u64>,
    /// For `application/x-ndjson`: as `options.samples` of the JSON body.
    #[param(minimum = 1)]
    samples: Option<u64>,
    /// For `application/x-ndjson`: as `options.seed` of the JSON body.
    seed: Option<u64>,
    /// For `application/x-ndjson`: kinds, separated by commas.
    #[param(example = "full-mask,full-edge-prediction")]
    kinds: Option<String>,
    /// For `application/x-ndjson`: as `options.explain` of the JSON body.
    explain: Option<bool>,
    /// For `application/x-ndjson`: as `options.record` of the JSON body.
    record: Option<bool>,
}

/// Options in range, defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checked {
    pub(super) score: ScoreOptions,
    pub(super) level: Level,
    pub(super) kinds: Option<Vec<Kind>>,
    /// Whether the graphs count as traffic.
    pub(super) record: bool,
    pub(super) place: Place,
}

/// The level of a verdict. One that was asked for is refused when it can't be reached; the default only warns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Level {
    Default,
    /// Of one graph: the false-positive rate.
    Alpha(f64),
    /// Of all graphs of the request: the false discovery rate.
    Fdr(f64),
}

impl Level {
    pub(super) const fn value(self) -> f64 {
        match self {
            Self::Default => DEFAULT_ALPHA,
            Self::Alpha(level) | Self::Fdr(level) => level,
        }
    }

    pub(super) const fn is_asked(self) -> bool {
        !matches!(self, Self::Default)
    }

    /// The option that asks for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Default | Self::Alpha(_) => "alpha",
            Self::Fdr(_) => "fdr",
        }
    }
}

/// How many graphs the options are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    One,
    /// All that there are.
    Batch,
    /// Nobody knows yet.
    Stream,
}

/// Where the options of a request stand: in its body, which JSON Pointers reach into, or in its query string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Body,
    Query,
}

/// An option that makes no sense, and why. A `path` is the option's name, or `kinds/0` for an element of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    path: String,
    detail: String,
}

impl Refused {
    pub(super) fn new(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { path: path.into(), detail: detail.into() }
    }
}

impl Place {
    /// 422, naming every option refused as this place names them.
    pub(super) fn problem(self, refused: Vec<Refused>) -> Problem {
        match self {
            Self::Body => Problem::invalid(
                refused
                    .into_iter()
                    .map(|Refused { path, detail }| Located { pointer: format!("/options/{path}"), detail })
                    .collect(),
            ),
            Self::Query => {
                let listed: Vec<String> = refused.iter().map(|one| format!("{}: {}", one.path, one.detail)).collect();
                Problem::unprocessable(listed.join("; "))
            }
        }
    }
}

impl Options {
    /// # Errors
    /// 422 naming every option that is out of range, or not for this scope.
    pub(super) fn check(self, scope: Scope, max_samples: usize) -> Result<Checked, Problem> {
        check(self, scope, max_samples, Place::Body)
    }
}

impl QueryOptions {
    /// # Errors
    /// 422 naming every option that is out of range.
    pub(super) fn check(self, max_samples: usize) -> Result<Checked, Problem> {
        let kinds = self.kinds.as_deref().map(parse_kinds).transpose()?;
        let Self { alpha, fdr, tail, orderings, samples, seed, explain, record, .. } = self;
        let options = Options { alpha, fdr, tail, orderings, samples, seed, kinds, explain, record };
        check(options, Scope::Stream, max_samples, Place::Query)
    }

    /// # Errors
    /// 422 when any is given: a JSON body has its own place for them, and two answers to one question are one too many.
    pub(super) fn expect_none(&self) -> Result<(), Problem> {
        if *self == Self::default() {
            return Ok(());
        }
        Err(Problem::unprocessable("with a JSON body the options stand in its `options`, not in the query string"))
    }
}

fn parse_kinds(text: &str) -> Result<Vec<Kind>, Problem> {
    text.split(',')
        .map(|name| {
            let refused = || vec![Refused::new("kinds", format!("`{name}` is not a kind of detector"))];
            name.parse().map_err(|()| Place::Query.problem(refused()))
        })
        .collect()
}

fn check(options: Options, scope: Scope, max_samples: usize, place: Place) -> Result<Checked, Problem> {
    let mut refused = Vec::new();
    for (name, level) in [("alpha", options.alpha), ("fdr", options.fdr)] {
        if level.is_some_and(|level| !(level > 0.0 && level < 1.0)) {
            refused.push(Refused::new(name, "must lie between 0 and 1, both excluded"));
        }
    }
    match scope {
        Scope::One if options.fdr.is_some() => {
            refused.push(Refused::new("fdr", "is a rate over several graphs: send `graphs`, or ask for `alpha`"));
        }
        Scope::Stream if options.fdr.is_some() => {
            let detail = "a stream has no end to hold a rate over: send `graphs`, or ask for `alpha`";
            refused.push(Refused::new("fdr", detail));
        }
        Scope::One | Scope::Batch | Scope::Stream => {}
    }
    if options.alpha.is_some() && options.fdr.is_some() {
        refused.push(Refused::new("alpha", "a verdict has one level: give this or `fdr`"));
        refused.push(Refused::new("fdr", "a verdict has one level: give this or `alpha`"));
    }
    if options.samples.is_some_and(|samples| !(1..=max_samples as u64).contains(&samples)) {
        refused.push(Refused::new("samples", format!("must be from 1 to {max_samples}")));
    }
    if options.orderings.is_some_and(|orderings| !(1..=MAX_ORDERINGS).contains(&orderings)) {
        refused.push(Refused::new("orderings", format!("must be from 1 to {MAX_ORDERINGS}")));
    }
    if options.kinds.as_ref().is_some_and(Vec::is_empty) {
        refused.push(Refused::new("kinds", "must name at least one kind"));
    }
    if !refused.is_empty() {
        return Err(place.problem(refused));
    }
    let score = ScoreOptions {
        tail: options.tail.unwrap_or_default(),
        samples: options.samples.map(|samples| samples as usize),
        orderings: options.orderings.map(|orderings| orderings as usize),
        seed: options.seed.unwrap_or_default(),
        explain: options.explain.unwrap_or_default(),
    };
    let level = options.fdr.map(Level::Fdr).or(options.alpha.map(Level::Alpha)).unwrap_or(Level::Default);
    Ok(Checked { score, level, kinds: options.kinds, record: options.record.unwrap_or(true), place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str) -> Result<Checked, Vec<String>> {
        body_for(Scope::Batch, json)
    }

    fn body_for(scope: Scope, json: &str) -> Result<Checked, Vec<String>> {
        let options: Options = serde_json::from_str(json).unwrap();
        options.check(scope, 500).map_err(|problem| problem.errors.into_iter().map(|place| place.pointer).collect())
    }

    #[test]
    fn nothing_asked_gives_the_documented_defaults() {
        let checked = body("{}").unwrap();
        let score = ScoreOptions::default();
        let expected = Checked { score, level: Level::Default, kinds: None, record: true, place: Place::Body };
        assert_eq!(checked, expected);
    }

    #[test]
    fn every_option_out_of_range_is_named_at_once() {
        let places = body(r#"{"alpha": 1.0, "samples": 501, "orderings": 0, "kinds": []}"#).unwrap_err();
        assert_eq!(places, ["/options/alpha", "/options/samples", "/options/orderings", "/options/kinds"]);
    }

    #[test]
    fn a_false_discovery_rate_is_of_several_graphs_and_instead_of_alpha() {
        assert_eq!(body(r#"{"fdr": 0.1}"#).unwrap().level, Level::Fdr(0.1));
        assert_eq!(body(r#"{"alpha": 0.1}"#).unwrap().level, Level::Alpha(0.1));
        assert_eq!(body(r#"{"fdr": 0.1, "alpha": 0.1}"#).unwrap_err(), ["/options/alpha", "/options/fdr"]);
        for bad in [r#"{"fdr": 0}"#, r#"{"fdr": 1.0}"#, r#"{"fdr": -0.1}"#] {
            assert_eq!(body(bad).unwrap_err(), ["/options/fdr"], "{bad}");
        }
        assert_eq!(body_for(Scope::One, r#"{"fdr": 0.1}"#).unwrap_err(), ["/options/fdr"]);
        let problem = QueryOptions { fdr: Some(0.1), ..QueryOptions::default() }.check(500).unwrap_err();
        assert_eq!(problem.status.as_u16(), 422);
        assert!(problem.detail.starts_with("fdr: a stream has no end"), "{}", problem.detail);
    }

    #[test]
    fn the_borders_of_each_range() {
        for good in [r#"{"samples": 1}"#, r#"{"samples": 500}"#, r#"{"orderings": 100}"#, r#"{"alpha": 1e-300}"#] {
            assert!(body(good).is_ok(), "{good}");
        }
        for bad in
            [r#"{"samples": 0}"#, r#"{"samples": 18446744073709551615}"#, r#"{"orderings": 101}"#, r#"{"alpha": 0}"#]
        {
            assert!(body(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_options_are_refused() {
        assert!(serde_json::from_str::<Options>(r#"{"sample": 5}"#).is_err());
    }

    #[test]
    fn the_query_says_the_same_as_the_body() {
        let query = QueryOptions {
            alpha: Some(0.1),
            tail: Some(Tail::Upper),
            orderings: Some(3),
            samples: Some(7),
            seed: Some(9),
            kinds: Some("full-mask,full-edge-prediction".to_owned()),
            explain: Some(true),
            record: Some(false),
            fdr: None,
        };
        let json = r#"{"alpha": 0.1, "tail": "upper", "orderings": 3, "samples": 7, "seed": 9,
            "kinds": ["full-mask", "full-edge-prediction"], "explain": true, "record": false}"#;
        assert_eq!(query.check(500).unwrap(), Checked { place: Place::Query, ..body(json).unwrap() });
    }

    #[test]
    fn an_unknown_kind_in_the_query_is_named() {
        let query = QueryOptions { kinds: Some("full-mask,nonsense".to_owned()), ..QueryOptions::default() };
        let problem = query.check(500).unwrap_err();
        assert_eq!(problem.status.as_u16(), 422);
        assert_eq!(problem.detail, "kinds: `nonsense` is not a kind of detector");
        assert!(problem.errors.is_empty(), "a query string has no JSON Pointers");
    }
}
