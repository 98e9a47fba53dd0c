//! The watchdog's body: waits for the engine and the bus, asks the brain, journals, acts. No verdict
//! is made here.

pub mod app;
pub mod asking;
pub mod cli;
pub mod ear;
pub mod engine;
pub mod eye;
pub mod facts;
pub mod hands;
pub mod healer;
pub mod hint;
pub mod last_words;
pub mod leave;
pub mod moments;
pub mod numbers;
pub mod orders;
pub mod settings;
pub mod supervisor;
pub mod view;
