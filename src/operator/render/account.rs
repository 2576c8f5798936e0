//! The account that the pods of a cluster run under. It has no rights, and its pods have no token: it is
//! there so that clouds can give it an identity, and audits a name.

use serde_json::{Value, json};

use super::Render;

/// The name of the account, as pods say it; none: the namespace's default.
pub(super) fn name<'a>(render: &'a Render<'_>) -> Option<&'a str> {
    let account = &render.spec.service_account;
    match (&account.name, account.create) {
        (Some(name), _) => Some(name),
        (None, true) => Some(&render.subject.name),
        (None, false) => None,
    }
}

/// The account, unless somebody else makes it.
pub(super) fn account(render: &Render<'_>) -> Option<Value> {
    let account = &render.spec.service_account;
    let name = name(render).filter(|_name| account.create)?;
    let mut metadata = render.accessory(name, None);
    if let Some(metadata) = metadata.as_object_mut()
        && !account.annotations.is_empty()
    {
        metadata.insert("annotations".to_owned(), json!(account.annotations));
    }
    Some(json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata,
        "automountServiceAccountToken": false,
    }))
}
