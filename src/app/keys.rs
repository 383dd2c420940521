//! `graphkin keys`: they open the same database as the service, which sees a change with the next request.

use anyhow::{Context, bail};

use super::print;
use crate::cli::KeysCommand;
use crate::config::Place;
use crate::key;
use crate::store::{KeyRow, Scope, Store};

/// # Errors
/// What the database says, and names that are taken or unknown.
pub async fn run(command: KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::Create { place, scope, name } => create(&place, scope, &name).await,
        KeysCommand::List { place } => list(&place).await,
        KeysCommand::Revoke { place, name } => revoke(&place, &name).await,
    }
}

async fn create(place: &Place, scope: Scope, name: &str) -> anyhow::Result<()> {
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        bail!("a key's name has 1 to 64 characters, none of them a control character");
    }
    let store = open(place).await?;
    let key = key::generate().context("the operating system gives no randomness")?;
    store.create_key(name, scope, &key::hash(&key)).await?;
    store.close().await;
    print(&format!("{key}\n"))?;
    Ok(())
}

async fn list(place: &Place) -> anyhow::Result<()> {
    let store = open(place).await?;
    let keys = store.list_keys().await?;
    store.close().await;
    let lines = keys.iter().map(|KeyRow { name, scope, created_at, revoked_at }| {
        let state = revoked_at.map_or_else(|| "in use".to_owned(), |at| format!("revoked {at}"));
        format!("{name}\t{scope}\tmade {created_at}\t{state}\n")
    });
    print(&lines.collect::<String>())?;
    Ok(())
}

async fn revoke(place: &Place, name: &str) -> anyhow::Result<()> {
    let store = open(place).await?;
    store.revoke_key(name).await?;
    store.close().await;
    Ok(())
}

async fn open(place: &Place) -> anyhow::Result<Store> {
    Store::open(&place.store(1)).await.with_context(|| format!("no database in {}", place.data_dir.display()))
}
