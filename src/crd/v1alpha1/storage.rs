//! Volumes.
//!
//! A rule that compares two quantities first asks whether both are quantities: else a bad size would
//! end in the server's runtime error and not in our message, which the field's own rule has.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::defaults;

/// The volume of each process of a role.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!isQuantity(self.size) || !isQuantity(oldSelf.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0")
        .message("volumes can only grow")
        .field_path(".size")
        .reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
        .message("storageClassName is immutable")
        .reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.autoGrow) || !isQuantity(self.size) || !isQuantity(self.autoGrow.maxSize) || quantity(self.autoGrow.maxSize).compareTo(quantity(self.size)) >= 0")
        .message("autoGrow.maxSize is smaller than size")
        .field_path(".autoGrow.maxSize")
)]
pub struct Storage {
    /// Size of each volume, such as 100Gi. It can only grow.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
            .message("size must be a positive quantity, such as 100Gi")
    )]
    pub size: String,

    /// Storage class of the volumes. Absent: the default class of the Kubernetes cluster. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,

    /// Volume attributes class, which may be changed while the volume is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub volume_attributes_class_name: Option<String>,

    /// Automatic grows the volumes in place when size does; Disabled leaves that to people.
    #[serde(default)]
    pub resize: ResizePolicy,

    /// Grow the volumes when one of them fills up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_grow: Option<AutoGrow>,
}

impl Storage {
    /// A volume of this size and nothing else said.
    pub(super) fn of_size(size: String) -> Self {
        Self {
            size,
            storage_class_name: None,
            volume_attributes_class_name: None,
            resize: ResizePolicy::default(),
            auto_grow: None,
        }
    }
}

choice! {
    /// Who grows a volume.
    ResizePolicy {
        /// The operator, in place.
        Automatic,
        /// People.
        Disabled,
    }
}

/// Grows the volumes of a role when one of them fills up. The size in the spec stays as it was
/// written: the effective size is in the status.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AutoGrow {
    /// Use of a volume, in percent, that makes the role's volumes grow.
    #[serde(default = "defaults::grow_threshold_percent")]
    #[schemars(range(min = 50, max = 95))]
    pub threshold_percent: i32,

    /// How much they grow at a time, in percent of their size.
    #[serde(default = "defaults::grow_step_percent")]
    #[schemars(range(min = 5, max = 100))]
    pub step_percent: i32,

    /// They never grow beyond this.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self)").message("must be a quantity"))]
    pub max_size: String,
}
