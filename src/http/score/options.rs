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
}

/// The options of a stream, where the body has no room for them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct QueryOptions {
    /// For `application/x-ndjson`: as `options.alpha` of the JSON body.
    #[param(exclusive_minimum = 0.0, exclusive_maximum = 1.0)]
    alpha: Option<f64>,
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
}

/// Options in range, defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checked {
    pub(super) score: ScoreOptions,
    pub(super) alpha: Alpha,
    pub(super) kinds: Option<Vec<Kind>>,
    pub(super) place: Place,
}

/// The level of a verdict. One that was asked for is refused when it can't be reached; the default only warns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Alpha {
    Asked(f64),
    Default,
}

impl Alpha {
    pub(super) const fn value(self) -> f64 {
        match self {
            Self::Asked(alpha) => alpha,
            Self::Default => DEFAULT_ALPHA,
        }
    }
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
    /// 422 naming every option that is out of range.
    pub(super) fn check(self, max_samples: usize) -> Result<Checked, Problem> {
        check(self, max_samples, Place::Body)
    }
}

impl QueryOptions {
    /// # Errors
    /// 422 naming every option that is out of range.
    pub(super) fn check(self, max_samples: usize) -> Result<Checked, Problem> {
        let kinds = self.kinds.as_deref().map(parse_kinds).transpose()?;
        let Self { alpha, tail, orderings, samples, seed, explain, .. } = self;
        check(Options { alpha, tail, orderings, samples, seed, kinds, explain }, max_samples, Place::Query)
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

fn check(options: Options, max_samples: usize, place: Place) -> Result<Checked, Problem> {
    let mut refused = Vec::new();
    if options.alpha.is_some_and(|alpha| !(alpha > 0.0 && alpha < 1.0)) {
        refused.push(Refused::new("alpha", "must lie between 0 and 1, both excluded"));
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
    let alpha = options.alpha.map_or(Alpha::Default, Alpha::Asked);
    Ok(Checked { score, alpha, kinds: options.kinds, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str) -> Result<Checked, Vec<String>> {
        let options: Options = serde_json::from_str(json).unwrap();
        options.check(500).map_err(|problem| problem.errors.into_iter().map(|place| place.pointer).collect())
    }

    #[test]
    fn nothing_asked_gives_the_documented_defaults() {
        let checked = body("{}").unwrap();
        let score = ScoreOptions::default();
        assert_eq!(checked, Checked { score, alpha: Alpha::Default, kinds: None, place: Place::Body });
    }

    #[test]
    fn every_option_out_of_range_is_named_at_once() {
        let places = body(r#"{"alpha": 1.0, "samples": 501, "orderings": 0, "kinds": []}"#).unwrap_err();
        assert_eq!(places, ["/options/alpha", "/options/samples", "/options/orderings", "/options/kinds"]);
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
        };
        let json = r#"{"alpha": 0.1, "tail": "upper", "orderings": 3, "samples": 7, "seed": 9,
            "kinds": ["full-mask", "full-edge-prediction"], "explain": true}"#;
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
