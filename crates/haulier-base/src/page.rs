//! One page of a list, and whether more follows.

/// Items in order, and whether there are more after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// Whether a further page would have items.
    pub more: bool,
}

impl<T> Page<T> {
    /// Makes a page from up to `limit + 1` items: the surplus one only says that more follow.
    pub fn from_surplus(mut items: Vec<T>, limit: usize) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        Self { items, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surplus_item_says_that_more_follow() {
        assert_eq!(Page::from_surplus(vec![1, 2, 3], 2), Page { items: vec![1, 2], more: true });
        assert_eq!(Page::from_surplus(vec![1, 2], 2), Page { items: vec![1, 2], more: false });
    }
}
