//! Where settings may be typed: defaults < a TOML file < `GRAPHKIN_*` variables < flags.
//!
//! Each layer is turned into flags and put before those of the next; where a flag is given twice, the last one counts. So
//! there is one parser, one range and one message for a setting, whatever layer it came from.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use thiserror::Error;

const PREFIX: &str = "GRAPHKIN_";

/// Where a setting came from, below the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    Environment,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment => f.write_str("the environment"),
        }
    }
}

#[derive(Debug, Error)]
pub enum LayerError {
    /// What clap says, help and version included: it prints and exits by itself.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    #[error("a setting in {from}: {error}")]
    Setting { from: Source, error: clap::Error },
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error("{}: {error}", path.display())]
    Toml { path: PathBuf, error: toml::de::Error },
    #[error("{}: there is no setting `{key}`", path.display())]
    UnknownKey { path: PathBuf, key: String },
    #[error("{}: `{key}` is not a text, a number or a truth value", path.display())]
    NotScalar { path: PathBuf, key: String },
}

/// Parses this process's command line and environment.
///
/// # Errors
/// See [`parse`].
pub fn parse_process<C: CommandFactory + FromArgMatches>(settings: &str) -> Result<C, LayerError> {
    // An empty variable is one that isn't set: Compose files pass those on.
    let environment = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let matches = parse(&C::command(), settings, std::env::args_os().collect(), environment)?;
    Ok(C::from_arg_matches(&matches)?)
}

/// Parses the command line over the layers below it. `settings` is the sub-command that knows every setting;
/// `environment` looks up a variable.
///
/// # Errors
/// What any layer says that can't be meant.
pub fn parse(
    command: &Command,
    settings: &str,
    arguments: Vec<OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<ArgMatches, LayerError> {
    let typed = command.clone().try_get_matches_from(arguments.clone())?;
    let names = sub_commands(&typed);
    let chosen = names.iter().try_fold(command, |command, name| command.find_subcommand(name)).unwrap_or(command);
    let known = setting_names(command.find_subcommand(settings).unwrap_or(command));
    let used = setting_names(chosen);

    let file = innermost(&typed).try_get_one::<PathBuf>("config").ok().flatten().cloned();
    let file = file.or_else(|| environment(&variable("config")).map(PathBuf::from)).filter(|_| used.contains("config"));
    let mut layers = Vec::new();
    if let Some(path) = file {
        layers.push((Source::File(path.clone()), read_file(&path, &known)?));
    }
    let variables = known.iter().filter(|name| *name != "config");
    let variables = variables.filter_map(|name| Some((name.clone(), environment(&variable(name))?))).collect();
    layers.push((Source::Environment, variables));

    let mut flags = Vec::new();
    for (from, layer) in layers {
        let layer: Vec<OsString> =
            layer.into_iter().filter(|(name, _)| used.contains(name)).map(|(name, value)| flag(&name, value)).collect();
        // Alone first, so that a mistake names the layer it is in.
        check(chosen, &layer).map_err(|error| LayerError::Setting { from, error })?;
        flags.extend(layer);
    }
    let place = (1 + names.len()).min(arguments.len());
    let mut all = arguments;
    all.splice(place..place, flags);
    Ok(command.clone().try_get_matches_from(all)?)
}

/// The sub-commands chosen, outermost first.
fn sub_commands(matches: &ArgMatches) -> Vec<String> {
    let mut names = Vec::new();
    let mut matches = matches;
    while let Some((name, inner)) = matches.subcommand() {
        names.push(name.to_owned());
        matches = inner;
    }
    names
}

fn innermost(matches: &ArgMatches) -> &ArgMatches {
    let mut matches = matches;
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    matches
}

/// Every flag with a value, by its name in a file.
fn setting_names(command: &Command) -> BTreeSet<String> {
    let flags = command.get_arguments().filter(|argument| argument.get_action().takes_values());
    flags.filter_map(|argument| argument.get_long()).map(|long| long.replace('-', "_")).collect()
}

fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

fn flag(name: &str, value: OsString) -> OsString {
    let mut flag = OsString::from(format!("--{}=", name.replace('_', "-")));
    flag.push(value);
    flag
}

/// Whether a layer's values are such as the command takes, whatever else it asks for.
fn check(command: &Command, flags: &[OsString]) -> Result<(), clap::Error> {
    let lenient = command.clone().mut_args(|argument| argument.required(false)).no_binary_name(true);
    lenient.try_get_matches_from(flags).map(drop)
}

fn read_file(path: &Path, known: &BTreeSet<String>) -> Result<Vec<(String, OsString)>, LayerError> {
    let path = path.to_owned();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return Err(LayerError::File { path, error }),
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return Err(LayerError::Toml { path, error }),
    };
    let mut settings = Vec::with_capacity(table.len());
    for (key, value) in table {
        // A file that names another file would leave open which of the two counts.
        if !known.contains(&key) || key == "config" {
            return Err(LayerError::UnknownKey { path, key });
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => value.to_string(),
            _ => return Err(LayerError::NotScalar { path, key }),
        };
        settings.push((key, text.into()));
    }
    Ok(settings)
}
