//! The executor `graph`: runs a graph in TVM's JSON format by calling the packed functions that the model's object registered.
//! ARCHITECTURE.md, "The graph JSON", says what stands in it beside TVM's own.

mod json;
mod packed;
mod plan;

use crate::areas::Areas;
use crate::status::Status;

pub use packed::{PackedFunction, TVMFFIEnvModRegisterSystemLibSymbol, Value};

/// Runs a graph once on the model's areas. Nothing is allocated once the first kernel runs.
pub fn run(json: &[u8], areas: &Areas) -> Result<(), Status> {
    let graph = plan::Graph::parse(json).ok_or(Status::BrokenGraph)?;
    let tensors = graph.tensors(areas).ok_or(Status::BrokenGraph)?;
    let steps = graph.steps(&tensors).ok_or(Status::BrokenGraph)?;
    steps.iter().try_for_each(|step| step.run())
}
