//! Health of the process: its grade, the check that Docker runs, and the log line about it.

pub mod check;
pub mod grade;
pub mod logger;
