//! Which scores are asked about, and at what level.

use std::time::Duration;

use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::error::Problem;
use crate::store::Window;

const DEFAULT_WINDOW: Window = Window::Count(500);
const DEFAULT_ALPHA: f64 = 0.01;
/// Scores of a window by count: no more are kept.
const MAX_COUNT: u32 = 1_000_000;
/// Of a window by time: older ones are not kept.
const MAX_TIME: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DriftQuery {
    /// The newest scores, so many as `500`, or those since so long as `24h` ago (`s`, `m`, `h` or `d`).
    #[param(default = "500", example = "24h")]
    window: Option<String>,
    /// The chance of an alarm while nothing has changed is at most this: of one look, and of all looks of the martingale while
    /// its window only grows.
    #[param(exclusive_minimum = 0.0, exclusive_maximum = 1.0, default = 0.01)]
    alpha: Option<f64>,
}

/// The same, in range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Checked {
    pub(super) window: Window,
    pub(super) alpha: f64,
}

impl DriftQuery {
    /// # Errors
    /// 422 for what is out of range.
    pub(super) fn check(self) -> Result<Checked, Problem> {
        let alpha = self.alpha.unwrap_or(DEFAULT_ALPHA);
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(Problem::unprocessable("alpha: must lie between 0 and 1, both excluded"));
        }
        let window = self.window.map_or(Some(DEFAULT_WINDOW), |text| parse_window(&text)).ok_or_else(|| {
            let detail =
                format!("window: must be a count up to {MAX_COUNT}, or a time up to 3650d, as 90s, 30m, 24h or 7d");
            Problem::unprocessable(detail)
        })?;
        Ok(Checked { window, alpha })
    }
}

/// `500` or `24h`; none for anything else, and for what is out of range.
fn parse_window(text: &str) -> Option<Window> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().ok().filter(|number| *number > 0)?;
    let seconds = match unit {
        "" => return (number <= MAX_COUNT).then_some(Window::Count(number)),
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let time = Duration::from_secs(u64::from(number) * seconds);
    (time <= MAX_TIME).then_some(Window::Last(time))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_is_a_count_or_a_time() {
        for (text, expected) in [
            ("1", Window::Count(1)),
            ("500", Window::Count(500)),
            ("1000000", Window::Count(1_000_000)),
            ("90s", Window::Last(Duration::from_secs(90))),
            ("30m", Window::Last(Duration::from_secs(1_800))),
            ("24h", Window::Last(Duration::from_secs(86_400))),
            ("3650d", Window::Last(MAX_TIME)),
        ] {
            assert_eq!(parse_window(text), Some(expected), "{text}");
        }
        for text in ["", "0", "0h", "-5", "+5", "5.5h", "1e3", "h", "5 h", "5w", "5H", "1000001", "3651d", "4294967296"]
        {
            assert_eq!(parse_window(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let checked = DriftQuery { window: None, alpha: None }.check().unwrap();
        assert_eq!(checked, Checked { window: Window::Count(500), alpha: 0.01 });
        for alpha in [0.0, 1.0, -1.0, f64::NAN, f64::INFINITY] {
            let problem = DriftQuery { window: None, alpha: Some(alpha) }.check().unwrap_err();
            assert_eq!(problem.status.as_u16(), 422, "{alpha}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in ".*") {
            let _ = parse_window(&text);
        }
    }
}
