//! Changing aliases: the actions of a request are carried out together or not at all.
//!
//! Each name that they mention is read once from etcd and guarded, so that the one transaction at the
//! end holds only while all of them are what was decided on. A request is bounded so that it fits in.

use std::collections::BTreeMap;

use super::collections::{CHUNK, Changed, Collections, Error, Order};
use crate::coordination::records::{NameKind, NameRecord, decode, encode};
use crate::coordination::{Change, Guard};
use crate::ids::CollectionName;
use crate::limits::ALIAS_ACTIONS_MAX;

/// One action on aliases; a request's are carried out together or not at all.
#[derive(Debug, Clone)]
pub(super) enum AliasAction {
    /// A new alias, or one that leads elsewhere from now on.
    Create {
        alias: CollectionName,
        collection: CollectionName,
    },
    /// An alias less.
    Delete(CollectionName),
    /// Another name for an alias.
    Rename {
        from: CollectionName,
        to: CollectionName,
    },
}

// An action names two names at most, and each is one change.
const _: () = assert!(2 * ALIAS_ACTIONS_MAX <= CHUNK);

/// Refuses more actions than one transaction holds.
pub(super) fn check(actions: usize) -> Result<(), Error> {
    if actions > ALIAS_ACTIONS_MAX {
        return Err(Error::Invalid(format!(
            "{actions} actions in one request; at most {ALIAS_ACTIONS_MAX} can be"
        )));
    }
    Ok(())
}

impl Collections {
    /// Carries out the actions in one transaction.
    pub(super) async fn alias(
        &self,
        order: Order,
        actions: Vec<AliasAction>,
    ) -> Result<Changed, Error> {
        check(actions.len())?;
        let _one_at_a_time = self.turn(order).await?;
        // The names as the actions before have left them; `None` is a name that is free.
        let mut names: BTreeMap<CollectionName, Option<NameRecord>> = BTreeMap::new();
        let mut guards = vec![self.term(order.term)];
        for action in actions {
            match action {
                AliasAction::Create { alias, collection } => {
                    let target = self.name(&collection, &mut names, &mut guards).await?;
                    let target = target.filter(|record| record.kind == NameKind::Name);
                    let target = target.ok_or_else(|| Error::Missing(collection.to_string()))?;
                    let there = self.name(&alias, &mut names, &mut guards).await?;
                    if there.is_some_and(|record| record.kind == NameKind::Name) {
                        return Err(Error::Exists(alias.to_string()));
                    }
                    let kind = NameKind::Alias;
                    let record = NameRecord {
                        kind,
                        collection: target.collection,
                    };
                    names.insert(alias, Some(record));
                },
                AliasAction::Delete(alias) => {
                    self.alias_of(&alias, &mut names, &mut guards).await?;
                    names.insert(alias, None);
                },
                AliasAction::Rename { from, to } => {
                    let record = self.alias_of(&from, &mut names, &mut guards).await?;
                    if self.name(&to, &mut names, &mut guards).await?.is_some() {
                        return Err(Error::Exists(to.to_string()));
                    }
                    names.insert(from, None);
                    names.insert(to, Some(record));
                },
            }
        }
        let mut changes = Vec::new();
        for (name, record) in names {
            let key = self.keys.name(&name);
            changes.push(match record {
                Some(record) => Change::put(key, encode(&record)?),
                None => Change::Delete(key),
            });
        }
        let revision = self.commit(guards, changes).await?;
        Ok(Changed {
            changed: true,
            revision,
        })
    }

    /// What a name leads to after the actions so far; reads and guards it when it is new to them.
    async fn name(
        &self,
        name: &CollectionName,
        names: &mut BTreeMap<CollectionName, Option<NameRecord>>,
        guards: &mut Vec<Guard>,
    ) -> Result<Option<NameRecord>, Error> {
        if let Some(known) = names.get(name) {
            return Ok(known.clone());
        }
        let key = self.keys.name(name);
        let record = match self.etcd.get(&key).await? {
            Some(entry) => {
                guards.push(Guard::ModRevision(key, entry.mod_revision));
                Some(decode::<NameRecord>(&entry.value)?)
            },
            None => {
                guards.push(Guard::Absent(key));
                None
            },
        };
        names.insert(name.clone(), record.clone());
        Ok(record)
    }

    async fn alias_of(
        &self,
        alias: &CollectionName,
        names: &mut BTreeMap<CollectionName, Option<NameRecord>>,
        guards: &mut Vec<Guard>,
    ) -> Result<NameRecord, Error> {
        let record = self.name(alias, names, guards).await?;
        record
            .filter(|record| record.kind == NameKind::Alias)
            .ok_or_else(|| Error::NoAlias(alias.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_actions_than_fit_are_refused_with_the_number() {
        assert!(check(ALIAS_ACTIONS_MAX).is_ok());
        let error = check(ALIAS_ACTIONS_MAX + 1).unwrap_err().to_string();
        assert!(error.starts_with("61 actions in one request"), "{error}");
    }
}
