use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches};

use super::*;
use crate::cli::{Cli, Command};

/// The settings of `serve` made of a file, variables and flags.
fn settings(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Settings, LayerError> {
    let mut toml = tempfile::NamedTempFile::new().unwrap();
    toml.write_all(file.as_bytes()).unwrap();
    let mut arguments: Vec<OsString> = vec!["graphkin".into(), "serve".into(), "--config".into()];
    arguments.push(toml.path().into());
    arguments.extend(flags.iter().map(OsString::from));
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let matches = parse(&Cli::command(), "serve", arguments, |name| variables.get(name).map(OsString::from))?;
    match Cli::from_arg_matches(&matches)?.command {
        Command::Serve(settings) => Ok(*settings),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = "max_requests = 1\nworkers = 2\nlease = 3.5";
    let none = settings("", &[], &[]).unwrap();
    assert_eq!((none.max_requests, none.workers, none.lease), (512, 1, Duration::from_secs(60)));
    let filed = settings(file, &[], &[]).unwrap();
    assert_eq!((filed.max_requests, filed.workers, filed.lease), (1, 2, Duration::from_millis(3_500)));
    let varied = settings(file, &[("GRAPHKIN_MAX_REQUESTS", "10"), ("GRAPHKIN_WORKERS", "20")], &[]).unwrap();
    assert_eq!((varied.max_requests, varied.workers, varied.lease), (10, 20, Duration::from_millis(3_500)));
    let flagged = settings(file, &[("GRAPHKIN_MAX_REQUESTS", "10")], &["--max-requests", "100"]).unwrap();
    assert_eq!((flagged.max_requests, flagged.workers), (100, 2));
}

#[test]
fn a_device_is_named_as_in_a_request() {
    let of = |file: &str, flags: &[&str]| settings(file, &[], flags).map(|settings| settings.device.to_string());
    assert_eq!(of("", &[]).unwrap(), "auto");
    assert_eq!(of("device = 'cuda:1'", &[]).unwrap(), "cuda:1");
    assert_eq!(of("device = 'cuda:1'", &["--device", "cpu"]).unwrap(), "cpu");
    let refused = of("", &["--device", "tpu"]).unwrap_err().to_string();
    assert!(refused.contains("--device") && refused.contains("`cuda:N`"), "{refused}");
}

#[test]
fn every_kind_of_value_can_stand_in_a_file() {
    let file = "listen = '127.0.0.1:0'\nload_samples = false\nlog_format = 'json'\ndata_dir = '/tmp/x y'\nthreads = 3";
    let settings = settings(file, &[], &[]).unwrap();
    assert_eq!(settings.listen.port(), 0);
    assert!(!settings.load_samples);
    assert_eq!(settings.logging.log_format, LogFormat::Json);
    assert_eq!(settings.place.data_dir, PathBuf::from("/tmp/x y"));
    assert_eq!(settings.threads, 3);
}

#[test]
fn what_is_out_of_range_is_an_error_that_names_setting_and_layer() {
    for (file, variable, from) in [("readers = 0", None, "a setting in /"), ("", Some("0"), "a setting in the env")] {
        let variables: Vec<_> = variable.map(|value| ("GRAPHKIN_READERS", value)).into_iter().collect();
        let message = settings(file, &variables, &[]).unwrap_err().to_string();
        assert!(message.contains("--readers") && message.contains("1..=64"), "{message}");
        assert!(message.starts_with(from), "{message}");
    }
    for flag in ["--lease=0", "--lease=-1", "--lease=NaN", "--lease=soon", "--readers=65", "--threads=x"] {
        let name = flag.split('=').next().unwrap();
        let message = settings("", &[], &[flag]).unwrap_err().to_string();
        assert!(message.contains(name), "{flag}: {message}");
    }
}

#[test]
fn an_unknown_key_is_an_error_and_an_unknown_variable_none() {
    let message = settings("max_request = 1", &[], &[]).unwrap_err().to_string();
    assert!(message.contains("there is no setting `max_request`"), "{message}");
    assert!(settings("config = 'other.toml'", &[], &[]).is_err());
    assert!(settings("readers = [1]", &[], &[]).is_err());
    assert!(settings("readers = ", &[], &[]).is_err());
    assert!(settings("", &[("GRAPHKIN_TEST_DATA", "/somewhere")], &[]).is_ok());
}

#[test]
fn a_command_takes_from_the_layers_what_it_knows() {
    let mut toml = tempfile::NamedTempFile::new().unwrap();
    toml.write_all(b"listen = '127.0.0.1:9'\ndata_dir = '/srv/graphkin'").unwrap();
    let path = toml.path().to_owned();
    let arguments = ["graphkin", "keys", "create", "--scope", "score", "--name", "ci"].map(OsString::from).to_vec();
    let config = |name: &str| (name == "GRAPHKIN_CONFIG").then(|| path.clone().into_os_string());
    let matches = parse(&Cli::command(), "serve", arguments, config).unwrap();
    let (_, keys) = matches.subcommand().unwrap();
    let (_, create) = keys.subcommand().unwrap();
    assert_eq!(create.get_one::<PathBuf>("data_dir").unwrap(), &PathBuf::from("/srv/graphkin"));
}

#[test]
fn the_help_tells_of_every_setting_its_default() {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    for argument in serve.get_arguments().filter(|argument| argument.get_id() != "help") {
        let id = argument.get_id();
        let help = argument.get_help().unwrap_or_else(|| panic!("{id} has no help")).to_string();
        let optional = ["config", "artifact_url"].contains(&id.as_str());
        assert!(optional || !argument.get_default_values().is_empty(), "{id} has no default");
        for (unit, word) in [("SECONDS", "seconds"), ("DAYS", "days")] {
            let has_unit = argument.get_value_names().unwrap_or_default().iter().any(|name| name.as_str() == unit);
            assert!(!has_unit || help.contains(word), "{id} doesn't name its unit");
        }
    }
}

#[test]
fn only_a_loopback_address_is_open() {
    for (listen, open) in [("127.0.0.1:80", true), ("[::1]:80", true), ("0.0.0.0:80", false), ("10.1.2.3:80", false)] {
        let settings = settings("", &[], &["--listen", listen]).unwrap();
        assert_eq!(Config::new(&settings).unwrap().http.open, open, "{listen}");
    }
}
