//! The pod's own settings: the label, and the group of both containers, which lets the miner open the socket.

use super::Id;
use super::pod::{ENABLED, LABEL, Work};
use super::value::Value;
use super::yaml::Refused;

const GROUP: &str = "65532";
const POLICY: &str = "OnRootMismatch";

impl Work<'_> {
    pub(super) fn group(&mut self) -> Result<(), Refused> {
        let wanted = match &self.options.fs_group {
            Id::Ours => Some(GROUP.to_owned()),
            Id::Number(group) => Some(group.to_string()),
            Id::None => None,
        };
        if self.group_is_ours() && wanted.as_deref() != self.fs_group() {
            self.remove_group();
        }
        let Some(wanted) = wanted else {
            return Ok(());
        };
        if let Some(group) = self.fs_group() {
            if matches!(self.options.fs_group, Id::Number(_)) && group != wanted {
                let at = self.on.spec(&["securityContext", "fsGroup"]);
                return self.refuse(
                    &at,
                    format!(
                        "fsGroup is {group}, and --fs-group asks for {wanted}: change one of them"
                    ),
                );
            }
            return Ok(());
        }
        self.set(
            &["spec", "securityContext"],
            "fsGroup",
            Value::typed(wanted),
        )?;
        let policy = self.on.spec(&["securityContext", "fsGroupChangePolicy"]);
        if self.plan.at(&policy).is_none_or(Value::is_null) {
            self.set(
                &["spec", "securityContext"],
                "fsGroupChangePolicy",
                Value::string(POLICY),
            )?;
        }
        Ok(())
    }

    fn fs_group(&self) -> Option<&str> {
        let group = self
            .plan
            .at(&self.on.spec(&["securityContext", "fsGroup"]))?;
        group.text().filter(|_| !group.is_null())
    }

    pub(super) fn group_is_ours(&self) -> bool {
        let given = match self.options.fs_group {
            Id::Number(group) => Some(group.to_string()),
            Id::Ours | Id::None => None,
        };
        self.fs_group()
            .is_some_and(|it| it == GROUP || Some(it) == given.as_deref())
    }

    pub(super) fn remove_group(&mut self) {
        // Without our group, the policy is not ours.
        let policy = self.on.spec(&["securityContext", "fsGroupChangePolicy"]);
        if self.plan.at(&policy).and_then(Value::text) == Some(POLICY) {
            self.plan.remove(&policy);
        }
        self.plan
            .remove(&self.on.spec(&["securityContext", "fsGroup"]));
    }

    pub(super) fn label(&mut self) -> Result<(), Refused> {
        if self
            .plan
            .at(&self.on.in_pod(&["metadata", "labels", LABEL]))
            .is_some()
        {
            return Ok(());
        }
        self.set(&["metadata", "labels"], LABEL, Value::string(ENABLED))
    }
}
