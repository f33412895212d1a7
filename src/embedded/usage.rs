//! Who uses the private server, and how much it holds.

use super::Place;
use crate::sql::{Error, ErrorClass, Lane, Pool, PoolOptions};

/// What a running server says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Its version.
    pub version: String,
    /// The size of all databases, for people.
    pub size: String,
    /// The application names of all other sessions, sorted, one each.
    pub sessions: Vec<String>,
}

/// Asks the running server of a place.
pub async fn usage(place: &Place) -> Result<Usage, Error> {
    let settings = super::settings(place).map_err(|e| Error::new(ErrorClass::Config, e.to_string()))?;
    let options = PoolOptions { application_name: "userfilefs server".to_owned(), ..PoolOptions::default() };
    let pool = Pool::connect(settings, options).await?;
    let conn = pool.conn(Lane::Meta, None).await?;
    let facts = "SELECT current_setting('server_version'), pg_size_pretty(sum(pg_database_size(oid))) FROM pg_database";
    let sessions = "SELECT coalesce(nullif(application_name, ''), 'unnamed') FROM pg_stat_activity \
                    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY 1";
    let mut usage = Usage::default();
    if let Some(row) = conn.query_opt(facts, &[]).await? {
        usage.version = row.try_get(0).unwrap_or_default();
        usage.size = row.try_get(1).unwrap_or_default();
    }
    usage.sessions = conn.query(sessions, &[]).await?.iter().filter_map(|r| r.try_get(0).ok()).collect();
    Ok(usage)
}
