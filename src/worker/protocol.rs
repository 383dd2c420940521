//! What a child process says on its standard output: a JSON object a line.

use serde::{Deserialize, Serialize};

use crate::job::{JobFailure, Progress};

/// The line on its standard input that asks a child process to checkpoint and end; so does its end of file.
pub(super) const STOP: &str = "stop\n";

/// The longest line that is read; the process is ours, but a damaged one must not fill our memory.
pub(super) const MAX_LINE: u64 = 64 * 1024;

/// Bytes of a report in one line, before JSON escapes its quotes.
const REPORT_PART: usize = 16 * 1024;

/// The longest report that is read, of all its parts: some thousand points a detector make a megabyte.
pub(super) const MAX_REPORT: usize = 64 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum ChildEvent {
    Progress {
        progress: Progress,
    },
    /// A checkpoint of this epoch is durable.
    Checkpoint {
        epoch: u64,
    },
    /// The next part of an evaluation's report, `evaluate::Evaluation` as JSON.
    Report {
        part: String,
    },
    /// The detector is durable, or the report is told.
    Finished,
    /// It stopped because it was told to.
    Stopped,
    Failed {
        #[serde(flatten)]
        failure: JobFailure,
        /// Whether another attempt may fare better.
        retryable: bool,
    },
}

impl ChildEvent {
    /// A report in parts that fit their lines.
    pub(super) fn reports(report: &str) -> impl Iterator<Item = Self> + '_ {
        let mut rest = report;
        std::iter::from_fn(move || {
            let (part, others) = rest.split_at(rest.floor_char_boundary(REPORT_PART));
            rest = others;
            (!part.is_empty()).then(|| Self::Report { part: part.to_owned() })
        })
    }

    /// The event as a line, with its end.
    pub(super) fn to_line(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|line| line + "\n")
    }

    pub(super) fn parse(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evaluate, train};

    #[test]
    fn every_event_survives_its_line() {
        let phase = "training".to_owned();
        let training = train::Progress { phase, epoch: 3, epochs: 9, loss: Some(0.1), validation_loss: None };
        let evaluation = evaluate::Progress { phase: "scoring".to_owned(), done: 3, total: 9 };
        let failure = JobFailure { code: "family_unusable".to_owned(), detail: "two\nlines".to_owned() };
        let events = [
            ChildEvent::Progress { progress: Progress::Training(training) },
            ChildEvent::Progress { progress: Progress::Evaluation(evaluation) },
            ChildEvent::Report { part: "{\"a\": [1,\n2]}".to_owned() },
            ChildEvent::Checkpoint { epoch: 3 },
            ChildEvent::Finished,
            ChildEvent::Stopped,
            ChildEvent::Failed { failure, retryable: true },
        ];
        for event in events {
            let line = event.to_line().unwrap();
            assert_eq!(line.matches('\n').count(), 1, "one line: {line}");
            assert_eq!(ChildEvent::parse(line.trim_end()).unwrap(), event);
        }
    }

    #[test]
    fn the_lines_are_these() {
        let failed = r#"{"event":"failed","code":"internal","detail":"it broke","retryable":false}"#;
        let failure = JobFailure { code: "internal".to_owned(), detail: "it broke".to_owned() };
        assert_eq!(ChildEvent::parse(failed).unwrap(), ChildEvent::Failed { failure, retryable: false });
        assert_eq!(
            ChildEvent::parse(r#"{"event":"checkpoint","epoch":4}"#).unwrap(),
            ChildEvent::Checkpoint { epoch: 4 }
        );
    }

    #[test]
    fn a_report_comes_in_lines_that_are_read_whole() {
        let report = "\"é\\".repeat(20_000);
        let mut whole = String::new();
        for event in ChildEvent::reports(&report) {
            let line = event.to_line().unwrap();
            assert!((line.len() as u64) < MAX_LINE);
            let ChildEvent::Report { part } = ChildEvent::parse(&line).unwrap() else { panic!("{line}") };
            whole += &part;
        }
        assert_eq!(whole, report);
        assert_eq!(ChildEvent::reports("").count(), 0);
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for line in ["", "hello", "{}", r#"{"event":"unheard_of"}"#, r#"{"event":"checkpoint"}"#] {
            assert!(ChildEvent::parse(line).is_err(), "{line}");
        }
    }
}
