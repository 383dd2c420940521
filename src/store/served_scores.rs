//! Served scores: what was said of graphs that were scored under a family.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::SqliteConnection;
use time::OffsetDateTime;

use super::{Store, StoreError, json, moment};
use crate::detector::Arrival;
use crate::id::{DetectorId, FamilyId};

/// A graph that was scored under a family.
#[derive(Debug, Clone, PartialEq)]
pub struct ServedScore {
    pub family: FamilyId,
    /// The detectors that scored together, in the order of their kinds.
    pub detectors: Arc<[DetectorId]>,
    /// When the graph arrived.
    pub at: OffsetDateTime,
    pub score: Arrival,
}

/// How many served scores are kept of a family, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// 0 keeps none.
    pub scores: u64,
    pub age: Duration,
}

/// Which of the kept scores are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The newest, so many.
    Count(u32),
    /// Those of the time up to now.
    Last(Duration),
}

/// The kept scores under the same detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptScores {
    pub count: u64,
    /// When the oldest arrived.
    pub since: Option<OffsetDateTime>,
}

impl Store {
    /// Writes scores in one transaction, and lets go of what is then too much. Those of a family that is gone are dropped.
    ///
    /// # Errors
    /// The database.
    pub async fn add_served_scores(&self, scores: &[ServedScore], retention: &Retention) -> Result<(), StoreError> {
        let rows = json::encode(&scores.iter().map(row).collect::<Vec<_>>())?;
        let mut transaction = self.write().await?;
        // One statement for all of them: each takes a turn on the connection's thread.
        sqlx::query!(
            "INSERT INTO served_scores (family, detectors, at, nonconformities, tie_break)
             SELECT families.id, unhex(item.value ->> 1), item.value ->> 2, item.value ->> 3, item.value ->> 4
             FROM json_each(?) AS item JOIN families ON families.id = item.value ->> 0
             ORDER BY item.key",
            rows
        )
        .execute(&mut *transaction)
        .await?;
        for family in scores.iter().map(|score| score.family).collect::<BTreeSet<_>>() {
            keep_newest(&mut transaction, family, retention.scores).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Lets go of every family's scores that are too many or too old.
    ///
    /// # Errors
    /// The database.
    pub async fn trim_served_scores(&self, retention: &Retention) -> Result<(), StoreError> {
        let oldest = moment::before(moment::now(), retention.age);
        // Not the distinct families of the scores: that would read them all.
        let families = sqlx::query_scalar!(
            "SELECT id FROM families WHERE EXISTS (SELECT 1 FROM served_scores WHERE family = families.id)"
        )
        .fetch_all(&self.readers)
        .await?;
        if families.is_empty() {
            return Ok(());
        }
        let mut transaction = self.write().await?;
        for family in families {
            sqlx::query!("DELETE FROM served_scores WHERE family = ? AND at < ?", family, oldest)
                .execute(&mut *transaction)
                .await?;
            keep_newest(&mut transaction, FamilyId::new(family), retention.scores).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// A family's scores under these detectors, in the order in which the graphs arrived, with their times.
    ///
    /// # Errors
    /// The database.
    pub async fn served_scores(
        &self,
        family: FamilyId,
        detectors: &[DetectorId],
        window: Window,
        retention: &Retention,
    ) -> Result<Vec<(OffsetDateTime, Arrival)>, StoreError> {
        let (count, age) = match window {
            Window::Count(count) => (i64::from(count), retention.age),
            Window::Last(time) => (i64::MAX, time.min(retention.age)),
        };
        let (family, detectors, oldest) = (family.get(), bytes(detectors), moment::before(moment::now(), age));
        let mut found = sqlx::query!(
            "SELECT at, nonconformities, tie_break FROM served_scores
             WHERE family = ? AND detectors = ? AND at >= ? ORDER BY at DESC, id DESC LIMIT ?",
            family,
            detectors,
            oldest,
            count
        )
        .fetch_all(&self.readers)
        .await?;
        found.reverse();
        found
            .into_iter()
            .map(|record| {
                let folds: Vec<Option<f64>> = json::decode("served score", &record.nonconformities)?;
                let folds = folds.into_iter().map(|fold| fold.unwrap_or(f64::INFINITY)).collect();
                Ok((moment::to_time(record.at)?, Arrival { folds, tie_break: record.tie_break }))
            })
            .collect()
    }

    /// All of a family's scores under these detectors that may be asked for.
    ///
    /// # Errors
    /// The database.
    pub async fn kept_scores(
        &self,
        family: FamilyId,
        detectors: &[DetectorId],
        retention: &Retention,
    ) -> Result<KeptScores, StoreError> {
        let oldest = moment::before(moment::now(), retention.age);
        let (family, detectors) = (family.get(), bytes(detectors));
        let found = sqlx::query!(
            r#"
            SELECT count(*) AS "count!: u64", min(at) AS "since: i64" FROM served_scores
            WHERE family = ? AND detectors = ? AND at >= ?
            "#,
            family,
            detectors,
            oldest
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(KeptScores { count: found.count, since: found.since.map(moment::to_time).transpose()? })
    }
}

/// Deletes all but the newest `count` of a family.
async fn keep_newest(connection: &mut SqliteConnection, family: FamilyId, count: u64) -> Result<(), StoreError> {
    let (family, count) = (family.get(), i64::try_from(count).unwrap_or(i64::MAX));
    // Where there are no more than that, the inner query is empty, and nothing compares with it.
    sqlx::query!(
        "DELETE FROM served_scores WHERE family = ?1 AND (at, id) <= (
             SELECT at, id FROM served_scores WHERE family = ?1 ORDER BY at DESC, id DESC LIMIT 1 OFFSET ?2
         )",
        family,
        count
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A row as the statement that inserts it reads it.
fn row(served: &ServedScore) -> (i64, String, i64, &[f64], f64) {
    let ServedScore { family, detectors, at, score } = served;
    (family.get(), hex::encode(bytes(detectors)), moment::of(*at), &score.folds, score.tie_break)
}

fn bytes(detectors: &[DetectorId]) -> Vec<u8> {
    detectors.iter().flat_map(|id| id.uuid().into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::tests::Fixture;

    const ALL: Retention = Retention { scores: 1_000, age: Duration::from_secs(3_600) };

    fn ids(count: usize) -> Arc<[DetectorId]> {
        (0..count).map(|_| DetectorId::new(Uuid::now_v7())).collect()
    }

    /// A score of so many seconds ago, told by its value.
    fn score(family: FamilyId, detectors: &Arc<[DetectorId]>, seconds_ago: u64, value: f64) -> ServedScore {
        let at = OffsetDateTime::now_utc() - Duration::from_secs(seconds_ago);
        let score = Arrival { folds: vec![value, value + 0.1], tie_break: 0.25 };
        ServedScore { family, detectors: Arc::clone(detectors), at, score }
    }

    async fn values(fixture: &Fixture, family: FamilyId, detectors: &[DetectorId], window: Window) -> Vec<f64> {
        let found = fixture.store.served_scores(family, detectors, window, &ALL).await.unwrap();
        found.iter().map(|(_, arrival)| arrival.folds[0]).collect()
    }

    #[tokio::test]
    async fn scores_come_back_to_the_bit_in_the_order_of_arrival() {
        let fixture = Fixture::new().await;
        let (family, two) = (fixture.family("rings").await.id, ids(2));
        let odd = [0.1 + 0.2, 1e-300, -0.0, f64::MAX].map(|value| score(family, &two, 5, value));
        let infinite = [f64::INFINITY, f64::NAN].map(|value| score(family, &two, 3, value));
        let late = score(family, &two, 10, 7.0);
        fixture.store.add_served_scores(&odd, &ALL).await.unwrap();
        fixture.store.add_served_scores(&infinite, &ALL).await.unwrap();
        fixture.store.add_served_scores(std::slice::from_ref(&late), &ALL).await.unwrap();
        let found = fixture.store.served_scores(family, &two, Window::Count(100), &ALL).await.unwrap();
        assert_eq!(found[0].1, late.score, "it arrived first, if it was done last");
        for ((at, arrival), written) in found[1..5].iter().zip(&odd) {
            let bits = |arrival: &Arrival| arrival.folds.iter().map(|fold| fold.to_bits()).collect::<Vec<_>>();
            assert_eq!((bits(arrival), arrival.tie_break), (bits(&written.score), 0.25));
            assert!((*at - written.at).abs() < Duration::from_micros(1));
        }
        assert_eq!(found[5].1.folds, [f64::INFINITY; 2], "what isn't finite is as strange as can be");
        assert_eq!((found[6].1.folds[0], found.len()), (f64::INFINITY, 7));
    }

    #[tokio::test]
    async fn a_window_is_of_one_family_and_its_detectors() {
        let fixture = Fixture::new().await;
        let (rings, trees) = (fixture.family("rings").await.id, fixture.family("trees").await.id);
        let (old, new) = (ids(1), ids(2));
        let scores: Vec<_> = (0..10).map(|i| score(rings, &new, 100 - 10 * i, i as f64)).collect();
        fixture.store.add_served_scores(&scores, &ALL).await.unwrap();
        let others =
            [score(rings, &old, 1, 50.0), score(trees, &new, 1, 60.0), score(FamilyId::new(99), &new, 1, 70.0)];
        fixture.store.add_served_scores(&others, &ALL).await.unwrap();
        assert_eq!(values(&fixture, rings, &new, Window::Count(3)).await, [7.0, 8.0, 9.0]);
        assert_eq!(values(&fixture, rings, &new, Window::Last(Duration::from_secs(25))).await, [8.0, 9.0]);
        assert_eq!(values(&fixture, rings, &old, Window::Count(3)).await, [50.0]);
        let kept = fixture.store.kept_scores(rings, &new, &ALL).await.unwrap();
        assert_eq!(kept.count, 10);
        assert!((kept.since.unwrap() - scores[0].at).abs() < Duration::from_micros(1));
        let none = fixture.store.kept_scores(rings, &ids(2), &ALL).await.unwrap();
        assert_eq!(none, KeptScores { count: 0, since: None });

        fixture.store.delete_family("rings").await.unwrap();
        assert!(values(&fixture, rings, &new, Window::Count(3)).await.is_empty());
    }

    #[tokio::test]
    async fn the_oldest_go_by_count_and_by_age() {
        let fixture = Fixture::new().await;
        let (rings, trees, one) = (fixture.family("rings").await.id, fixture.family("trees").await.id, ids(1));
        let few = Retention { scores: 5, ..ALL };
        let scores: Vec<_> = (0..12).map(|i| score(rings, &one, 600 - i, i as f64)).collect();
        for batch in scores.chunks(7) {
            fixture.store.add_served_scores(batch, &few).await.unwrap();
        }
        let last = [7.0, 8.0, 9.0, 10.0, 11.0];
        assert_eq!(values(&fixture, rings, &one, Window::Count(100)).await, last);
        fixture.store.add_served_scores(&[score(trees, &one, 30, 1.0)], &few).await.unwrap();
        assert_eq!(values(&fixture, rings, &one, Window::Count(100)).await, last, "each family has room of its own");

        let brief = Retention { age: Duration::from_secs(60), ..few };
        let told = fixture.store.served_scores(rings, &one, Window::Count(100), &brief).await.unwrap();
        assert!(told.is_empty(), "what is too old is told no more, even while it is there");
        fixture.store.trim_served_scores(&brief).await.unwrap();
        assert!(values(&fixture, rings, &one, Window::Count(100)).await.is_empty());
        assert_eq!(values(&fixture, trees, &one, Window::Count(100)).await, [1.0]);
        fixture.store.trim_served_scores(&Retention { scores: 0, ..brief }).await.unwrap();
        assert!(values(&fixture, trees, &one, Window::Count(100)).await.is_empty());
    }
}
