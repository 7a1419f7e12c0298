//! Links to upstream MCP servers, of either era, over streamable HTTP or a child's standard input and output.
//!
//! A link is what the upstream knows of us: an HTTP session, a child process, or nothing at all for a stateless server.
//! No caller's credential, header or cookie ever crosses (MG-02); only the configured headers do.

pub(crate) mod guard;
pub(crate) mod http;
pub(crate) mod http_client;
pub(crate) mod http_exchange;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod pool;
pub(crate) mod process_group;
pub(crate) mod sse;
pub(crate) mod stdio;
