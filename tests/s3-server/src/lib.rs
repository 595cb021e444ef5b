//! An S3 server for tests: real requests, signatures and answers, and faults where a test asks.
//!
//! - `server` listens, and stands between a request and its answer where a fault is armed;
//! - `google` speaks Google's dialect of it, at a port of its own;
//! - `tls` lets it speak TLS as well;
//! - `store` is the store behind it: bytes by `s3s-fs`, names and conditions by this crate;
//! - `page` cuts listings into pages, `operation` tells what a request asks for;
//! - `fault` has the faults and the rules that say when they strike; `arm` is a test's side of it.
//!
//! A test arms the server that all tests share by its own prefix, or starts one of its own:
//!
//! ```
//! use transload_tests_s3::{Fault, Faults, Rule, Server};
//!
//! let server = Server::start();
//! let faults = Faults::at(server.endpoint());
//! let lost = faults.once("CompleteMultipartUpload", "orders/", Fault::LoseReply);
//! let slow = faults.arm(Rule::on("GetObject").key("orders/").after(2).times(3), Fault::SLOW_DOWN);
//! // ... the job ...
//! assert_eq!((lost.hits(), slow.hits()), (0, 0));
//! assert_eq!(faults.uploads("orders/"), Vec::<String>::new());
//! ```

#![allow(clippy::expect_used, clippy::unwrap_used)] // a test may fail loudly anywhere

mod arm;
mod fault;
mod google;
mod operation;
mod page;
mod server;
mod store;
mod tls;

pub use arm::{Armed, Faults};
pub use fault::{Fault, Request, Rule};
pub use google::ACCOUNT;
pub use server::{BUCKET, KEY, SECRET, Server, serve_forever};
pub use tls::Certificates;
