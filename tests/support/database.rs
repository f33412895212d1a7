//! A database of one test on the shared server, with a pool of ours.

use std::time::Duration;

use userfilefs::sql::{Pool, PoolOptions, Settings};

use super::postgres::Server;

/// An empty database; removed when dropped.
pub struct Database {
    /// Its name.
    pub name: String,
    /// The server it is on.
    pub server: &'static Server,
}

/// A new empty database on the shared server. `None`, after a loud skip, without PostgreSQL.
pub fn database() -> Option<Database> {
    // A thread of its own: the blocking client may not run inside a runtime.
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let make = move || {
        let server = Server::shared()?;
        Some(Database { name: server.fresh_database(), server })
    };
    let made = std::thread::Builder::new().name(test).spawn(make).expect("thread").join();
    made.expect("a test server")
}

/// Limits that let a failing test fail soon.
pub fn options() -> PoolOptions {
    PoolOptions { op_timeout: Some(Duration::from_secs(20)), ..PoolOptions::default() }
}

impl Database {
    /// The URL as the superuser.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// The same by way of another port of this machine (a proxy's).
    pub fn url_via(&self, port: u16) -> String {
        format!("postgresql://postgres@127.0.0.1:{port}/{}?sslmode=disable", self.name)
    }

    /// Settings as the superuser.
    pub fn settings(&self) -> Settings {
        Settings::parse(&self.url()).expect("own URL")
    }

    /// A pool as the superuser.
    pub async fn pool(&self) -> Pool {
        self.pool_with(options()).await
    }

    /// The same with other limits.
    pub async fn pool_with(&self, options: PoolOptions) -> Pool {
        Pool::connect(self.settings(), options).await.expect("own server")
    }

    /// Runs statements (simple protocol) on a connection of its own; the first column of the first row, or
    /// an empty string.
    pub fn psql(&self, sql: &str) -> String {
        let (server, name, sql) = (self.server, self.name.clone(), sql.to_owned());
        // A thread of its own: the blocking client may not run inside a runtime.
        let run = move || server.db(&name).first_text(&sql);
        std::thread::spawn(run).join().expect("statements")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server, self.name.clone());
        let _ = std::thread::spawn(move || server.drop_database(&name)).join();
    }
}
