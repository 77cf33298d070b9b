//! The places a module runs: one file each, chosen by the feature of its name.

#[cfg(feature = "teaclave")]
mod teaclave;
#[cfg(feature = "wasi")]
mod wasi;
#[cfg(feature = "web")]
mod web;

mod linked;
