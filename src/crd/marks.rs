//! Labels and annotations that more than the operator knows: by the labels a cluster's objects are found,
//! and with the annotations a person, or a tool of theirs, asks for something.

/// Label: which cluster an object belongs to, by name.
pub const CLUSTER: &str = "vectorsphere.io/cluster";
/// Label: which cluster it belongs to, by UID: a cluster made anew under an old name is another.
pub const CLUSTER_UID: &str = "vectorsphere.io/cluster-uid";
/// Label: what a pod is.
pub const ROLE: &str = "vectorsphere.io/role";
/// Label: which template a pod was made from; on a ControllerRevision the hash of the whole.
pub const REVISION: &str = "vectorsphere.io/revision";
/// Annotation of a VectorCluster: make every pod anew, once, when this time changes. With `-ROLE` behind
/// it: the pods of that role.
pub const RESTART: &str = "vectorsphere.io/restart";
/// Annotation of a VectorCluster: the generation whose update may begin.
pub const APPROVE: &str = "vectorsphere.io/approve";
/// Annotation of a VectorCluster: gates that are switched off, with commas between.
pub const SKIP_GATES: &str = "vectorsphere.io/skip-gates";
