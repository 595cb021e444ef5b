//! An S3 server for tests: real requests, signatures and responses, and faults on request.
//!
//! - `server` listens, and applies armed faults between a request and its response;
//! - `google` implements Google's dialect, on a separate port;
//! - `tls` adds TLS;
//! - `store` is the store: bytes in `s3s-fs`, names and conditions in this crate;
//! - `page` divides listings into pages, `operation` determines the operation of a request;
//! - `fault` contains the faults and the rules that select their requests; `arm` is the test's side.
//!
//! A test arms the server that all tests share for its own prefix, or starts a separate one:
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
