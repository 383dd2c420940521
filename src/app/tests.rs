//! The service in this process, on a free port.

use std::path::Path;
use std::time::Instant;

use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};
use crate::config::Place;
use crate::store::NewFamily;

fn config(data_dir: &Path, listen: &str) -> Config {
    let data_dir = data_dir.to_str().unwrap();
    let arguments = ["graphkin", "serve", "--listen", listen, "--data-dir", data_dir, "--grace-period", "0.3"];
    match Cli::parse_from(arguments).command {
        Command::Serve(settings) => Config::new(&settings).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn place(data_dir: &Path) -> Place {
    config(data_dir, "127.0.0.1:0").place
}

async fn is_ready(address: SocketAddr) -> Option<bool> {
    tokio::task::spawn_blocking(move || health::is_ready(address).ok()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_then_is_unready_then_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let app = App::start(config(directory.path(), "127.0.0.1:0")).await.unwrap();
    let address = app.address();
    assert_ne!(address.port(), 0);
    assert_eq!(is_ready(address).await, Some(true));
    let second = App::start(config(directory.path(), "127.0.0.1:0")).await.unwrap_err().to_string();
    assert!(second.contains("another process"), "{second}");

    let began = Instant::now();
    let stopping = tokio::spawn(app.run(async {}));
    while is_ready(address).await == Some(true) {
        assert!(began.elapsed() < Duration::from_secs(10), "it stays ready");
    }
    assert_eq!(is_ready(address).await, Some(false), "it still answers in the grace period");
    stopping.await.unwrap().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(is_ready(address).await, None, "nobody answers any more");

    let again = App::start(config(directory.path(), "127.0.0.1:0")).await.unwrap();
    assert_eq!(is_ready(again.address()).await, Some(true));
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_fails_for_good_makes_it_unready_and_ends_it_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let app = App::start(config(directory.path(), "127.0.0.1:0")).await.unwrap();
    let (address, scorer) = (app.address(), app.scorer.clone());
    let running = tokio::spawn(app.run(std::future::pending()));
    assert_eq!(is_ready(address).await, Some(true));
    scorer.lose_device();
    assert_eq!(is_ready(address).await, Some(false), "it still answers in the grace period");
    let ended = tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
    assert!(ended.unwrap_err().to_string().contains("has failed for good"));
    assert_eq!(is_ready(address).await, None);
}

#[cfg(not(feature = "cuda"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_not_there_is_an_error_at_start_but_for_auto() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path(), "127.0.0.1:0");
    config.device = DeviceChoice::Cuda(1);
    let refused = format!("{:#}", App::start(config.clone()).await.unwrap_err());
    assert!(refused.contains("--device cuda:1 cannot be used") && refused.contains("without CUDA"), "{refused}");
    config.device = DeviceChoice::Auto;
    App::start(config).await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn off_loopback_it_needs_an_admin_key() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), "0.0.0.0:0");
    let refused = App::start(config.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("graphkin keys create --scope admin"), "{refused}");
    for scope in [Scope::Score, Scope::Admin] {
        let (place, name) = (place(directory.path()), scope.to_string());
        keys::run(cli::KeysCommand::Create { place, scope, name }).await.unwrap();
        let started = App::start(config.clone()).await;
        assert_eq!(started.is_ok(), scope == Scope::Admin);
        if let Ok(app) = started {
            app.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_the_running_service_is_restored() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new, file) =
        (directory.path().join("old"), directory.path().join("new"), directory.path().join("backup.zip"));
    let app = App::start(config(&old, "127.0.0.1:0")).await.unwrap();
    let family = NewFamily { name: "kept".to_owned(), description: None, class_label: None };
    app.store.create_family(&family).await.unwrap();
    backup::backup(&place(&old), &file).await.unwrap();
    assert!(backup::backup(&place(&old), &file).await.is_err(), "it takes no other file's place");
    app.stop().await;

    assert!(backup::restore(&place(&old), &file).await.is_err(), "the directory is not empty");
    std::fs::write(directory.path().join("bad.zip"), b"PK no zip").unwrap();
    assert!(backup::restore(&place(&new), &directory.path().join("bad.zip")).await.is_err());
    assert!(!new.exists(), "nothing half-restored stays behind");
    backup::restore(&place(&new), &file).await.unwrap();
    let app = App::start(config(&new, "127.0.0.1:0")).await.unwrap();
    assert_eq!(app.store.find_family("kept").await.unwrap().name, "kept");
    app.stop().await;
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "no scratch stays behind: {left:?}");
}
