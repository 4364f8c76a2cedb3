//! Lists, in pages that show one state.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{error::ApiError, kinds::Kind, select::Selector, store::State};

/// Lists kept for those who page through them.
const SNAPSHOTS: usize = 64;
const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.";

/// The query of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) selector: Selector,
    pub(super) limit: usize,
    pub(super) token: String,
    pub(super) version: u64,
    pub(super) exact: bool,
}

/// What a list answers.
pub(super) struct Page {
    pub(super) items: Vec<Arc<Value>>,
    pub(super) version: u64,
    /// Where to continue; empty at the end.
    pub(super) token: String,
    pub(super) remaining: usize,
}

/// A list somebody is paging through.
pub(super) struct Snapshot {
    id: u64,
    version: u64,
    items: Arc<Vec<Arc<Value>>>,
}

impl State {
    /// Lists objects, or a page of them.
    pub(super) fn list(&mut self, kind: &Kind, namespace: &str, query: &Listing) -> Result<Page, ApiError> {
        if query.version > self.version {
            let mut error =
                ApiError::new(504, format!("Too large resource version: {}, current: {}", query.version, self.version));
            error.retry_after = Some(1);
            error.details =
                json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]});
            return Err(error);
        }
        if query.exact && query.version < self.version {
            // Only the newest state is kept: as after a compaction.
            return Err(ApiError::too_old(query.version, self.version));
        }
        let (version, items, start, id) = if query.token.is_empty() {
            let mut items = self.of_kind(kind.plural, namespace);
            items.retain(|object| query.selector.matches(object));
            (self.version, Arc::new(items), 0, None)
        } else {
            let parts = query.token.split_once('-');
            let (id, start) = parts
                .and_then(|(id, start)| Some((id.parse::<u64>().ok()?, start.parse().ok()?)))
                .ok_or_else(|| ApiError::new(400, "continue key is not valid"))?;
            let kept = self.snapshots.iter().find(|kept| kept.id == id);
            let kept = kept.ok_or_else(|| ApiError::new(410, CONTINUE_EXPIRED))?;
            (kept.version, Arc::clone(&kept.items), start, Some(id))
        };
        let end = match query.limit {
            0 => items.len(),
            limit => items.len().min(start + limit),
        };
        let mut page = Page {
            items: items.get(start..end).unwrap_or_default().to_vec(),
            version,
            token: String::new(),
            remaining: items.len() - end,
        };
        if page.remaining > 0 {
            let id = id.unwrap_or_else(|| self.keep(&items));
            page.token = format!("{id}-{end}");
        }
        Ok(page)
    }

    /// Remembers the result of a list that is being paged through.
    fn keep(&mut self, items: &Arc<Vec<Arc<Value>>>) -> u64 {
        let id = self.snapshots.back().map_or(1, |kept| kept.id + 1);
        self.snapshots.push_back(Snapshot { id, version: self.version, items: Arc::clone(items) });
        if self.snapshots.len() > SNAPSHOTS {
            self.snapshots.pop_front();
        }
        id
    }
}
