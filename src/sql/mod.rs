//! Connections to the SQL server: settings, TLS, pool, retries, errors, the two dialects.
//!
//! * [`Settings`] says where and as whom to connect; it is made without I/O.
//! * [`Pool`] opens connections on demand. Its [`Lane`]s keep bulk transfers from starving metadata.
//! * [`Retry`] runs an operation again after conflicts and lost connections, until its deadline.
//! * [`Conn`] has prepared statements per connection and [`Conn::transaction`], which sends a whole
//!   transaction without waiting for answers in between.
//! * [`Error`] carries an [`ErrorClass`] (what a caller would branch on) and a hint (what a person can do).
//!
//! No statement timeout is set on the server: one that struck a pipelined BEGIN would let the statements
//! behind it commit one by one. Every wait is bounded here instead, by the time in which no byte moved, and a
//! connection on which a wait was given up is closed, never reused.

mod config;
mod conn;
mod connect;
mod dialect;
mod error;
pub mod files;
mod ghost;
mod params;
mod pool;
mod retry;
mod socket;
mod tls;
mod txn;
mod types;

pub use config::{DEFAULT_DATABASE, Host, PORT_COCKROACH, PORT_POSTGRES, Settings, SslMode};
pub use conn::{Conn, RowStream, Stmt};
pub use dialect::Dialect;
pub use error::{Error, ErrorClass};
pub use params::{Params as ConnectParams, split_host};
pub use pool::{Durability, Lane, Pool, PoolOptions};
pub use retry::Retry;
pub use tokio_postgres::Row;
pub use tokio_postgres::types::{FromSql, ToSql, Type};
pub use txn::Txn;

/// Parameters of a statement.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];
