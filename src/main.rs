//! The command line: parse, dispatch.

use std::process::ExitCode;

use graphkin::app::{backup, evaluate, experiment, health, keys, samples, serve, train};
use graphkin::cli::{Cli, Command, SamplesCommand};
use graphkin::config::{self, LayerError};
use tokio::runtime::Runtime;

/// glibc's allocator returns large tensors to the system after each use and fetches them again: three to four times
/// slower in a backward pass.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli: Cli = match config::parse_process("serve") {
        Ok(cli) => cli,
        Err(LayerError::Arguments(error)) => error.exit(),
        Err(error) => return fail(&error.into()),
    };
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = Runtime::new()?;
    let code = run_on(&runtime, command);
    // A training thread, a device that no longer answers or a blocking read of standard input must not hold the process.
    runtime.shutdown_background();
    code
}

fn run_on(runtime: &Runtime, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(settings) => runtime.block_on(serve(&settings))?,
        Command::Keys(command) => runtime.block_on(keys::run(command))?,
        Command::Backup(archive) => runtime.block_on(backup::backup(&archive.place, &archive.file))?,
        Command::Restore(archive) => runtime.block_on(backup::restore(&archive.place, &archive.file))?,
        Command::Experiment(arguments) => experiment::run(&arguments)?,
        Command::Openapi => graphkin::app::print(&graphkin::http::openapi_yaml())?,
        Command::Health(health) => return Ok(health::check(health.listen)),
        Command::Train(arguments) => runtime.block_on(train(arguments))?,
        Command::Evaluate(arguments) => runtime.block_on(evaluate(arguments))?,
        Command::Samples(SamplesCommand::Make { out }) => runtime.block_on(samples::make(&out))?,
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "the log may not be there yet, and this is for whoever typed the command")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
