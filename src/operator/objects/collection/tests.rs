//! What a collection says of itself.

use serde_json::json;

use super::decide::tests::{MINE, of, spec, state, there};
use super::failed;
use crate::operator::objects::collection::decide::Decision;

#[test]
fn a_change_that_fails_is_the_reason_of_all_and_hides_no_index() {
    let said = |decision: Decision| {
        let decision = failed(decision, "a master said no".to_owned());
        [decision.ready, decision.synced, decision.indexed].map(|said| said.reason)
    };
    let plain = spec(json!({}));
    let making = of(&plain, &[], &state(vec![]));
    assert_eq!(said(making), ["ChangeFailed"; 3]);
    let served = of(&plain, &[], &state(vec![there("active", Some(MINE))]));
    let known = ["ChangeFailed", "ChangeFailed", "NotNeeded"];
    assert_eq!(said(served), known);
}
