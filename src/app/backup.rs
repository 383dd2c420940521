//! `graphkin backup` and `graphkin restore`: the database and the artefacts in one zip.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::artifact::Artifacts;
use crate::config::Place;
use crate::store::{self, Store};

/// The form of the archive. A newer one is refused, not guessed at.
const FORMAT: u32 = 1;
const HEADER: &str = "backup.json";
const DATABASE: &str = "graphkin.sqlite3";
const ARTIFACTS: &str = "artifacts";

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    /// The version of graphkin that wrote it.
    graphkin: String,
}

/// Writes a backup, also while the service runs. The database is copied first: an artefact is durable before its row, so
/// every detector of the copy has its files when these are copied after it.
///
/// # Errors
/// When the file exists, or something can't be read or written; no half-written backup stays behind.
pub async fn backup(place: &Place, file: &Path) -> anyhow::Result<()> {
    ensure!(!file.exists(), "{} exists already", file.display());
    ensure!(
        place.artifact_url.is_none(),
        "the detectors are not in the data directory: copy them with the tools of their storage"
    );
    let source = place.store(1);
    ensure!(source.path.exists(), "there is no database in {}", place.data_dir.display());
    let scratch =
        tempfile::tempdir_in(parent(file)).with_context(|| format!("{} cannot be written", file.display()))?;

    let copy = scratch.path().join(DATABASE);
    let store = Store::open(&source).await?;
    store.backup_to(&copy).await?;
    store.close().await;

    let archive = scratch.path().join("archive");
    write_archive(&archive, &copy, &place.artifact_dir())?;
    let check = scratch.path().join("check");
    read_archive(&archive, &check)?;
    verify(&check).await.context("the detectors changed while they were copied: make the backup again")?;
    persist(&archive, file)
}

/// Fills an empty data directory from a backup: checked whole before it gets its place.
///
/// # Errors
/// When the directory isn't empty, or the backup is damaged.
pub async fn restore(place: &Place, file: &Path) -> anyhow::Result<()> {
    ensure!(is_empty(&place.data_dir)?, "{} is not empty", place.data_dir.display());
    ensure!(place.artifact_url.is_none(), "a backup restores the detectors into the data directory only");
    let beside = parent(&place.data_dir);
    std::fs::create_dir_all(&beside)?;
    let scratch = tempfile::tempdir_in(&beside)?;
    let data_dir = scratch.path().join("data");
    read_archive(file, &data_dir).with_context(|| format!("{} cannot be restored", file.display()))?;
    verify(&data_dir).await.with_context(|| format!("{} cannot be restored", file.display()))?;
    // What was deleted before the backup is not to come back as a sample.
    File::create(data_dir.join("samples.done"))?;
    match std::fs::remove_dir(&place.data_dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error)?,
        _ => std::fs::rename(&data_dir, &place.data_dir)?,
    }
    File::open(beside)?.sync_all()?;
    Ok(())
}

fn write_archive(archive: &Path, database: &Path, artifacts: &Path) -> anyhow::Result<()> {
    let mut zip = ZipWriter::new(BufWriter::new(File::create_new(archive)?));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).large_file(true);
    let header = Header { format: FORMAT, graphkin: env!("CARGO_PKG_VERSION").to_owned() };
    zip.start_file(HEADER, options)?;
    serde_json::to_writer(&mut zip, &header)?;
    zip.start_file(DATABASE, options)?;
    io::copy(&mut File::open(database)?, &mut zip)?;
    for path in files_below(artifacts)? {
        let mut file = match File::open(artifacts.join(&path)) {
            // Deleted since it was listed; whether a detector misses it is checked at the end.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            file => file?,
        };
        zip.start_file_from_path(Path::new(ARTIFACTS).join(&path), options)?;
        io::copy(&mut file, &mut zip)?;
    }
    zip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}

fn read_archive(archive: &Path, data_dir: &Path) -> anyhow::Result<()> {
    let mut zip = ZipArchive::new(BufReader::new(File::open(archive)?)).context("it is no backup")?;
    let header: Header = serde_json::from_reader(zip.by_name(HEADER).context("it is no backup")?)?;
    ensure!(header.format <= FORMAT, "it was written by a newer graphkin ({})", header.graphkin);
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index)?;
        let Some(path) = entry.enclosed_name() else { bail!("`{}` leads out of the directory", entry.name()?) };
        if entry.is_dir() || path == Path::new(HEADER) {
            continue;
        }
        ensure!(
            path == Path::new(DATABASE) || path.starts_with(ARTIFACTS),
            "`{}` does not belong in it",
            entry.name()?
        );
        let path = data_dir.join(path);
        std::fs::create_dir_all(parent(&path))?;
        let mut file = File::create_new(&path)?;
        io::copy(&mut entry, &mut file)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Whether the database opens and each of its detectors is whole.
async fn verify(data_dir: &Path) -> anyhow::Result<()> {
    let store = Store::open(&store::Config { path: data_dir.join(DATABASE), readers: 1 }).await?;
    let artifacts = Artifacts::local(&data_dir.join(ARTIFACTS))?;
    let ids: HashSet<_> = store.detector_ids().await?.into_iter().collect();
    for id in ids {
        artifacts.summary(id).await?;
    }
    store.close().await;
    Ok(())
}

/// Gives the finished archive its name, and never takes another file's place.
fn persist(archive: &Path, file: &Path) -> anyhow::Result<()> {
    std::fs::hard_link(archive, file).with_context(|| format!("{} cannot be written", file.display()))?;
    File::open(parent(file))?.sync_all()?;
    Ok(())
}

/// The files below a directory, relative to it, sorted.
fn files_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(below) = left.pop() {
        let entries = match std::fs::read_dir(directory.join(&below)) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() { left.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

fn is_empty(directory: &Path) -> io::Result<bool> {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
