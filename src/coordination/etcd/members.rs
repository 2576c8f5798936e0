//! Who the members of an etcd cluster are, and changes of that, one member at a time.
//!
//! Etcd itself refuses what would cost its quorum or what is there already, so a decision that rests on
//! an old list does no harm.

use super::calls::{Call, Effect};
use super::{Error, Etcd};

/// A member, as etcd lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterMember {
    /// Its number in etcd.
    pub id: u64,
    /// What it calls itself; empty until it has started for the first time.
    pub name: String,
    /// Where the others reach it; the first, if it has several.
    pub peer_url: String,
    /// It follows and does not vote yet.
    pub learner: bool,
}

impl Etcd {
    /// The members, as the one that is asked knows them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn members(&self) -> Result<Vec<ClusterMember>, Error> {
        let call = Call {
            what: "a list of members",
            effect: Effect::None,
        };
        let answer = self
            .call(call, |mut member| async move {
                member.cluster.member_list().await
            })
            .await?;
        let members = answer.members().iter().map(|member| ClusterMember {
            id: member.id(),
            name: member.name().to_owned(),
            peer_url: member.peer_urls().first().cloned().unwrap_or_default(),
            learner: member.is_learner(),
        });
        Ok(members.collect())
    }

    /// Adds a member that follows without a vote, so that the quorum stays what it is until it has caught
    /// up. It has not been started yet.
    ///
    /// # Errors
    /// [`Error`], also when there is one of this address.
    pub async fn add_learner(&self, peer_url: &str) -> Result<(), Error> {
        let call = Call {
            what: "adding a member",
            effect: Effect::Once,
        };
        self.call(call, |mut member| {
            let urls = vec![peer_url.to_owned()];
            async move {
                let options = etcd_client::MemberAddOptions::new().with_is_learner();
                member.cluster.member_add(urls, Some(options)).await
            }
        })
        .await?;
        Ok(())
    }

    /// Gives a member that has caught up a vote.
    ///
    /// # Errors
    /// [`Error`], also while it has not caught up.
    pub async fn promote(&self, id: u64) -> Result<(), Error> {
        let call = Call {
            what: "giving a member its vote",
            effect: Effect::Once,
        };
        self.call(call, |mut member| async move {
            member.cluster.member_promote(id).await
        })
        .await?;
        Ok(())
    }

    /// Removes a member for good: what it holds is of no use to anybody any more.
    ///
    /// # Errors
    /// [`Error`], also when the rest would be no quorum.
    pub async fn remove_member(&self, id: u64) -> Result<(), Error> {
        let call = Call {
            what: "removing a member",
            effect: Effect::Once,
        };
        self.call(call, |mut member| async move {
            member.cluster.member_remove(id).await
        })
        .await?;
        Ok(())
    }
}
