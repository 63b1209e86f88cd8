//! A byte stream in both directions: an accepted socket, a dialled one, TLS over either, or a stream forwarded inside
//! another session. The engines take any of them and never ask which.

use tokio::io::{AsyncRead, AsyncWrite};

/// What a protocol engine reads from and writes to.
pub trait Conn: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Conn for T {}

/// A stream whose kind was decided at run time.
pub type BoxConn = Box<dyn Conn>;
