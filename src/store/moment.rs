//! Moments as the tables hold them: microseconds since 1970 (UTC).

use std::time::Duration;

use time::OffsetDateTime;

use super::StoreError;

/// Now, by the wall clock: a moment must mean the same after a restart.
pub(super) fn now() -> i64 {
    of(OffsetDateTime::now_utc())
}

pub(super) fn of(time: OffsetDateTime) -> i64 {
    (time.unix_timestamp_nanos() / 1_000) as i64
}

/// `duration` after `moment`, or the end of time.
pub(super) fn after(moment: i64, duration: Duration) -> i64 {
    moment.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

/// `duration` before `moment`, or the beginning of time.
pub(super) fn before(moment: i64, duration: Duration) -> i64 {
    moment.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

pub(super) fn to_time(moment: i64) -> Result<OffsetDateTime, StoreError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(moment) * 1_000)
        .map_err(|error| StoreError::Damaged { what: "moment", detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_time_is_no_overflow() {
        assert_eq!(after(now(), Duration::MAX), i64::MAX);
        assert!(to_time(i64::MAX).is_err());
        assert_eq!(after(5, Duration::from_millis(2)), 2_005);
        assert_eq!(before(2_005, Duration::from_millis(2)), 5);
        assert!(before(now(), Duration::MAX) < 0);
    }
}
