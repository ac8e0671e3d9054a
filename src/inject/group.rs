//! What the pod as a whole gets: the group that both containers are in, so that the miner may open the socket, and the
//! label.

use super::pod::{ENABLED, NAME, Work};
use super::value::Value;
use super::yaml::Refused;

const GROUP: &str = "65532";
const POLICY: &str = "OnRootMismatch";

impl Work<'_> {
    pub(super) fn group(&mut self) -> Result<(), Refused> {
        if self.fs_group().is_some() {
            return Ok(());
        }
        let group = Value::typed(GROUP);
        self.set(&["spec", "securityContext"], "fsGroup", group)?;
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
        self.fs_group() == Some(GROUP)
    }

    pub(super) fn remove_group(&mut self) {
        // Without our group the policy is somebody else's.
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
            .at(&self.on.in_pod(&["metadata", "labels", NAME]))
            .is_some()
        {
            return Ok(());
        }
        self.set(&["metadata", "labels"], NAME, Value::string(ENABLED))
    }
}
