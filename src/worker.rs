//! The worker (to come).
