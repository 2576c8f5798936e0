//! What the API server answers by the definitions alone: no operator acts meanwhile.

pub(crate) mod behaviour;
pub(crate) mod bounds;
pub(crate) mod cases;
pub(crate) mod cluster;
pub(crate) mod collection;
pub(crate) mod columns;
pub(crate) mod contract;
pub(crate) mod definitions;
pub(crate) mod others;
