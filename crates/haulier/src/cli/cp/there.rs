//! What the target of a tree holds already: listed once where a listing tells as much as many lookups.
//!
//! What appears or goes while the tree is copied is seen late, as between any look and what follows from it.

use std::collections::HashMap;

use futures::StreamExt;
use haulier_storage::{Location, ObjectMeta, ObjectPath};

/// Objects remembered at most, about 200 bytes each; beyond that, each one is looked up by itself.
const KNOWN_MAX: usize = 50_000;

/// What is known of a target.
pub(super) struct There {
    known: HashMap<ObjectPath, ObjectMeta>,
    /// Whether what is not known is not there.
    all: bool,
}

impl There {
    /// Looks at a target. An object store lists a thousand objects in the time of one lookup; elsewhere a lookup costs
    /// little, or a listing much.
    pub(super) async fn look(target: &Location) -> Self {
        let mut there = Self { known: HashMap::new(), all: false };
        let can = target.storage.capabilities();
        if !can.list || !can.any_key {
            return there;
        }
        // What cannot be listed is looked up one by one, and that says what is wrong.
        let Ok(mut listing) = target.storage.list(&target.path).await else { return there };
        while let Some(Ok(object)) = listing.next().await {
            there.known.insert(object.path, object.meta);
            if there.known.len() == KNOWN_MAX {
                return there;
            }
        }
        there.all = true;
        there
    }

    /// One object, if it is there and can be looked at.
    pub(super) async fn find(&self, target: &Location) -> Option<ObjectMeta> {
        match self.known.get(&target.path) {
            Some(meta) => Some(meta.clone()),
            None if self.all => None,
            None => target.storage.stat(&target.path).await.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use haulier_storage::{MemoryStore, WriteRequest};

    use super::*;

    #[tokio::test]
    async fn a_store_is_listed_once() {
        let at = |path: &str, store: &MemoryStore| Location {
            storage: Arc::new(store.clone()),
            path: ObjectPath::new(path),
        };
        let store = MemoryStore::default();
        for path in ["b/folder/a", "b/folder/c", "b/other"] {
            let writer = store_write(&at(path, &store)).await;
            writer.finish(0).await.unwrap();
        }
        let there = There::look(&at("b/folder", &store)).await;
        assert!(there.all);
        assert_eq!(there.find(&at("b/folder/a", &store)).await.unwrap().size, Some(0));
        // Put after the look, and not asked for again.
        store_write(&at("b/folder/b", &store)).await.finish(0).await.unwrap();
        assert_eq!(there.find(&at("b/folder/b", &store)).await, None);
        let unknown = There { known: HashMap::new(), all: false };
        assert!(unknown.find(&at("b/folder/b", &store)).await.is_some());
    }

    async fn store_write(location: &Location) -> Box<dyn haulier_storage::ObjectWriter> {
        location.storage.write(&location.path, WriteRequest::default()).await.unwrap()
    }
}
