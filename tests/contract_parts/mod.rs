//! The parts of the contract test.

pub mod compare;
pub mod deeds;
pub mod replay;
