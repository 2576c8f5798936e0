//! With an operator that acts, in real pods.

pub(crate) mod charts;
pub(crate) mod evictions;
pub(crate) mod lifecycle;
pub(crate) mod living;
pub(crate) mod members;
pub(crate) mod nodes;
pub(crate) mod objects;
pub(crate) mod operator_process;
pub(crate) mod plugin;
pub(crate) mod rendered;
pub(crate) mod serving;
