//! The agent's tasks, by name: if one ends, the agent logs its name and stops.

use std::collections::HashMap;

use anyhow::anyhow;
use tokio::task::{Id, JoinError, JoinSet};

/// Tasks whose names survive a panic.
#[derive(Default)]
pub(super) struct Named {
    tasks: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
}

pub(super) type Ended = Result<anyhow::Result<()>, JoinError>;

impl Named {
    pub fn spawn(
        &mut self,
        name: &'static str,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        self.names.insert(self.tasks.spawn(part).id(), name);
    }

    /// The next task that ends; `None` when none is left.
    pub async fn next(&mut self) -> Option<(&'static str, Ended)> {
        let ended = self.tasks.join_next_with_id().await?;
        let (id, ended) = match ended {
            Ok((id, result)) => (id, Ok(result)),
            Err(panicked) => (panicked.id(), Err(panicked)),
        };
        Some((self.names.remove(&id).unwrap_or("a part"), ended))
    }
}

/// The error for a task that ended although nobody asked it to: the agent stops with it.
pub(super) fn unasked(name: &str, ended: Ended) -> anyhow::Error {
    let why = match ended {
        Ok(Ok(())) => anyhow!("it returned"),
        Ok(Err(error)) => error,
        Err(panicked) => panicked.into(),
    };
    tracing::error!(
        part = name,
        error = format!("{why:#}"),
        "a part of the agent has stopped"
    );
    why.context(format!(
        "{name} has stopped, and the agent with it: the lock's TTL ends its term"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_is_called_by_its_name() {
        let mut parts = Named::default();
        parts.spawn("one that goes on", std::future::pending());
        parts.spawn("one that panics", async { panic!("for the test") });
        let (name, ended) = parts.next().await.unwrap();
        let told = format!("{:#}", unasked(name, ended));
        assert!(told.starts_with("one that panics has stopped"), "{told}");
        assert!(told.contains("for the test"), "{told}");
        parts.spawn("one that fails", async { Err(anyhow!("why")) });
        assert_eq!(parts.next().await.unwrap().0, "one that fails");
    }
}
