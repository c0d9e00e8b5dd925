//! The users of a listener, and what each may.

use std::sync::{Arc, OnceLock};

use accounts::{Account, Accounts, Limits, Moment, Zone};
use config::{ConfigError, UserSet};
use policy::{RuleSet, UserId, Users};

/// A set of users of the forward face.
#[derive(Debug)]
pub(crate) struct Crowd {
    /// The name of the set.
    name: String,
    pub(crate) users: Arc<Users>,
    members: Vec<Member>,
    /// What those may whom only a callout knows.
    others: Arc<Limits>,
    /// Asked about those.
    pub(crate) callout: Option<config::Callout>,
}

#[derive(Debug)]
struct Member {
    limits: Arc<Limits>,
    /// Found once: the process has one for each user.
    account: OnceLock<Arc<Account>>,
}

impl Crowd {
    /// Compiles what the users of a set may, in this generation of the configuration.
    ///
    /// # Errors
    /// There is no such time zone.
    pub(crate) fn build(
        set: &UserSet,
        users: &Arc<Users>,
        generation: u64,
    ) -> Result<Self, ConfigError> {
        let zone = Zone::named(set.time_zone.as_deref(), set.span)?;
        // Most users share what is said of all.
        let shared = users.default_limits();
        let others = Arc::new(Limits::build(shared, &zone).of_generation(generation));
        let member = |id| {
            let limits = users.limits(id);
            Member {
                limits: match users.expires(id) {
                    None if Arc::ptr_eq(limits, shared) => Arc::clone(&others),
                    expires => {
                        let limits = Limits::build(limits, &zone).expiring(expires);
                        Arc::new(limits.of_generation(generation))
                    }
                },
                account: OnceLock::new(),
            }
        };
        Ok(Self {
            name: set.name.clone(),
            users: Arc::clone(users),
            members: users.ids().map(member).collect(),
            others,
            callout: set.callout.clone(),
        })
    }

    /// Lets what these users have under way go on under the limits of now.
    pub(crate) fn put_to_use(&self, accounts: &Accounts, now: Moment) {
        for (id, member) in self.users.ids().zip(&self.members) {
            let name = self.users.name(id);
            if accounts.find(&self.name, name).is_some() {
                accounts.account(&self.name, name, &member.limits, now);
            }
        }
    }

    /// The account of a user, whom only a callout knows if it has no number.
    pub(crate) fn account(
        &self,
        accounts: &Accounts,
        id: Option<UserId>,
        name: &str,
        now: Moment,
    ) -> Arc<Account> {
        let Some(member) = id.and_then(|id| self.members.get(id.index())) else {
            return accounts.account(&self.name, name, &self.others, now);
        };
        let account = || accounts.account(&self.name, name, &member.limits, now);
        Arc::clone(member.account.get_or_init(account))
    }

    /// The name of the set.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What a user may, of whom only a callout knows if it has no number.
    pub(crate) fn limits(&self, id: Option<UserId>) -> &Arc<Limits> {
        let member = id.and_then(|id| self.members.get(id.index()));
        member.map_or(&self.others, |member| &member.limits)
    }

    /// The accounts of all users who are known here, each with its limits.
    pub(crate) fn accounts(&self, accounts: &Accounts, now: Moment) -> Vec<Arc<Account>> {
        let account = |id| self.account(accounts, Some(id), self.users.name(id), now);
        self.users.ids().map(account).collect()
    }

    /// The rules of a user about targets, if there are some.
    pub(crate) fn rules(&self, id: Option<UserId>) -> Option<Arc<RuleSet>> {
        match id {
            Some(id) => self.users.rules(id).cloned(),
            None => self.users.default_rules().cloned(),
        }
    }
}
